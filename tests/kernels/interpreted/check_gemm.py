"""``gemm`` against the reference, in the interpreter (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

import cnndsl
from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config
from cnndsl.kernels.gemm import Gemm
from cnndsl.kernels.problem import Problem
from cnndsl.ops.pool import GlobalAvgPool
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import GPU
from tests.kernels.oracle import ALIGNED, DENSE, PLANAR, SLICE, accepted, check

KERNEL = Gemm(tf32=True)  # the interpreter rounds nothing to it
ONE = Config.of(BM=64, BF=32, BK=16, SPLIT=1)
TILES = Config.of(BM=16, BF=16, BK=16, SPLIT=1)
CUT = Config.of(BM=32, BF=32, BK=16, SPLIT=2)
CASES = """\
[16, 4, 4] = conv(16, 1)
[4, 1, 1] = conv(1, 1)
[24, 3, 5] = conv(17, 1, bias=no) -> relu
[36] = linear(33) -> gelu
[8, 3, 2] = linear(4) -> silu
[16, 5, 5] = (conv(16, 1) -> scale -> relu) + id
[16, 5, 5] = (conv(16, 1) + id) -> relu
[16, 4, 6] = (conv(16, 1) -> prelu(16)) * id
[64, 7, 1] = conv(24, 1) -> scale(-0.5) -> hardswish
[48] = linear(1)
"""


@pytest.fixture(autouse=True)
def few_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that programs go from tile to tile."""
    monkeypatch.setattr(boxes, "programs", lambda *_: 3)


@pytest.mark.parametrize("text", CASES.splitlines())
def test_every_kind(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, ALIGNED)


@pytest.mark.parametrize("text", CASES.splitlines())
def test_many_tiles_or_parts(text: str) -> None:
    config = TILES if CASES.splitlines().index(text) % 2 else CUT
    check(KERNEL, accepted(KERNEL, 90, text, 1), config, ALIGNED)


@pytest.mark.parametrize("layout", [PLANAR, SLICE])
@pytest.mark.parametrize("text", CASES.splitlines()[::3])
def test_what_boxes_do_not_address(text: str, layout: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, layout)


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("config", [TILES, CUT], ids=str)
def test_batches(batch: int, config: Config) -> None:
    check(KERNEL, accepted(KERNEL, 90, "[40, 3, 3] = conv(4, 1) -> relu", batch), config)


@pytest.mark.parametrize("text", CASES.splitlines()[2::3])
@pytest.mark.parametrize("config", [ONE, CUT], ids=str)
def test_half(text: str, config: Config) -> None:
    check(KERNEL, accepted(KERNEL, 90, text, 1, torch.float16), config, ALIGNED)


GATED = "[16, 5, 5] = conv(24, 1) * (gap -> conv(24, 1) -> sigmoid)"
POOLED = """\
[16, 4, 4] = conv(16, 1) -> gap
[24, 7, 3] = conv(17, 1) -> relu -> gap
[16, 3, 11] = (conv(16, 1) + id) -> relu -> gap
"""


@pytest.mark.parametrize("config", [TILES, CUT], ids=str)
def test_a_gate_of_each_image(config: Config) -> None:
    flow = Flow(cnndsl.loads(f"net N: {GATED}").net().graph)
    GPU.run(flow)
    check(KERNEL, Problem.of(list(flow)[-1], {}, 2, torch.float32), config, ALIGNED)


@pytest.mark.parametrize("text", POOLED.splitlines())
def test_only_the_mean_is_stored(text: str) -> None:
    config = ONE if text == POOLED.splitlines()[0] else TILES
    check(KERNEL, accepted(KERNEL, 90, text, 3), config, ALIGNED)


@pytest.mark.parametrize("text", [*CASES.splitlines()[::4], POOLED.splitlines()[2]])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 90, text), ONE, nan=13)


def drawn_text(rng: random.Random) -> str:
    """A matrix product of random measures, what may follow it, and sometimes a pool."""
    channels, filters = 8 * rng.choice([1, 2, 3, 5, 8]), rng.choice([1, 5, 8, 16, 17, 33, 64])
    if rng.random() < 0.2:
        return f"[{channels}] = linear({filters})" + rng.choice(["", " -> relu", " -> gelu"])
    size = f"{channels}, {rng.randrange(1, 9)}, {rng.randrange(1, 9)}"
    end = rng.choice(["", " -> relu", " -> scale -> relu", " -> tanh", " -> prelu(_)"])
    end = end.replace("_", str(filters)) + rng.choice(["", "", " -> gap"])
    if rng.random() < 0.3:
        return f"[{size}] = (conv({channels}, 1) + id){end.replace(str(filters), str(channels))}"
    return f"[{size}] = conv({filters}, 1){end}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    dtype = torch.float32 if seed % 3 else torch.float16
    problem = accepted(KERNEL, 90, drawn_text(rng), rng.choice([1, 2, 3]), dtype)
    pooled = isinstance(problem.links[-1].op, GlobalAvgPool)
    sides = {side: rng.choice([16, 32, 64]) for side in ("BM", "BF", "BK")}
    config = Config.of(**sides, SPLIT=1 if pooled else rng.choice([1, 1, 2, 3]))
    check(KERNEL, problem, config, rng.choice([DENSE, SLICE, ALIGNED, PLANAR]), seed)
