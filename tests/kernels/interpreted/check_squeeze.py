"""Means and products in one launch against the reference (see ``test_interpreted``)."""

from __future__ import annotations

import random

import pytest
import torch

from cnndsl.kernels.base import Config, Operands, run
from cnndsl.kernels.reference import reference
from cnndsl.kernels.squeeze import Squeeze
from tests.kernels.oracle import DENSE, PLANAR, SLICE, accepted, check, drawn, problem_of

KERNEL = Squeeze()
ONE = Config.of(BM=16, BC=16, BH=16, BO=16)
TILES = Config.of(BM=4, BC=8, BH=8, BO=4)
CASES = """\
[5, 4, 3] = gap -> conv(3, 1) -> relu -> conv(5, 1) -> sigmoid
[17, 3, 3] = gap -> flatten -> linear(19)
[6, 2, 5] = bn -> relu -> gap -> flatten -> linear(7, bias=no) -> scale -> tanh
[8, 3, 2] = gap -> conv(4, 1, bias=no) -> prelu(4) -> conv(6, 1) -> hardsigmoid -> scale(0.5)
[3, 1, 1] = gap -> conv(9, 1) -> bn -> silu
"""


@pytest.mark.parametrize("text", CASES.splitlines())
def test_every_kind(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 80, text), ONE, SLICE)


@pytest.mark.parametrize("text", [CASES.splitlines()[k] for k in (1, 3)])
def test_many_tiles(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 80, text, 1), TILES, PLANAR)


@pytest.mark.parametrize("text", CASES.splitlines()[::2])
def test_half(text: str) -> None:
    check(KERNEL, accepted(KERNEL, 80, text, 1, torch.float16), ONE, DENSE)


@pytest.mark.parametrize("batch", [0, 3])
def test_batches(batch: int) -> None:
    check(KERNEL, accepted(KERNEL, 80, CASES.splitlines()[0], batch), ONE)


@pytest.mark.parametrize("text", CASES.splitlines()[:2])
def test_nan_goes_where_it_must_and_nowhere_else(text: str) -> None:
    """One image of two; what is not there of it makes no second image NaN."""
    check(KERNEL, accepted(KERNEL, 80, text), ONE, nan=13)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinite_means_meet_no_zero() -> None:
    """0 times infinity is NaN: a number between the products that is not there must stay out."""
    problem = accepted(KERNEL, 80, CASES.splitlines()[0])
    given = drawn(problem)
    given.inputs[0][0, 1, 2, 1] = torch.inf
    out = torch.empty(2, 5, 1, 1)
    operands = Operands(given.inputs, KERNEL.pack(problem, given.weights), out)
    run(KERNEL.launches(problem, ONE, operands))
    value, _ = reference(problem, *given)
    torch.testing.assert_close(out, value.float(), rtol=1e-5, atol=1e-6, equal_nan=True)


def test_wide_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers where offsets are of 64 bits."""
    monkeypatch.setattr("cnndsl.kernels.squeeze.is_wide", lambda *_: True)
    check(KERNEL, accepted(KERNEL, 80, CASES.splitlines()[0]), ONE, SLICE)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[4, 3, 3] = gap -> relu", "one or two products"),
        ("[4, 3, 3] = conv(4, 1) -> gap", "one or two products"),
        ("[4, 3, 3] = gmp -> conv(4, 1)", "one or two products"),
        ("[4, 3, 3] = gap -> relu -> conv(4, 1)", "between its mean"),
        ("[4, 3, 3] = gap -> conv(4, 3)", "windows or groups"),
        ("[4, 3, 3] = gap -> conv(4, 1, groups=2)", "windows or groups"),
        ("[4, 3, 3] = gap -> conv(4, 1) -> relu -> softmax", "one value at a time"),
        ("[4, 1, 1] = (gap -> conv(4, 1)) + id", "more than one map"),
        ("[4, 3, 3] = gap -> conv(600, 1) -> conv(4, 1)", "more than 512"),
    ],
)
def test_refusals(text: str, why: str) -> None:
    assert why in (KERNEL.refuses(problem_of(text), 90) or "")


def test_many_images_are_for_a_product_of_matrices() -> None:
    text = "[2048, 7, 7] = gap -> flatten -> linear(1000)"
    assert KERNEL.refuses(problem_of(text, 1, torch.half), 90) is None
    assert "would read" in (KERNEL.refuses(problem_of(text, 256, torch.half), 90) or "")


def drawn_text(rng: random.Random) -> str:
    """A gate or a head of random measures."""
    before = rng.choice(["", "", "bn -> relu -> ", "tanh -> "])
    ends = ["", " -> relu", " -> scale -> silu", " -> hardsigmoid"]
    size = f"[{rng.choice([1, 3, 8, 17, 33])}, {rng.randrange(1, 8)}, {rng.randrange(1, 8)}]"
    filters, hidden = rng.choice([1, 5, 16, 35]), rng.choice([1, 4, 9, 17])
    if rng.random() < 0.5:
        return f"{size} = {before}gap -> flatten -> linear({filters}){rng.choice(ends)}"
    middle = f"conv({hidden}, 1){rng.choice(ends)}"
    return f"{size} = {before}gap -> {middle} -> conv({filters}, 1){rng.choice(ends)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(520))
def test_random(seed: int) -> None:
    rng = random.Random(seed)
    dtype = rng.choice([torch.float32, torch.float16])
    problem = accepted(KERNEL, 80, drawn_text(rng), rng.choice([1, 2, 3]), dtype)
    sides = {side: rng.choice([8, 16, 32]) for side in ("BM", "BC", "BO")}
    check(KERNEL, problem, Config.of(**sides, BH=32), rng.choice([DENSE, SLICE, PLANAR]), seed)
