"""The products that a short filter along a line needs, by Toom and Cook's algorithm.

Outputs of a filter of three taps are coefficients of a product of polynomials, which is known from
its values at some points. Two points more than outputs are enough, infinity among them, and each
value is one product::

    y = A^T [(G g) * (B^T d)],    * point by point; d: the inputs that these outputs read

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
    """F(m, 3): m outputs from m + 2 inputs by as many products."""

    outputs: int
    window: int
    analysis: Expr
    """B^T, [window, window]."""
    filters: Expr
    """G, [window, taps]."""
    synthesis: Expr
    """A^T, [outputs, window]."""
    ones: Expr
    """(G g) * (B^T d) of which every output is 1, [1, window]."""


@cache
def line(*points: float) -> Line:
    """By these points and infinity. Where they are small fractions of powers of two, B^T and A^T
    are exact in float32."""
    finite = [Fraction(p) for p in points]
    window = len(finite) + 1
    outputs = window - (TAPS - 1)
    analysis, filters = [], []
    for p in finite:
        others = [q for q in finite if q != p]
        among = prod((p - q for q in others), start=Fraction(1))
        analysis.append([*_expanded(others), Fraction(0)])
        filters.append([p**k / among for k in range(TAPS)])
    analysis.append(_expanded(finite))
    filters.append(_last(TAPS))
    synthesis = [[*(p**k for p in finite), _last(outputs)[k]] for k in range(outputs)]
    by_first = [row[0] for row in filters]  # the filter 1, 0, 0 makes ones of ones
    ones = [g * sum(row) for g, row in zip(by_first, analysis, strict=True)]
    return Line(outputs, window, *map(_matrix, (analysis, filters, synthesis, [ones])))


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
