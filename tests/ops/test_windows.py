"""Sizes of windowed operators: whatever PyTorch refuses we refuse, and the sizes agree."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnndsl.ops import RuleError
from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.pool import AvgPool, LPPool, MaxPool
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap
from tests.ops.lowered import sizes

CHANNELS = 6
ROUNDS = 500

Drawn = tuple[dict[str, Any], Callable[[], nn.Module]]


def _pair(rng: random.Random, low: int, high: int) -> tuple[int, int]:
    return rng.randint(low, high), rng.randint(low, high)


def _window(rng: random.Random) -> dict[str, Any]:
    return {"kernel": _pair(rng, 1, 5), "stride": _pair(rng, 1, 4), "padding": _pair(rng, 0, 3)}


def _conv(rng: random.Random) -> Drawn:
    p = _window(rng) | {"dilation": _pair(rng, 1, 3), "groups": rng.choice((1, 1, 2, 3, 4))}
    p["out"] = rng.choice((4, 6, 12))
    return p, lambda: nn.Conv2d(
        CHANNELS, p["out"], p["kernel"], p["stride"], p["padding"], p["dilation"], p["groups"]
    )


def _conv_transpose(rng: random.Random) -> Drawn:
    p = _window(rng) | {"dilation": _pair(rng, 1, 3), "output_padding": _pair(rng, 0, 2)}
    p |= {"out": rng.choice((4, 6, 12)), "groups": rng.choice((1, 1, 2, 3, 4))}
    return p, lambda: nn.ConvTranspose2d(
        CHANNELS,
        p["out"],
        p["kernel"],
        p["stride"],
        p["padding"],
        p["output_padding"],
        p["groups"],
        dilation=p["dilation"],
    )


def _maxpool(rng: random.Random) -> Drawn:
    p = _window(rng) | {"dilation": _pair(rng, 1, 3), "ceil": rng.random() < 0.5}
    return p, lambda: nn.MaxPool2d(
        p["kernel"], p["stride"], p["padding"], p["dilation"], ceil_mode=p["ceil"]
    )


def _avgpool(rng: random.Random) -> Drawn:
    p = _window(rng) | {"ceil": rng.random() < 0.5}
    return p, lambda: nn.AvgPool2d(p["kernel"], p["stride"], p["padding"], p["ceil"])


def _lppool(rng: random.Random) -> Drawn:
    p = _window(rng) | {"p": 2, "ceil": rng.random() < 0.5}
    del p["padding"]
    return p, lambda: nn.LPPool2d(2, p["kernel"], p["stride"], p["ceil"])


def _outcome(build: Callable[[], nn.Module], x: FeatureMap) -> tuple[int, ...] | None:
    """The output's shape, or None when PyTorch refuses or leaves nothing.

    Some of its paths, as dilated transposed convolution, let an empty output pass.
    """
    try:
        shape = tuple(build()(torch.zeros(1, *sizes(x))).shape[1:])
    except (RuntimeError, ValueError):
        return None
    return shape if min(shape) > 0 else None


@pytest.mark.parametrize(
    ("op", "draw"),
    [
        (Conv, _conv),
        (ConvTranspose, _conv_transpose),
        (MaxPool, _maxpool),
        (AvgPool, _avgpool),
        (LPPool, _lppool),
    ],
)
def test_refused_exactly_when_pytorch_refuses(op: Any, draw: Callable[..., Drawn]) -> None:
    rng = random.Random(op.name)
    refused = 0
    for _ in range(ROUNDS):
        params, build = draw(rng)
        x = FeatureMap(CHANNELS, *_pair(rng, 1, 12))
        expected = _outcome(build, x)
        try:
            ours = sizes(op(**params).infer(x))
        except RuleError:
            ours = None
            refused += 1
        assert ours == expected, (op.name, params, x)
    assert 0 < refused < ROUNDS, "the sweep covers both sides"


@pytest.mark.parametrize("op", [Conv, ConvTranspose, MaxPool, AvgPool, LPPool])
def test_formulas_are_arithmetic_that_holds(op: Any) -> None:
    draws = {Conv: _conv, ConvTranspose: _conv_transpose, MaxPool: _maxpool}
    draw = draws.get(op, _avgpool if op is AvgPool else _lppool)
    rng = random.Random(7)
    for _ in range(200):
        params, _build = draw(rng)
        x = FeatureMap(CHANNELS, *_pair(rng, 3, 20))
        try:
            instance = op(**params)
        except RuleError:
            continue
        for axis in (0, 1):
            left, right = instance.formula(x, axis).split(" = ")
            known = {"floor": lambda v: v // 1, "ceil": lambda v: -(-v // 1)}
            assert eval(left, known) == int(right), left


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
def test_same_upper_is_tensorflow_s_arithmetic(kernel: int, stride: int, dilation: int) -> None:
    op = Conv(4, kernel, stride, padding="same_upper", dilation=dilation)
    for size in range(1, 30):
        x = FeatureMap(3, size, size)
        out = -(-size // stride)
        total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        assert op.edges(x)[:2] == (total // 2, total - total // 2)
        assert sizes(op.infer(x))[1:] == (out, out)
        assert tuple(op.torch(x)(torch.zeros(1, 3, size, size)).shape[2:]) == (out, out)


def test_same_upper_of_a_symbolic_size_is_known_only_at_stride_1() -> None:
    h = Size.of("H")
    op = Conv(4, 3, (1, 2), padding="same_upper")
    assert op.infer(FeatureMap(3, h, 9)) == FeatureMap(4, h, 5)
    with pytest.raises(RuleError, match="symbolic") as caught:
        op.infer(FeatureMap(3, 9, h))
    assert (caught.value.rule, caught.value.param) == ("symbolic", "padding")


def test_asymmetric_padding_pads_the_sides_it_names() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 8)
    op = Conv(4, 3, 2, padding=(0, 1, 2, 3))
    module = op.torch(FeatureMap(3, 9, 8))
    padded = functional.pad(x, (2, 3, 0, 1))
    assert torch.equal(module(x), functional.conv2d(padded, module.weight, module.bias, stride=2))
    assert list(module.state_dict()) == ["weight", "bias"]


def test_the_default_padding_keeps_the_size_up_to_the_stride() -> None:
    for kernel in (1, 3, 5, 7):
        for stride in (1, 2, 3):
            for dilation in (1, 2, 3):
                op = Conv(4, kernel, stride, dilation=dilation)
                h = Size.of("H")
                y = op.infer(FeatureMap(3, h, h))
                assert y.height == h.floordiv(stride, stride - 1)
                assert op.text() == Conv(4, kernel, stride, "auto", dilation).text()
                assert "padding" not in op.text()


def test_an_even_kernel_says_its_padding() -> None:
    with pytest.raises(RuleError) as caught:
        Conv(4, (3, 2))
    assert (caught.value.rule, caught.value.param) == ("missing", "padding")
    assert Conv(4, 2, padding=1).text() == "conv(4, 2, padding=1)"


@pytest.mark.parametrize(
    ("op", "x", "message", "note"),
    [
        (
            Conv(8, 7, padding=0),
            FeatureMap(3, 5, 9),
            "`conv` leaves no height: (5 + 2*0 - 1*(7-1) - 1)/1 + 1 = -1",
            "the height must be at least 7",
        ),
        (
            Conv(8, 4, 2, padding=(0, 0, 0, 1)),
            FeatureMap(3, 5, 2),
            "`conv` leaves no width: floor((2 + 0 + 1 - 1*(4-1) - 1)/2) + 1 = 0",
            "the width must be at least 3",
        ),
        (
            MaxPool(4),
            FeatureMap(3, 3, 9),
            "`maxpool` leaves no height: floor((3 + 2*0 - 1*(4-1) - 1)/4) + 1 = 0",
            "the height must be at least 4",
        ),
        (
            ConvTranspose(3, 2, padding=3),
            FeatureMap(3, 5, 9),
            "`conv_transpose` leaves no height: (5 - 1)*1 - 2*3 + 1*(2-1) + 0 + 1 = 0",
            "the height must be at least 6",
        ),
    ],
)
def test_a_size_below_1_is_shown_with_its_arithmetic(
    op: Any, x: FeatureMap, message: str, note: str
) -> None:
    with pytest.raises(RuleError) as caught:
        op.infer(x)
    assert (caught.value.rule, caught.value.param) == ("small", "kernel")
    assert (caught.value.message, caught.value.note) == (message, note)
