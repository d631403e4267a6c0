"""``conv`` against the reference, in the interpreter (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

from cnndsl.kernels.base import Config, Operands, run
from cnndsl.kernels.conv import Convolution
from cnndsl.kernels.reference import reference
from tests.kernels.oracle import DENSE, PLANAR, SLICE, check, drawn, problem_of

TILES = Config.of(BM=16, BN=16, BK=16)
ONE = Config.of(BM=64, BN=32, BK=32)
CASES = """\
[1, 1, 1] = conv(1, 1)
[3, 5, 7] = conv(1, 3)
[3, 6, 5] = conv(17, 3, stride=2)
[16, 4, 4] = conv(16, 1)
[17, 3, 5] = conv(15, 1)
[32, 3, 3] = conv(33, 3)
[2, 9, 4] = conv(3, (5, 2), stride=(2, 1), padding=(1, 3), dilation=(2, 1))
[2, 7, 6] = conv(3, 3, padding=same_upper, stride=2)
[4, 3, 3] = conv(2, 3, padding=4)
[6, 4, 5] = conv(9, 3, groups=3)
[5, 4, 4] = conv(10, 3, groups=5)
[32, 3, 3] = conv(32, 3, groups=2)
[3, 3, 4] = conv_transpose(5, 3)
[3, 3, 4] = conv_transpose(2, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2))
[4, 3, 3] = conv_transpose(6, 3, stride=2, dilation=2, groups=2, bias=no)
[7] = linear(5)
[19] = linear(33, bias=no) -> relu
[5, 3, 2] = linear(4) -> gelu
[3, 5, 5] = (conv(3, 3) -> silu) + id
[3, 5, 5] = (conv(3, 3) + id) -> relu
[18, 3, 3] = (conv(18, 1) -> prelu(18)) * id
[4, 5, 5] = conv(6, 3) -> scale(-0.5) -> hardswish -> scale
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_every_kind(text: str) -> None:
    check(Convolution(), problem_of(text), ONE, SLICE)


@pytest.mark.parametrize("text", CASES.splitlines()[3::3])
def test_many_tiles(text: str) -> None:
    check(Convolution(), problem_of(text, 1), TILES, DENSE)


@pytest.mark.parametrize("text", CASES.splitlines()[1::5])
def test_channels_first(text: str) -> None:
    check(Convolution(), problem_of(text), ONE, PLANAR)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    check(Convolution(), problem_of("[3, 3, 3] = conv(4, 3) -> relu", batch), ONE)


@pytest.mark.parametrize("text", CASES.splitlines()[::3])
def test_half(text: str) -> None:
    check(Convolution(), problem_of(text, 1, torch.float16), ONE)


@pytest.mark.parametrize("text", CASES.splitlines()[8:10])
def test_wide_offsets(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers where offsets are of 64 bits."""
    monkeypatch.setattr("cnndsl.kernels.arguments.is_wide", lambda *_: True)
    check(Convolution(), problem_of(text), ONE, SLICE)


def test_nan_and_infinity_reach_what_sees_them_and_no_more() -> None:
    problem = problem_of("[3, 5, 6] = conv(4, 3) -> relu", 2)
    given = drawn(problem)
    given.inputs[0][0, 1, 0, 0] = torch.nan
    given.inputs[0][1, 2, 3, 3] = torch.inf
    kernel, out = Convolution(), torch.empty(2, 4, 5, 6).to(memory_format=torch.channels_last)
    packed = kernel.pack(problem, given.weights)
    run(kernel.launches(problem, ONE, Operands(given.inputs, packed, out)))
    value, _ = reference(problem, *given)
    assert bool((out.isnan() == value.isnan()).all())
    assert bool((out.isinf() == value.isinf()).all())
    assert 0 < int(out.isnan().sum()) < 32


def drawn_text(rng: random.Random) -> str:
    """A convolution of random measures, and its random epilogue."""
    groups = rng.choice([1, 1, 1, 2, 3])
    channels, filters = (groups * rng.choice([1, 2, 5, 8, 15, 16, 17]) for _ in range(2))
    kernel, stride, dilation, padding = (
        (rng.choice(numbers), rng.choice(numbers))
        for numbers in ([1, 2, 3, 5], [1, 2, 3], [1, 2], [0, 1, 2])
    )
    size = [rng.randrange(d * (k - 1) + 1, 12) for k, d in zip(kernel, dilation, strict=True)]
    op = f"conv({filters}, {kernel}, stride={stride}, padding={padding}, dilation={dilation}"
    if rng.random() < 0.2:
        op = op.replace("conv(", "conv_transpose(").replace(f"padding={padding}", "padding=0")
    ends = ["", " -> relu", " -> bn -> relu", " -> tanh", " -> elu(0.7)", " -> leaky_relu(0.2)"]
    height, width = size
    return f"[{channels}, {height}, {width}] = {op}, groups={groups}){rng.choice(ends)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    text = drawn_text(rng)
    config = Config.of(**{side: rng.choice([16, 32, 64]) for side in ("BM", "BN", "BK")})
    dtype = torch.float32 if seed % 3 else torch.float16
    problem = problem_of(text, rng.choice([1, 2, 3]), dtype)
    check(Convolution(), problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)
