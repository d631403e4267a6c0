"""Single points and their channels against the reference (see ``test_interpreted``)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch

from cnndsl.kernels.base import Config, Kernel, Operands, run
from cnndsl.kernels.elementwise import Elementwise
from cnndsl.kernels.lrn import ResponseNorm
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.softmax import ExponentNorm
from cnndsl.ops.base import Op
from cnndsl.ops.merge import Add, Max, Mean, Mul
from cnndsl.ops.types import FeatureMap
from cnndsl.passes.ops import RUNNING, Chain, Link
from tests.kernels.oracle import DENSE, PLANAR, SLICE, accepted, check, problem_of

MAPS, LRN, SOFTMAX = Elementwise(), ResponseNorm(), ExponentNorm()
ONE = Config.of(BM=32, BC=16)
CASES: list[tuple[Kernel, str]] = [
    (MAPS, "[5, 3, 4] = bn -> relu"),
    (MAPS, "[17, 2, 3] = leaky_relu(0.3) -> scale -> scale(2)"),
    (MAPS, "[7] = bn -> relu6"),
    (LRN, "[5, 3, 2] = lrn(5)"),
    (LRN, "[17, 2, 2] = lrn(4, alpha=1, beta=0.5, k=2)"),
    (LRN, "[3, 2, 2] = lrn(9, alpha=0.3, beta=1.5)"),
    (SOFTMAX, "[7] = softmax"),
    (SOFTMAX, "[33, 2, 3] = log_softmax"),
    (SOFTMAX, "[5, 2, 3] = softmax"),
    (SOFTMAX, "[17] = log_softmax"),
]
MAP, GATE = FeatureMap(5, 3, 4), FeatureMap(5, 1, 1)
JOINS: list[tuple[Op, tuple[FeatureMap, ...], str]] = [
    (Add(), (MAP, MAP), "relu"),
    (Add(), (MAP, MAP, MAP, MAP), "scale(-0.5) -> hardswish"),
    (Mean(), (MAP, MAP, MAP), "bn"),
    (Mean(), (MAP, MAP), ""),
    (Max(), (MAP, MAP), "gelu"),
    (Mul(), (MAP, GATE), ""),
    (Mul(), (MAP, GATE), "scale -> silu"),
    (Mul(), (MAP, MAP), "tanh"),
]


def config_of(kernel: Kernel, *, whole: bool = True) -> Config:
    return Config.of(BM=8, BC=16) if whole or kernel is SOFTMAX else Config.of(BM=4, BC=4)


def join(
    op: Op,
    maps: Sequence[FeatureMap],
    text: str,
    batch: int = 2,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """The maps, joined; then the elementwise chain of ``text``; then the first map, added."""
    links = [Link(op, tuple(range(len(maps))))]
    if text:
        links += [Link(link.op, (RUNNING,)) for link in problem_of(f"[5, 3, 4] = {text}").links]
    if op in (Mean(), Mul()):
        links.append(Link(Add(), (RUNNING, list(maps).index(MAP))))
    problem = Problem(Chain(tuple(links)), tuple(maps), batch, dtype)
    assert MAPS.refuses(problem, 80) is None
    return problem


@pytest.mark.parametrize(("kernel", "text"), CASES)
def test_every_kind(kernel: Kernel, text: str) -> None:
    check(kernel, accepted(kernel, 80, text), config_of(kernel), SLICE)


@pytest.mark.parametrize(("op", "maps", "text"), JOINS)
def test_joins(op: Op, maps: Sequence[FeatureMap], text: str) -> None:
    check(MAPS, join(op, maps, text), ONE, SLICE)


def test_a_map_is_joined_with_itself() -> None:
    """By the numbers of the operands, which are not those of the inputs."""
    for op, slots in [(Add(), (0, 0, 0)), (Mean(), (0, 1, 0)), (Max(), (1, 0, 1))]:
        maps = (MAP,) * (max(slots) + 1)
        check(MAPS, Problem(Chain((Link(op, slots),)), maps, 2, torch.float32), ONE, SLICE)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_response_of_large_numbers(size: float) -> None:
    """An error in the exponent of a power is a share of the power."""
    problem = accepted(LRN, 80, "[5, 3, 2] = lrn(3, alpha=1)")
    check(LRN, problem, config_of(LRN), size=size)


@pytest.mark.parametrize(("kernel", "text"), CASES[1::3])
def test_many_tiles(kernel: Kernel, text: str) -> None:
    check(kernel, accepted(kernel, 80, text, 1), config_of(kernel, whole=False), PLANAR)


@pytest.mark.parametrize(("kernel", "text"), [CASES[k] for k in (0, 4, 7, 8)])
def test_half(kernel: Kernel, text: str) -> None:
    check(kernel, accepted(kernel, 80, text, 1, torch.float16), config_of(kernel), DENSE)


def test_joins_in_half() -> None:
    check(MAPS, join(*JOINS[6], 1, torch.float16), ONE, DENSE)


@pytest.mark.parametrize("batch", [0, 3])
@pytest.mark.parametrize(("kernel", "text"), [CASES[0], CASES[3], CASES[8]])
def test_batches(kernel: Kernel, text: str, batch: int) -> None:
    check(kernel, accepted(kernel, 80, text, batch), config_of(kernel))


@pytest.mark.parametrize(("kernel", "text"), [CASES[k] for k in (0, 3, 7, 8)])
def test_nan_goes_where_it_must_and_nowhere_else(kernel: Kernel, text: str) -> None:
    check(kernel, accepted(kernel, 80, text), config_of(kernel), nan=13)


@pytest.mark.parametrize("row", [2, 4])
def test_nan_of_a_join(row: int) -> None:
    check(MAPS, join(*JOINS[row]), ONE, nan=13)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinite_exponents() -> None:
    """The softmax of large numbers is finite; that of infinity is not a number."""
    problem = accepted(SOFTMAX, 80, "[4] = softmax", 3)
    x = torch.tensor([[200.0, 0, -torch.inf, 199], [-300, -301, -300, -400], [torch.inf, 0, 0, 0]])
    out = torch.empty_like(x)
    run(SOFTMAX.launches(problem, config_of(SOFTMAX), Operands([x], {}, out)))
    torch.testing.assert_close(out, x.softmax(1), equal_nan=True)


@pytest.mark.parametrize("kernel", [MAPS, LRN, SOFTMAX])
def test_wide_offsets(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers where offsets are of 64 bits."""
    monkeypatch.setattr(f"{type(kernel).__module__}.is_wide", lambda *_: True)
    text = next(text for own, text in CASES if own is kernel)
    check(kernel, accepted(kernel, 80, text), config_of(kernel), SLICE)


