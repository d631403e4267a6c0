"""What is known of the sign of an expression before its numbers are."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from cnndsl.weights.expr import Expr


class Sign(IntEnum):
    """What holds for every entry, whatever the parameters: ordered, more known is larger.

    Said of finite numbers: where a part is infinite or NaN, what is computed with it is so in
    any order of the steps.
    """

    UNKNOWN = 0
    NOT_NEGATIVE = 1
    POSITIVE = 2


def sign_of(expr: Expr) -> Sign:
    """The sign that is certain from the operations alone; linear in the expression's parts.

    A parameter may be anything: even one called ``running_var``, for a label may say so too.
    The root of a variance is what shows that it is none below zero.
    """
    known: dict[int, Sign] = {}
    waiting = [expr]
    while waiting:
        top = waiting[-1]
        missing = [arg for arg in top.args if id(arg) not in known]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        known[id(top)] = _RULES.get(top.kind, _unknown)(top, [known[id(a)] for a in top.args])
    return known[id(expr)]


def _unknown(expr: Expr, signs: list[Sign]) -> Sign:
    return Sign.UNKNOWN


def _least(expr: Expr, signs: list[Sign]) -> Sign:
    """Of numbers that are moved, multiplied or summed: as much as is known of all."""
    return min(signs)


def _full(expr: Expr, signs: list[Sign]) -> Sign:
    value = expr.options[0]
    return Sign.POSITIVE if value > 0 else Sign.NOT_NEGATIVE if value == 0 else Sign.UNKNOWN


def _root(expr: Expr, signs: list[Sign]) -> Sign:
    """Of roots and magnitudes."""
    return max(signs[0], Sign.NOT_NEGATIVE)


def _sum(expr: Expr, signs: list[Sign]) -> Sign:
    return max(signs) if min(signs) else Sign.UNKNOWN


def _product(expr: Expr, signs: list[Sign]) -> Sign:
    left, right = expr.args
    return max(min(signs), Sign.NOT_NEGATIVE) if left == right else min(signs)


def _quotient(expr: Expr, signs: list[Sign]) -> Sign:
    """A divisor of 0 makes infinity of a positive number, and NaN of 0."""
    return signs[0] if signs[1] else Sign.UNKNOWN


def _padded(expr: Expr, signs: list[Sign]) -> Sign:
    return min(signs[0], Sign.NOT_NEGATIVE)


_RULES: dict[str, Callable[[Expr, list[Sign]], Sign]] = {
    "full": _full,
    "sqrt": _root,
    "abs": _root,
    "add": _sum,
    "mul": _product,
    "div": _quotient,
    "pad": _padded,
    "reshape": _least,
    "permute": _least,
    "slice": _least,
    "concat": _least,
    "sum": _least,
    "einsum": _least,
}
