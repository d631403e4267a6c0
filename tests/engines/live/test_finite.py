"""Inputs with NaN or infinity pass through every engine as through PyTorch."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import cnndsl
from cnndsl.engines.choose import ENGINES
from cnndsl.engines.live import link
from cnndsl.engines.live.link import Choice

IMAGE = "net N: [3, 12, 12] = conv(8, 3) -> relu -> gap -> flatten -> linear(300) -> relu"
VECTOR = "net N: [5] = linear(4) -> relu"
TWO = """net N: [3, 8, 8] a, [3, 8, 8] b =
  (a -> conv(4, 3) -> relu) + (b -> conv(4, 3) -> relu)
"""
LOOKING = (
    "onnxruntime",
    "onnxruntime-winograd",
    "onnxruntime-winograd-squares",
    "openvino",
    "openvino-winograd",
)
NAN, INF = float("nan"), float("inf")


def answers(text: str, choice: Choice, inputs: list[Tensor]) -> tuple[Any, Tensor, Tensor]:
    """The module, what it says, and what its plain twin says."""
    torch.manual_seed(0)
    net = cnndsl.loads(text).net()
    fast, plain = net.compile(engine=choice.engine.name).eval(), net.compile(optimize=0).eval()
    plain.load_state_dict(fast.state_dict())
    fast._live.choice = choice
    with torch.inference_mode():
        return fast, fast(*inputs), plain(*inputs)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("at", [(0, 0, 0, 0), (3, 2, 11, 11), (1, 1, 6, 5)])
def test_one_pixel(engine: str, value: float, at: tuple[int, ...]) -> None:
    x = torch.randn(4, 3, 12, 12)
    x[at] = value
    fast, found, expected = answers(IMAGE, Choice(ENGINES[engine]), [x])
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    assert fast._live.refused == link.NOT_FINITE


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_numbers_whose_sum_overflows(engine: str) -> None:
    """They are finite, but nobody who adds them up can say so."""
    x = torch.full((4, 3, 12, 12), 1e37)
    fast, found, expected = answers(IMAGE, Choice(ENGINES[engine]), [x])
    assert torch.equal(found.isnan(), expected.isnan())
    assert fast._live.refused == link.NOT_FINITE


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_in_one_chunk(engine: str, streams: bool, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(2)
    x = torch.randn(4, 3, 12, 12)
    x[2, 0, 3, 3] = NAN
    fast, found, expected = answers(IMAGE, Choice(ENGINES[engine], 1, streams), [x])
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    assert fast._live.refused == link.NOT_FINITE


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("text", "shape"), [(VECTOR, (3, 5)), (TWO, (2, 3, 8, 8))])
@pytest.mark.parametrize("number", [0, 1])
def test_any_input(engine: str, text: str, shape: tuple[int, ...], number: int) -> None:
    inputs = [torch.randn(shape) for _ in range(1 + (text is TWO))]
    inputs[number % len(inputs)].view(-1)[7] = NAN
    fast, found, expected = answers(text, Choice(ENGINES[engine]), inputs)
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=1e-4, atol=1e-5)
    assert fast._live.refused == link.NOT_FINITE


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_finite_inputs_are_answered(engine: str) -> None:
    fast, found, expected = answers(IMAGE, Choice(ENGINES[engine]), [torch.randn(4, 3, 12, 12)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert fast._live.refused == ""


def test_half_precision_has_room_for_a_picture() -> None:
    """More than 65504 numbers up to 1 add up to more than float16 holds."""
    fast: Any = cnndsl.loads(IMAGE.replace("12, 12", "H, W")).net().compile().eval().half()
    with torch.inference_mode():
        fast(torch.rand(1, 3, 224, 224).half())
    assert fast._live.refused == ""


def test_who_looks() -> None:
    """The others are looked after before they run."""
    assert [name for name, engine in ENGINES.items() if engine.looks] == list(LOOKING)
