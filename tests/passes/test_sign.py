"""What is said of signs holds for every number that parameters may be."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cnndsl.weights import sign
from cnndsl.weights.evaluate import Evaluator
from cnndsl.weights.expr import Expr, Param, concat, einsum, full
from cnndsl.weights.sign import Sign, sign_of

SHAPE = (2, 3)
EXPRESSIONS = 2_000
P, Q = Param("p", SHAPE), Param("q", SHAPE)
ONE, ZERO, MINUS = (full(SHAPE, value) for value in (1, 0, -1))
SOME = P.abs() + 1


@pytest.mark.parametrize(
    ("expr", "want"),
    [
        (P, Sign.UNKNOWN),
        (Param("bn.running_var", (3,)), Sign.UNKNOWN),
        (ONE, Sign.POSITIVE),
        (ZERO, Sign.NOT_NEGATIVE),
        (MINUS, Sign.UNKNOWN),
        (P.abs(), Sign.NOT_NEGATIVE),
        (P.sqrt(), Sign.NOT_NEGATIVE),
        (SOME.sqrt(), Sign.POSITIVE),
        (MINUS.abs(), Sign.NOT_NEGATIVE),
        (P.abs() + Q.abs(), Sign.NOT_NEGATIVE),
        (P + 1, Sign.UNKNOWN),
        (SOME - P.abs(), Sign.UNKNOWN),
        (P * P, Sign.NOT_NEGATIVE),
        (P * Q, Sign.UNKNOWN),
        (SOME * SOME, Sign.POSITIVE),
        (SOME * P.abs(), Sign.NOT_NEGATIVE),
        (SOME / Q.sqrt(), Sign.POSITIVE),
        (P.abs() / SOME, Sign.NOT_NEGATIVE),
        (ONE / P, Sign.UNKNOWN),
        (SOME.pad((0, 1), (0, 0)), Sign.NOT_NEGATIVE),
        (SOME.reshape(6).slice(0, 1, 3), Sign.POSITIVE),
        (SOME.permute(1, 0).sum(0), Sign.POSITIVE),
        (concat([SOME, P.abs()]), Sign.NOT_NEGATIVE),
        (concat([SOME, P]), Sign.UNKNOWN),
        (einsum("ij,ij->i", SOME, P.abs()), Sign.NOT_NEGATIVE),
    ],
    ids=repr,
)
def test_what_is_known(expr: Expr, want: Sign) -> None:
    assert sign_of(expr) is want


def test_a_normalisation_without_a_learned_scale_is_positive() -> None:
    deviation = (Param("bn.running_var", (3,)) + 1e-5).sqrt()
    assert sign_of(full((3,), 1) / deviation) is Sign.POSITIVE
    assert sign_of(Param("bn.weight", (3,)) / deviation) is Sign.UNKNOWN


def test_shared_parts_are_looked_at_once() -> None:
    """2^200 parts, were they written out; and deeper than Python's stack."""
    expr = SOME
    for _ in range(200):
        expr = expr + expr
    for _ in range(5_000):
        expr = expr.sqrt()
    assert sign_of(expr) is Sign.POSITIVE


# --- random expressions ----------------------------------------------------------------------


def expressions() -> Iterator[Expr]:
    """Of shape ``SHAPE``, of every kind, each built of earlier ones."""
    rng = random.Random(0)
    made = [P, Q, MINUS, ZERO, ONE, full(SHAPE, 0.5), full(SHAPE, 2), SOME, Q.abs() + 0.5]
    for _ in range(EXPRESSIONS):
        a, b = (rng.choice(made if rng.random() < 0.3 else made[:200]) for _ in range(2))
        expr = _made(rng, a, b)
        if _depth(expr) < 9:
            made.append(expr)
            yield expr


def _made(rng: random.Random, a: Expr, b: Expr) -> Expr:
    both = concat([a, b])
    row = rng.randint(0, 1)
    return rng.choice(
        [
            lambda: a.abs(),
            lambda: a.sqrt(),
            lambda: a + b,
            lambda: a - b,
            lambda: a * b,
            lambda: a * a,
            lambda: a / b,
            lambda: a.pad((1, 0), (0, 0)).slice(0, row, row + 2),
            lambda: a.reshape(3, 2).permute(1, 0),
            lambda: both.slice(0, row, row + 2),
            lambda: both.reshape(2, 2, 3).sum(0),
            lambda: einsum("ij,kj->kj", a, b),
        ]
    )()


def _depth(expr: Expr) -> int:
    return 1 + max((_depth(arg) for arg in expr.args), default=0)


def parameters() -> list[dict[str, Tensor]]:
    """Of either sign, all above zero, and with zeros among them."""
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, *SHAPE, dtype=torch.float64, generator=generator)
    dead = torch.tensor([[0.0, 1, 1], [1, 0, 1]], dtype=torch.float64)
    return [{"p": p, "q": q}, {"p": p.abs(), "q": q.abs()}, {"p": p.abs() * dead, "q": -q.abs()}]


def first_wrong() -> Expr | None:
    """An expression that has not the sign that is said of it; claims are of finite numbers."""
    evaluators = [Evaluator(found) for found in parameters()]
    for expr in expressions():
        claim = sign_of(expr)
        for value in evaluators:
            least = float(value(expr).min())
            wrong = least < 0 if claim is Sign.NOT_NEGATIVE else claim and least <= 0
            if wrong and all(bool(value(part).isfinite().all()) for part in _parts(expr)):
                return expr
    return None


def _parts(expr: Expr) -> Iterator[Expr]:
    yield expr
    for arg in expr.args:
        yield from _parts(arg)


def test_every_claim_holds() -> None:
    assert first_wrong() is None
    claims = [sign_of(expr) for expr in expressions()]
    assert all(claims.count(known) > EXPRESSIONS / 20 for known in Sign)


@pytest.mark.parametrize("kind", [*sign._RULES, "sub", "param"])
def test_claiming_more_is_found_out(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sign._RULES, kind, lambda *_: Sign.POSITIVE)
    assert first_wrong() is not None


@pytest.mark.parametrize("kind", ["add", "mul", "div", "concat", "einsum"])
def test_what_is_known_of_one_operand_is_not_enough(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sign._RULES, kind, lambda _, signs: max(signs))
    assert first_wrong() is not None
