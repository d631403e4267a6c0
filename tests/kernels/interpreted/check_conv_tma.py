"""``conv_tma`` against the reference, in the interpreter (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

from cnndsl.kernels.base import Config
from cnndsl.kernels.conv_tma import BoxConvolution
from tests.kernels.oracle import ALIGNED, DENSE, PLANAR, SLICE, accepted, check

KERNEL = BoxConvolution(tf32=True)  # the interpreter rounds nothing to it
ONE = Config.of(BF=32, BP=128, BK=16, SWAP=1, SPLIT=1)
CUT = Config.of(BF=32, BP=128, BK=16, SWAP=1, SPLIT=2)
TILES = Config.of(BF=16, BP=16, BK=16, SWAP=1, SPLIT=1)
CASES = """\
[16, 4, 4] = conv(16, 3)
[16, 5, 7] = conv(24, 3, padding=0) -> relu
[4, 1, 1] = conv(8, 3)
[8, 3, 5] = conv(17, (5, 2), padding=(1, 3)) -> silu
[20, 6, 3] = conv(1, 3, dilation=2)
[16, 3, 3] = conv(5, 1, padding=1)
[32, 7, 6] = conv(16, 3, padding=same_upper)
[16, 5, 5] = (conv(16, 3) -> scale(-0.5) -> relu) + id
[16, 5, 5] = (conv(16, 3) + id) -> relu
[16, 4, 6] = (conv(16, 3) -> prelu(16)) * id
[16, 4, 6] = conv(24, 3, stride=2) -> relu
[32, 6, 4] = conv(8, 1, stride=2)
[16, 8, 2] = conv(17, (7, 3), stride=2) -> scale(-0.5) -> hardswish
[16, 6, 8] = conv(9, 3, stride=2, padding=same_upper, bias=no)
[16, 8, 8] = conv(9, 3, stride=2, padding=3, dilation=3)
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_every_kind(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, ALIGNED)


@pytest.mark.parametrize("text", CASES.splitlines()[::5])
def test_many_tiles(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text, 1), TILES, DENSE)


@pytest.mark.parametrize("text", CASES.splitlines()[1::4])
def test_pixels_first(text: str) -> None:
    config = Config.of(BF=32, BP=64, BK=16, SWAP=0, SPLIT=1)
    check(KERNEL, accepted(KERNEL, 90, text), config, DENSE)


@pytest.mark.parametrize("text", CASES.splitlines()[3::4])
def test_cut_into_parts(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), CUT, ALIGNED)


@pytest.mark.parametrize("layout", [PLANAR, SLICE])
@pytest.mark.parametrize("text", CASES.splitlines()[7::3])
def test_what_boxes_do_not_address(text: str, layout: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, layout)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    check(KERNEL, accepted(KERNEL, 90, "[16, 3, 3] = conv(4, 3) -> relu", batch), ONE)


@pytest.mark.parametrize("text", [CASES.splitlines()[i] for i in (0, 7, 12)])
def test_half(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text, 1, torch.float16), ONE, ALIGNED)


@pytest.mark.parametrize("text", [CASES.splitlines()[i] for i in (0, 3, 10)])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, nan=13)


def drawn_text(rng: random.Random) -> str:
    """A convolution of random measures, and its random epilogue."""
    stride = rng.choice([1, 1, 2])
    channels, filters = 16 * rng.choice([1, 2, 3]), rng.choice([1, 5, 8, 16, 17, 33])
    kernel, dilation, padding = (
        (rng.choice(numbers), rng.choice(numbers))
        for numbers in ([1, 2, 3, 5], [1, 2], [0, 1, 2, 3])
    )
    size = [rng.randrange(d * (k - 1) + 1, 12) for k, d in zip(kernel, dilation, strict=True)]
    height, width = (side + side % stride for side in size)
    op = f"conv({filters}, {kernel}, stride={stride}, padding={padding}, dilation={dilation})"
    end = rng.choice(
        ["", " -> relu", " -> scale -> relu", " -> tanh", " -> elu(0.7)", " -> scale(3)"]
    )
    return f"[{channels}, {height}, {width}] = {op}{end}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    dtype = torch.float32 if seed % 3 else torch.float16
    problem = accepted(KERNEL, 90, drawn_text(rng), rng.choice([1, 2, 3]), dtype)
    sides = {"BF": rng.choice([16, 32, 64]), "BP": rng.choice([16, 32, 64, 128])}
    config = Config.of(**sides, BK=16, SWAP=rng.choice([0, 1]), SPLIT=rng.choice([1, 1, 3]))
    check(KERNEL, problem, config, rng.choice([DENSE, SLICE, ALIGNED, PLANAR]), seed)
