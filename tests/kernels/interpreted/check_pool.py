"""Pools, of windows and of whole images, against the reference (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

from cnndsl.kernels.base import Config, Kernel
from cnndsl.kernels.global_pool import GlobalPool
from cnndsl.kernels.pool import Pool
from tests.kernels.oracle import DENSE, PLANAR, SLICE, accepted, check, problem_of

POOL, GLOBAL = Pool(), GlobalPool()
ONE = Config.of(BM=64, BC=16)
TILES = Config.of(BM=8, BC=2)
WHOLE, CUT = Config.of(BM=16, BC=16, PARTS=1), Config.of(BM=4, BC=16, PARTS=3)
CASES = """\
[5, 6, 5] = maxpool(3, stride=2, padding=1)
[3, 7, 4] = maxpool((2, 3), stride=(3, 1), padding=(1, 0), dilation=(2, 1), ceil=yes)
[17, 5, 5] = bn -> relu -> maxpool(2)
[3, 4, 5] = avgpool(3, stride=1, padding=1, count_include_pad=no)
[4, 6, 7] = avgpool((3, 2), stride=2, padding=(1, 1), ceil=yes)
[6, 4, 4] = bn -> relu -> avgpool(2) -> scale(-0.5) -> hardswish
[2, 5, 5] = bn -> avgpool(3, stride=2, padding=1) -> prelu(2)
[3, 1, 1] = avgpool(1)
"""
IMAGES = """\
[5, 6, 7] = gap
[17, 4, 3] = bn -> relu -> gap
[4, 5, 5] = gmp -> tanh
[3, 1, 1] = prelu(3) -> gmp
[2, 7, 9] = bn -> gap -> scale -> gelu
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_windows(text: str) -> None:
    check(POOL, accepted(POOL, 80, text), ONE, SLICE)


@pytest.mark.parametrize("text", IMAGES.splitlines())
def test_images(text: str) -> None:
    check(GLOBAL, accepted(GLOBAL, 80, text), WHOLE, SLICE)
    check(GLOBAL, accepted(GLOBAL, 80, text, 1), CUT, PLANAR)


@pytest.mark.parametrize("text", CASES.splitlines()[1::3])
def test_many_tiles(text: str) -> None:
    check(POOL, accepted(POOL, 80, text, 1), TILES, PLANAR)


@pytest.mark.parametrize("text", [*CASES.splitlines()[2::3], *IMAGES.splitlines()[1:3]])
def test_half(text: str) -> None:
    kernel: Kernel = POOL if POOL.refuses(problem_of(text), 80) is None else GLOBAL
    config = ONE if kernel is POOL else CUT
    check(kernel, accepted(kernel, 80, text, 1, torch.float16), config, DENSE)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    check(POOL, accepted(POOL, 80, CASES.splitlines()[0], batch), ONE)
    check(GLOBAL, accepted(GLOBAL, 80, IMAGES.splitlines()[1], batch), CUT)


@pytest.mark.parametrize("text", [CASES.splitlines()[k] for k in (0, 2, 4)])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    check(POOL, accepted(POOL, 80, text), ONE, nan=13)


@pytest.mark.parametrize("text", IMAGES.splitlines()[1:3])
def test_nan_of_an_image(text: str) -> None:
    check(GLOBAL, accepted(GLOBAL, 80, text), CUT, nan=13)


def test_wide_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers where offsets are of 64 bits."""
    monkeypatch.setattr("cnndsl.kernels.arguments.is_wide", lambda *_: True)
    monkeypatch.setattr("cnndsl.kernels.global_pool.is_wide", lambda *_: True)
    check(POOL, accepted(POOL, 80, CASES.splitlines()[1]), ONE, SLICE)
    check(GLOBAL, accepted(GLOBAL, 80, IMAGES.splitlines()[1]), CUT, SLICE)


@pytest.mark.parametrize(
    ("kernel", "text", "why"),
    [
        (POOL, "[4, 3, 3] = relu", "no pool"),
        (POOL, "[4, 5, 5] = maxpool(2) -> maxpool(2)", "changes the size"),
        (POOL, "[4, 3, 3] = softmax -> avgpool(2)", "one value at a time"),
        (GLOBAL, "[4, 3, 3] = avgpool(2)", "no global pool"),
        (GLOBAL, "[4, 3, 3] = gap -> softmax", "one value at a time"),
        (GLOBAL, "[4, 1, 1] = gap + id", "residual"),
    ],
)
def test_refusals(kernel: Kernel, text: str, why: str) -> None:
    assert why in (kernel.refuses(problem_of(text), 90) or "")


BEFORE = ["", "", "bn -> ", "bn -> relu -> ", "leaky_relu(0.3) -> "]
AFTER = ["", "", " -> relu", " -> scale -> tanh"]


def drawn_pool(rng: random.Random) -> str:
    """A pool of random windows, its prologue and its epilogue."""
    kernel = rng.choice([1, 2, 3, 5]), rng.choice([1, 2, 3, 4])
    padding = tuple(rng.randrange(side // 2 + 1) for side in kernel)
    stride, ceil = (rng.choice([1, 2, 3]), rng.choice([1, 2, 3])), rng.choice(["yes", "no"])
    largest = rng.random() < 0.5
    dilation = (rng.choice([1, 1, 2]), rng.choice([1, 1, 3])) if largest else (1, 1)
    sides = zip(kernel, dilation, strict=True)
    height, width = (d * (k - 1) + 1 + rng.randrange(4) for k, d in sides)
    op = f"{kernel}, stride={stride}, padding={padding}, ceil={ceil}"
    end = f"dilation={dilation}" if largest else f"count_include_pad={rng.choice(['yes', 'no'])}"
    pool = f"{'maxpool' if largest else 'avgpool'}({op}, {end})"
    size = f"[{rng.choice([1, 3, 8, 17])}, {height}, {width}]"
    return f"{size} = {rng.choice(BEFORE)}{pool}{rng.choice(AFTER)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random_windows(seed: int) -> None:
    rng = random.Random(seed)
    dtype = rng.choice([torch.float32, torch.float16])
    problem = accepted(POOL, 80, drawn_pool(rng), rng.choice([1, 2]), dtype)
    config = Config.of(BM=rng.choice([16, 32, 64]), BC=rng.choice([8, 16, 32]))
    check(POOL, problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random_images(seed: int) -> None:
    rng = random.Random(seed)
    dtype = rng.choice([torch.float32, torch.float16])
    size = f"[{rng.choice([1, 3, 8, 17, 33])}, {rng.randrange(1, 9)}, {rng.randrange(1, 9)}]"
    text = f"{rng.choice(BEFORE)}{rng.choice(['gap', 'gmp'])}{rng.choice(AFTER)}"
    problem = accepted(GLOBAL, 80, f"{size} = {text}", rng.choice([1, 2]), dtype)
    sides = {"BM": rng.choice([8, 16]), "BC": rng.choice([8, 16, 32])}
    config = Config.of(**sides, PARTS=rng.choice([1, 2, 3, 7]))
    check(GLOBAL, problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)
