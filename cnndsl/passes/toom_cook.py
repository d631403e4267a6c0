"""F(m, 3): outputs of a filter of three taps along a line, by Toom and Cook's algorithm.

A product of polynomials with m and 3 coefficients is known from its values at m + 2 points,
infinity among them, and each value is one product. The transposed algorithm gives m neighbouring
outputs of a filter of three taps::

    y = A^T [(G g) * (B^T d)],    * point by point; d: the m + 2 inputs that these outputs read

(Lavin & Gray 2015, arXiv:1509.09308; on points: Barabasz et al. 2020, arXiv:1803.10986.)
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from math import prod
from typing import NamedTuple

from cnndsl.weights.expr import Expr, numbers

TAPS = 3


class Line(NamedTuple):
    """``outputs`` along a line from ``window`` inputs, by as many products."""

    outputs: int
    window: int
    input_transform: Expr
    """B^T, [window, window]."""
    filter_transform: Expr
    """G, [window, taps]."""
    output_transform: Expr
    """A^T, [outputs, window]."""
    ones: Expr
    """(G g) * (B^T d) of which every output is 1, [1, window]."""


@cache
def line(*points: float) -> Line:
    """F(m, 3) at these m + 1 points and infinity. Where they are small fractions of powers of two,
    B^T and A^T are exact in float32."""
    finite = [Fraction(p) for p in points]
    window = len(finite) + 1
    outputs = window - (TAPS - 1)
    inputs, filters = [], []
    for p in finite:
        others = [q for q in finite if q != p]
        among = prod((p - q for q in others), start=Fraction(1))
        inputs.append([*_expanded(others), Fraction(0)])
        filters.append([p**k / among for k in range(TAPS)])
    inputs.append(_expanded(finite))
    filters.append(_last(TAPS))
    results = [[*(p**k for p in finite), _last(outputs)[k]] for k in range(outputs)]
    by_first = [row[0] for row in filters]  # the filter 1, 0, 0 makes ones of ones
    ones = [g * sum(row) for g, row in zip(by_first, inputs, strict=True)]
    return Line(outputs, window, *map(_matrix, (inputs, filters, results, [ones])))


def _expanded(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of (x - root) ..., those of small powers first."""
    found = [Fraction(1)]
    for root in roots:
        higher, lower = [Fraction(0), *found], [*found, Fraction(0)]
        found = [a - root * b for a, b in zip(higher, lower, strict=True)]
    return found


def _last(size: int) -> list[Fraction]:
    """What infinity sees of a polynomial: its largest power."""
    return [Fraction(k == size - 1) for k in range(size)]


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Expr:
    return numbers(*(tuple(map(float, row)) for row in rows))
