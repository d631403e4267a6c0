"""A request is told again where its inputs lie exactly when that has changed."""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from torch import Tensor

import cnndsl
from cnndsl.engines.arrays import float_array
from cnndsl.engines.base import Job, NotFinite
from cnndsl.engines.openvino import engine as openvino_engine
from cnndsl.engines.openvino.engine import OpenVinoEngine
from cnndsl.passes.flow import Flow

pytest.importorskip("openvino")


class Counted:
    """A request that counts what it is told."""

    def __init__(self, request: Any) -> None:
        self.request, self.told = request, 0

    def set_input_tensor(self, *args: Any) -> None:
        self.told += 1
        self.request.set_input_tensor(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)


@pytest.fixture
def runner() -> Any:
    flow = Flow(cnndsl.loads("net N: [2, 3, 4] a, [2, 3, 4] b = (a + b) -> relu").net().graph)
    found: Any = OpenVinoEngine().build(Job(flow, {}, ((1, 2, 3, 4),) * 2))
    found.request = Counted(found.request)
    return found


def check(runner: Any, a: Tensor, b: Tensor, told: int) -> None:
    before = runner.request.told
    (found,) = runner(a, b)
    torch.testing.assert_close(found, torch.relu(a.float() + b.float()))
    assert runner.request.told - before == told


def test_the_same_tensors(runner: Any) -> None:
    """Are not set again, and their numbers are read anew."""
    a, b = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    check(runner, a, b, 2)
    a.mul_(-2)
    check(runner, a, b, 0)
    check(runner, b, a, 2)
    check(runner, a.view(24).view(1, 2, 3, 4), b, 2)
    check(runner, a.detach(), b.requires_grad_().detach(), 0)


def test_other_tensors(runner: Any) -> None:
    """Elsewhere, in another order or in another dtype: then an array is made that nobody keeps."""
    a, b = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    turned = a.contiguous(memory_format=torch.channels_last)
    for one, other in ((a, b), (a.clone(), b), (turned, b), (turned, b), (a.bfloat16(), b)):
        check(runner, one, other, 2)
    half = a.bfloat16()
    check(runner, half, b, 2)
    check(runner, half, b, 2)
    check(runner, half.float(), b, 2)


def test_an_array_that_is_made_is_held(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all is computed: of freed memory others make use."""
    made: list[ReferenceType[Any]] = []
    infer = runner.request.request.infer
    seen: list[bool] = []

    def array(x: Tensor) -> Any:
        found = float_array(x)
        made.append(ref(found))
        return found

    def inferred(**options: Any) -> None:
        seen.extend(each() is not None for each in made)
        infer(**options)

    monkeypatch.setattr(openvino_engine, "float_array", array)
    runner.request.infer = inferred
    check(runner, torch.randn(1, 2, 3, 4).bfloat16(), torch.randn(1, 2, 3, 4).bfloat16(), 2)
    assert seen == [True, True]


def test_after_an_input_that_cannot_be_set(runner: Any) -> None:
    a, b = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    check(runner, a, b, 2)
    for other in (torch.randn(1, 2, 3, 5), b[:, :1], b.view(1, 2, 4, 3)):
        with pytest.raises(RuntimeError):
            runner(a, other)
        check(runner, a, b, 2)


def test_results_are_the_callers_own(runner: Any) -> None:
    a, b = torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4)
    (first,) = runner(a, b)
    a.add_(1)
    (second,) = runner(a, b)
    assert (first == 2).all() and (second == 3).all()


def test_what_is_not_finite_is_seen_at_an_address_that_is_known(runner: Any) -> None:
    a, b = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    check(runner, a, b, 2)
    b[0, 1, 2, 3] = float("nan")
    with pytest.raises(NotFinite):
        runner(a, b)
    b.zero_()
    check(runner, a, b, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "text", ["conv(8, 3) -> relu", "conv(8, 1) -> conv(8, 3)", "id", "flatten"]
)
def test_a_model_reads_anew_what_lies_at_an_address(text: str, dtype: torch.dtype) -> None:
    """Also where it lays inputs out in its own way."""
    net = cnndsl.loads(f"net N: [3, 9, 9] = {text}").net()
    parameters = net.compile(optimize=0).state_dict()
    runner = OpenVinoEngine().build(Job(Flow(net.graph), parameters, ((1, 3, 9, 9),), dtype))
    x = torch.randn(1, 3, 9, 9)
    first = runner(x)[0].clone()
    x.mul_(-3)
    found = runner(x)[0]
    expected = OpenVinoEngine().build(Job(Flow(net.graph), parameters, ((1, 3, 9, 9),), dtype))(x)[
        0
    ]
    assert torch.equal(found, expected) and not torch.equal(found, first)
