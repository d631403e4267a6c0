"""``stem`` against the reference, in the interpreter (see ``test_interpreted``)."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch

from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config
from cnndsl.kernels.stem import FramedStem, Stem
from tests.kernels.oracle import DENSE, PLANAR, SLICE, accepted, check

KERNEL = Stem()
half = partial(accepted, KERNEL, 80, dtype=torch.float16)
ONE = Config.of(BM=64, BF=32, BP=4)
TILES = Config.of(BM=16, BF=16, BP=1)
CASES = """\
[3, 9, 8] = conv(8, 7, stride=2) -> relu
[1, 6, 5] = conv(17, 5)
[4, 5, 7] = conv(3, 3, padding=0, bias=no) -> silu
[3, 9, 13] = conv(5, (3, 11), stride=(1, 4), padding=(2, 1))
[3, 7, 6] = conv(4, 3, padding=same_upper, stride=2)
[3, 4, 4] = (conv(3, 3) + id) -> relu
"""
POOLED = """\
[3, 9, 10] = conv(8, 7, stride=2) -> relu -> maxpool(3, stride=2, padding=1)
[3, 5, 6] = conv(17, 3) -> scale -> hardswish -> maxpool(2)
[1, 6, 7] = conv(4, (1, 5)) -> maxpool(3, stride=2, ceil=yes) -> relu
[3, 6, 9] = conv(4, 3) -> relu -> maxpool((2, 3), stride=(3, 2), padding=(1, 1))
"""


@pytest.fixture(autouse=True)
def few_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that programs go from tile to tile, over their scratch memory again."""
    monkeypatch.setattr(boxes, "processors", lambda *_: 1)


@pytest.mark.parametrize("text", (CASES + POOLED).splitlines())
def test_every_kind(text: str) -> None:
    check(KERNEL, half(text), ONE, SLICE)


@pytest.mark.parametrize("text", (CASES + POOLED).splitlines())
def test_an_image_in_its_frame(text: str) -> None:
    """Unless somebody else reads the image, too."""
    if "+ id" in text:
        assert FramedStem().refuses(half(text), 80)
    else:
        check(FramedStem(), half(text), ONE)


@pytest.mark.parametrize("text", [CASES.splitlines()[0], POOLED.splitlines()[2]])
def test_channels_first(text: str) -> None:
    check(KERNEL, half(text, 1), ONE, PLANAR)


@pytest.mark.parametrize("text", [CASES.splitlines()[2], POOLED.splitlines()[3]])
def test_many_tiles(text: str) -> None:
    check(KERNEL, half(text), TILES, DENSE)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    check(KERNEL, half("[3, 5, 4] = conv(4, 3) -> relu -> maxpool(2)", batch), ONE)


@pytest.mark.parametrize("text", [*CASES.splitlines()[:2], *POOLED.splitlines()[:2]])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    check(KERNEL, half(text, 1), ONE, nan=13)


def drawn_text(rng: random.Random) -> str:
    """A first convolution of random measures; what may follow it, and often a pool."""
    kernel = rng.choice([1, 2, 3, 5]), rng.choice([2, 3, 4, 7, 11])
    stride = rng.choice([1, 2, 4]), rng.choice([1, 2, 4])
    padding = tuple(rng.randrange(side) for side in kernel)
    height, width = (side + rng.randrange(5) for side in kernel)
    after = rng.choice(["", " -> relu", " -> bn -> relu", " -> hardswish"])
    conv = f"conv({rng.choice([1, 8, 17])}, {kernel}, stride={stride}, padding={padding})"
    text = f"[{rng.randrange(1, 5)}, {height}, {width}] = {conv}{after}"
    if rng.random() < 0.3:
        return text
    sides = zip((height, width), padding, kernel, stride, strict=True)
    size = [(n + 2 * p - k) // s + 1 for n, p, k, s in sides]
    window = tuple(rng.randrange(1, min(side, 3) + 1) for side in size)
    step, border = rng.choice([1, 2, 3]), tuple(rng.randrange(side // 2 + 1) for side in window)
    end = rng.choice(["", " -> relu6"])
    pool = f"maxpool({window}, stride={step}, padding={border}, ceil={rng.choice(['yes', 'no'])})"
    return f"{text} -> {pool}{end}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    problem = half(drawn_text(rng), rng.choice([1, 2]))
    config = Config.of(BM=rng.choice([16, 64]), BF=rng.choice([16, 32]), BP=rng.choice([1, 2, 4]))
    layout = rng.choice([DENSE, SLICE, PLANAR])
    check(KERNEL, problem, config, layout, seed)
    if FramedStem().refuses(problem, 80) is None:
        check(FramedStem(), problem, config, seed=seed)
