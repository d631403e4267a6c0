"""Depthwise and grouped convolutions against the reference (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

from cnndsl.kernels.base import Config, Kernel
from cnndsl.kernels.depthwise import Depthwise
from cnndsl.kernels.depthwise_pointwise import DepthwisePointwise
from cnndsl.kernels.grouped import Grouped
from tests.kernels.oracle import DENSE, PLANAR, SLICE, UNITS, check, problem_of

DEPTHWISE = Config.of(BM=64, BC=32)
BETWEEN = 8 + 2.0**13
"""Units that a map between may be off: it is rounded to half precision, as if it were stored."""
CASES = """\
[2, 1, 1] = conv(2, 1, groups=2)
[5, 6, 4] = conv(5, 3, groups=5)
[33, 5, 5] = conv(33, 3, groups=33, stride=2, bias=no) -> relu6
[4, 9, 7] = conv(8, (5, 2), groups=4, stride=(2, 1), padding=(1, 3), dilation=(1, 2))
[6, 5, 5] = conv(6, 3, groups=6, padding=same_upper, stride=2) -> hardswish
[3, 4, 3] = conv_transpose(3, 4, groups=3, stride=2, padding=1)
[7, 5, 3] = (conv(7, 7, groups=7) + id) -> gelu
"""
GROUPED = Config.of(BM=64, BN=32, BK=32)
PACKED = """\
[8, 4, 5] = conv(8, 3, groups=4)
[12, 5, 4] = conv(6, 3, groups=6, stride=2) -> silu
[10, 3, 3] = conv(30, 1, groups=5, bias=no) -> prelu(30)
[64, 3, 3] = (conv(64, 3, groups=32) + id) -> relu
[6, 3, 3] = conv_transpose(6, 3, groups=3, stride=2)
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_depthwise(text: str) -> None:
    check(Depthwise(), problem_of(text), DEPTHWISE, SLICE)


@pytest.mark.parametrize("text", CASES.splitlines()[1::3])
def test_depthwise_in_half_and_many_tiles(text: str) -> None:
    problem = problem_of(text, 1, torch.float16)
    check(Depthwise(), problem, Config.of(BM=16, BC=16), PLANAR)


@pytest.mark.parametrize("text", PACKED.splitlines())
def test_grouped(text: str) -> None:
    check(Grouped(), problem_of(text), GROUPED, SLICE)


TWICE = """\
[3, 5, 4] = conv(3, 3, groups=3) -> conv(7, 1)
[20, 4, 5] = conv(20, 3, groups=20, stride=2) -> relu6 -> conv(33, 1, bias=no) -> gelu
[5, 4, 4] = (conv(10, 5, groups=5) -> bn -> silu -> conv(5, 1) -> bn) + id
[4, 3, 3] = conv_transpose(4, 2, groups=4, stride=2) -> prelu(4) -> conv(2, 1)
"""
TILES = Config.of(BM=64, BN=16, BK=16)


@pytest.mark.parametrize("text", TWICE.splitlines())
def test_pointwise_behind_it(text: str) -> None:
    check(DepthwisePointwise(), problem_of(text, 1), TILES, SLICE)


@pytest.mark.parametrize("text", TWICE.splitlines()[2:3])
def test_pointwise_behind_it_in_half(text: str) -> None:
    check(DepthwisePointwise(), problem_of(text, 1, torch.half), TILES, DENSE, units=BETWEEN)


@pytest.mark.parametrize("batch", [0, 3])
def test_batches(batch: int) -> None:
    check(Depthwise(), problem_of(CASES.splitlines()[1], batch), DEPTHWISE)
    check(Grouped(), problem_of(PACKED.splitlines()[0], batch), GROUPED)


@pytest.mark.parametrize(
    ("kernel", "text", "why"),
    [
        (Depthwise(), "[4, 3, 3] = conv(4, 3, groups=2)", "more than one channel"),
        (Depthwise(), "[1, 3, 3] = conv(4, 3)", "more than one channel"),
        (Depthwise(), "[4, 3, 3] = relu", "does not begin"),
        (Grouped(), "[64, 3, 3] = conv(64, 3, groups=2)", "large enough"),
        (DepthwisePointwise(), "[4, 3, 3] = conv(4, 3, groups=4)", "no second"),
        (DepthwisePointwise(), "[4, 3, 3] = conv(4, 3) -> conv(4, 1)", "more than one channel"),
        (DepthwisePointwise(), "[4, 3, 3] = conv(4, 3, groups=4) -> conv(4, 3)", "not a 1x1"),
        (Grouped(), "[6, 3, 3] = conv(6, 3)", "too few"),
    ],
)
def test_refusals(kernel: Kernel, text: str, why: str) -> None:
    assert why in (kernel.refuses(problem_of(text), 90) or "")


def drawn_text(rng: random.Random, per_group: int) -> str:
    groups = rng.choice([2, 3, 8, 15, 16, 17])
    kernel, stride, dilation, padding = (
        (rng.choice(numbers), rng.choice(numbers))
        for numbers in ([1, 2, 3, 5, 7], [1, 2, 3], [1, 2], [0, 1, 3])
    )
    height, width = (
        rng.randrange(d * (k - 1) + 1, 14) for k, d in zip(kernel, dilation, strict=True)
    )
    end = rng.choice(["", " -> relu", " -> bn -> relu6", " -> tanh", " -> elu(0.7)", " -> scale"])
    return (
        f"[{groups * per_group}, {height}, {width}] = conv({groups * rng.choice([1, 2, 3])}, "
        f"{kernel}, stride={stride}, padding={padding}, dilation={dilation}, groups={groups}){end}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random_depthwise(seed: int) -> None:
    rng = random.Random(seed)
    config = Config.of(**{side: rng.choice([8, 16, 32, 64]) for side in ("BM", "BC")})
    dtype = rng.choice([torch.float32, torch.float16])
    problem = problem_of(drawn_text(rng, 1), rng.choice([1, 2, 3]), dtype)
    check(Depthwise(), problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random_grouped(seed: int) -> None:
    rng = random.Random(seed)
    config = Config.of(**{side: rng.choice([16, 32, 64]) for side in ("BM", "BN", "BK")})
    dtype = rng.choice([torch.float32, torch.float16])
    problem = problem_of(drawn_text(rng, rng.choice([2, 3, 4])), rng.choice([1, 2]), dtype)
    check(Grouped(), problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random_pointwise_behind_it(seed: int) -> None:
    rng = random.Random(seed)
    config = Config.of(**{side: rng.choice([16, 32, 64]) for side in ("BM", "BN", "BK")})
    end = rng.choice(["", " -> relu", " -> tanh"])
    text = f"{drawn_text(rng, 1)} -> conv({rng.choice([1, 5, 16, 17, 33])}, 1){end}"
    half = rng.random() < 0.4
    problem = problem_of(text, rng.choice([1, 2]), torch.float16 if half else torch.float32)
    layout = rng.choice([DENSE, SLICE, PLANAR])
    check(DepthwisePointwise(), problem, config, layout, seed, BETWEEN if half else UNITS)