@pytest.mark.parametrize(
    ("kernel", "text", "why"),
    [
        (MAPS, "[4, 3, 3] = maxpool(2)", "changes the size"),
        (MAPS, "[4, 3, 3] = relu -> softmax", "one value at a time"),
        (LRN, "[4, 3, 3] = relu", "does not begin"),
        (LRN, "[4, 3, 3] = lrn(3) -> relu", "follows"),
        (LRN, "[4, 3, 3] = lrn(3, alpha=-1, beta=1)", "not positive"),
        (LRN, "[4, 3, 3] = lrn(3, k=0)", "not positive"),
        (SOFTMAX, "[4] = relu", "does not begin"),
        (SOFTMAX, "[4] = softmax -> relu", "follows"),
    ],
)
def test_refusals(kernel: Kernel, text: str, why: str) -> None:
    assert why in (kernel.refuses(problem_of(text), 90) or "")


def test_five_maps_are_refused() -> None:
    problem = Problem(Chain((Link(Add(), (0, 1, 2, 3, 4)),)), (MAP,) * 5, 1, torch.half)
    assert "more than 4 maps" in (MAPS.refuses(problem, 90) or "")


WORDS = ["bn", "relu", "scale", "scale(0.3)", "tanh", "elu(0.7)", "prelu(5)", "hardsigmoid"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random_maps(seed: int) -> None:
    rng = random.Random(seed)
    op, maps, _ = rng.choice(JOINS)
    text = " -> ".join(rng.sample(WORDS, rng.randrange(1, 4)))
    dtype = rng.choice([torch.float32, torch.float16])
    problem = join(op, maps, text, rng.choice([1, 2, 3]), dtype)
    config = Config.of(BM=rng.choice([8, 16, 64]), BC=rng.choice([4, 8, 32]))
    check(MAPS, problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)


def drawn_channels(kernel: Kernel, rng: random.Random) -> str:
    """A softmax or a response norm of random measures."""
    size = f"{rng.choice([1, 2, 7, 16, 33])}, {rng.randrange(1, 6)}, {rng.randrange(1, 6)}"
    if kernel is SOFTMAX:
        return f"[{size}] = {rng.choice(['softmax', 'log_softmax'])}"
    numbers = f"alpha={rng.choice([1e-4, 0.1, 1])}, beta={rng.choice([0.5, 0.75, 1])}"
    return f"[{size}] = lrn({rng.randrange(1, 10)}, {numbers}, k={rng.choice([1, 2])})"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
@pytest.mark.parametrize("kernel", [LRN, SOFTMAX])
def test_random_channels(kernel: Kernel, seed: int) -> None:
    rng = random.Random(seed)
    dtype = rng.choice([torch.float32, torch.float16])
    problem = accepted(kernel, 80, drawn_channels(kernel, rng), rng.choice([1, 2, 3]), dtype)
    config = Config.of(BM=rng.choice([4, 16, 32]), BC=rng.choice([8, 16, 32]))
    check(kernel, problem, config, rng.choice([DENSE, SLICE, PLANAR]), seed)
