"""``upsample`` against the reference, in the interpreter (see ``test_interpreted``)."""

from __future__ import annotations

import random
from functools import partial

import pytest
import torch

from cnndsl.kernels.base import Config
from cnndsl.kernels.upsample import LARGEST, Enlarge
from tests.kernels.oracle import DENSE, PLANAR, SLICE, accepted, check, problem_of

KERNEL = Enlarge()
problem = partial(accepted, KERNEL, 80)
ONE, TILES = Config.of(BM=64, BC=16), Config.of(BM=8, BC=2)
CASES = """\
[5, 3, 4] = upsample(2)
[3, 2, 5] = upsample((3, 1)) -> relu
[17, 3, 2] = upsample(2, mode=bilinear)
[4, 1, 5] = upsample((2, 3), mode=bilinear) -> scale -> hardswish
[3, 4, 3] = upsample(2, mode=bilinear, align_corners=yes)
[2, 1, 2] = upsample((1, 5), mode=bilinear, align_corners=yes)
[1, 1, 1] = upsample((1, 1), mode=bilinear, align_corners=yes)
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_every_kind(text: str) -> None:
    check(KERNEL, problem(text), ONE, SLICE)
    check(KERNEL, problem(text, 1, torch.float16), TILES, PLANAR)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches(batch: int) -> None:
    check(KERNEL, problem(CASES.splitlines()[2], batch), ONE)


@pytest.mark.parametrize("text", [CASES.splitlines()[k] for k in (0, 2)])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    check(KERNEL, problem(text), ONE, nan=4)


@pytest.mark.parametrize("factor", range(1, LARGEST + 1))
def test_it_repeats_what_pytorch_repeats(factor: int) -> None:
    check(KERNEL, problem(f"[1, 1, 40] = upsample((1, {factor}))", 1), Config.of(BM=512, BC=1))


def test_what_it_does_not_take() -> None:
    for text in (f"[1, 2, 2] = upsample({LARGEST + 1})", "[1, 2, 2] = relu -> upsample(2)"):
        assert KERNEL.refuses(problem_of(text), 80)
    check(KERNEL, problem(f"[1, 2, 3] = upsample({LARGEST + 1}, mode=bilinear)"), ONE)


def drawn_text(rng: random.Random) -> str:
    size = [rng.choice([1, 2, 3, 5, 7]) for _ in range(2)]
    factor = rng.choice([1, 2, 3, 4, 7]), rng.choice([1, 2, 3, 8])
    mode = rng.choice(["", ", mode=bilinear", ", mode=bilinear, align_corners=yes"])
    after = rng.choice(["", " -> relu", " -> scale -> silu"])
    return f"[{rng.choice([1, 8, 17])}, {size[0]}, {size[1]}] = upsample({factor}{mode}){after}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    config = Config.of(BM=rng.choice([8, 64]), BC=rng.choice([2, 16]))
    dtype = rng.choice([torch.float32, torch.float16])
    layout = rng.choice([DENSE, SLICE, PLANAR])
    check(KERNEL, problem(drawn_text(rng), rng.choice([1, 2]), dtype), config, layout, seed)
