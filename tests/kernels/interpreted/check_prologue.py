"""``prologue`` against the reference, in the interpreter (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

from cnndsl.kernels.base import Config
from cnndsl.kernels.prologue import Activated
from tests.kernels.oracle import ALIGNED, DENSE, PLANAR, SLICE, UNITS, accepted, check

KERNEL = Activated(tf32=True)  # the interpreter rounds nothing to it
ONE = Config.of(BF=32, BP=128, BK=16, SPLIT=1)
TILES = Config.of(BF=16, BP=16, BK=16, SPLIT=1)
CUT = Config.of(BF=32, BP=128, BK=16, SPLIT=2)
CASES = """\
[16, 4, 4] = bn -> relu -> conv(16, 1)
[20, 4, 4] = bn -> sigmoid -> conv(16, 1)
[16, 5, 7] = bn -> relu -> conv(8, 3) -> relu
[8, 3, 5] = bn -> silu -> conv(17, (5, 2), padding=(1, 3), bias=no)
[12, 6, 3] = bn -> conv(5, 3, padding=same_upper, dilation=2)
[16, 3, 3] = bn -> relu -> conv(5, 1, padding=1) -> bn -> hardswish
[16, 4, 5] = (bn -> relu -> conv(16, 3)) + id
[16, 4, 5] = bn -> prelu(16) -> conv(16, 3, padding=0)
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_every_kind(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, ALIGNED)


@pytest.mark.parametrize("text", CASES.splitlines()[::4])
def test_many_tiles(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text, 1), TILES, DENSE)


@pytest.mark.parametrize("text", CASES.splitlines()[2::4])
def test_cut_into_parts(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), CUT, ALIGNED)


@pytest.mark.parametrize("layout", [PLANAR, SLICE])
@pytest.mark.parametrize("text", CASES.splitlines()[::3])
def test_what_boxes_do_not_address(text: str, layout: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, layout)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    check(KERNEL, accepted(KERNEL, 90, "[16, 3, 3] = bn -> relu -> conv(4, 3)", batch), ONE)


STORED = UNITS + 2**13
"""Half precision multiplies the activated map rounded to it, as if it were stored: a share of
2^-11 of each product, 2^13 units."""


@pytest.mark.parametrize("text", [CASES.splitlines()[i] for i in (0, 2, 6)])
def test_half(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text, 1, torch.float16), ONE, ALIGNED, units=STORED)


@pytest.mark.parametrize("text", CASES.splitlines()[::3])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, nan=13)


def drawn_text(rng: random.Random) -> str:
    """A pre-activated convolution of random measures, and its random epilogue."""
    channels, filters = 8 * rng.choice([1, 2, 3, 5]), rng.choice([1, 5, 8, 16, 17, 33])
    before = rng.choice(["", " -> relu", " -> relu", " -> sigmoid", f" -> prelu({channels})"])
    after = rng.choice(["", " -> relu", " -> bn -> relu", " -> gelu"])
    kernel, dilation, padding = (
        (rng.choice(numbers), rng.choice(numbers)) for numbers in ([1, 1, 2, 3], [1, 2], [0, 1, 2])
    )
    height, width = (
        rng.randrange(d * (k - 1) + 1, 10) for k, d in zip(kernel, dilation, strict=True)
    )
    conv = f"conv({filters}, {kernel}, padding={padding}, dilation={dilation})"
    return f"[{channels}, {height}, {width}] = bn{before} -> {conv}{after}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    half = seed % 3 == 0
    dtype = torch.float16 if half else torch.float32
    problem = accepted(KERNEL, 90, drawn_text(rng), rng.choice([1, 2, 3]), dtype)
    sides = {"BF": rng.choice([16, 32, 64]), "BP": rng.choice([16, 32, 64, 128])}
    config = Config.of(**sides, BK=16, SPLIT=rng.choice([1, 1, 3]))
    layout = rng.choice([DENSE, SLICE, ALIGNED, PLANAR])
    check(KERNEL, problem, config, layout, seed, STORED if half else UNITS)
