"""When do two sizes agree?  Sets of allowed symbol values and the exact comparison of sizes.

Two sizes that grow at the same rate agree on whole residue classes; two that do not agree at
finitely many values.  Both cases are decided exactly, with divisors far too large to enumerate:
for ``m1*floor((n+A1)/B1)+c1`` and ``m2*floor((n+A2)/B2)+c2`` of equal rate, equality fixes one
pair of steps per common period, so the values that agree are one interval of residues.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, islice
from math import gcd, lcm
from typing import Literal, NamedTuple

from cnndsl.ops.sizes import MAX_PERIOD, Dim, Size, SizeTooComplex, prime_factors

_FINITE_SHOWN = 8  # coincidences worth naming
_ROUNDS = 65536  # steps a search may take before it settles for a value that is not the least
_RESIDUES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Valid:
    """A set of allowed symbol values: n >= minimum with n mod modulus among the residues.

    Construction normalises (least modulus, sorted residues; a minimum is kept only where it
    excludes a positive value), so equal sets compare equal.  A modulus below 1 is a ValueError.
    """

    symbol: str
    modulus: int = 1
    residues: tuple[int, ...] = (0,)
    minimum: int = 1

    def __post_init__(self) -> None:
        if self.modulus < 1:
            raise ValueError(f"a modulus must be at least 1, not {self.modulus}")
        modulus, residues = _least_modulus(
            self.modulus, {residue % self.modulus for residue in self.residues}
        )
        object.__setattr__(self, "modulus", modulus)
        object.__setattr__(self, "residues", residues)
        object.__setattr__(self, "minimum", self._least_minimum())

    @staticmethod
    @lru_cache  # every join of a graph asks for the same one or two
    def all(symbol: str) -> Valid:
        """Every value >= 1."""
        return Valid(symbol)

    @staticmethod
    def divisibility(symbol: str, modulus: int, remainder: int = 0) -> Valid:
        """The set ``symbol % modulus == remainder``; ValueError when no value can satisfy it."""
        if not 0 <= remainder < modulus:
            raise ValueError(f"{symbol} % {modulus} is never {remainder}")
        return Valid(symbol, modulus, (remainder,))

    @staticmethod
    def at_least(symbol: str, minimum: int) -> Valid:
        """The set ``symbol >= minimum``."""
        return Valid(symbol, minimum=minimum)

    @property
    def is_empty(self) -> bool:
        """Whether no value is allowed."""
        return not self.residues

    def contains(self, n: int) -> bool:
        """Whether ``n`` is allowed."""
        return bool(self.residues) and self.next(n) == n

    def next(self, n: int = 1) -> int:
        """The least allowed value >= ``n``; ValueError when the set is empty."""
        if not self.residues:
            raise ValueError(f"no value of {self.symbol} is allowed")
        turns, place = divmod(max(n, self.minimum), self.modulus)
        index = bisect_left(self.residues, place)
        if index == len(self.residues):
            turns, index = turns + 1, 0
        return turns * self.modulus + self.residues[index]

    def first(self, k: int = 1) -> tuple[int, ...]:
        """The ``k`` least allowed values, ascending; none when the set is empty."""
        return tuple(islice(self._ascending(), k))

    def intersect(self, other: Valid) -> Valid:
        """The values allowed by both sets.

        ValueError when they restrict different symbols, SizeTooComplex when the result has more
        than ``MAX_PERIOD`` residues.
        """
        if other.symbol != self.symbol:
            raise ValueError(f"{self.symbol} and {other.symbol} are different symbols")
        modulus, residues = _common_residues(self, other)
        return Valid(self.symbol, modulus, residues, max(self.minimum, other.minimum))

    def __str__(self) -> str:
        if self.is_empty:
            return f"no {self.symbol}"
        parts = [self._class_text()] if self.modulus > 1 else []
        if self.minimum > 1 or not parts:
            parts.append(f"{self.symbol} >= {self.minimum}")
        return ", ".join(parts)

    def _ascending(self) -> Iterator[int]:
        n = 1
        while self.residues:
            n = self.next(n)
            yield n
            n += 1

    def _least_minimum(self) -> int:
        if not self.residues:
            return 1
        least = self.residues[0] or (self.residues[1:] or (self.modulus,))[0]
        return 1 if self.minimum <= least else self.next()

    def _class_text(self) -> str:
        lead = f"{self.symbol} % {self.modulus}"
        if len(self.residues) == 1:
            return f"{lead} == {self.residues[0]}"
        shown = ", ".join(map(str, self.residues[:_RESIDUES_SHOWN]))
        if len(self.residues) > _RESIDUES_SHOWN:
            shown += f", ... {self.residues[-1]}"
        return f"{lead} in {{{shown}}}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two dimensions ``a`` and ``b`` compare over the allowed symbol values.

    ``verdict``: "always" equal, "never" equal (proved) or "sometimes" (not known to be either).
    ``witness``: the smallest allowed values where they differ, and ``values`` = (a, b) there.
    ``when``: the exact subset of the allowed values on which they agree, if that is a
    congruence; None if they agree nowhere, at finitely many values, or on more than
    ``MAX_PERIOD`` residues.
    ``only_at``: if they agree at finitely many values, the least of those (at most 8).
    ``derivable``: the congruence comes from an extended size (upsampling and its kin), so a
    compiler may adopt it as a fact instead of reporting a mistake.
    """

    verdict: Literal["always", "never", "sometimes"]
    witness: Mapping[str, int] | None = None
    values: tuple[int, int] | None = None
    when: Valid | None = None
    only_at: tuple[int, ...] = ()
    derivable: bool = False

    @property
    def always(self) -> bool:
        """Whether both dimensions are equal at every allowed value."""
        return self.verdict == "always"

    @property
    def never(self) -> bool:
        """Whether both dimensions differ at every allowed value (false also when unproved)."""
        return self.verdict == "never"


def agree(a: Dim, b: Dim, valid: Mapping[str, Valid] | None = None) -> Agreement:
    """Compare two dimensions over the allowed values (a symbol without an entry allows all).

    Raises SizeTooComplex when a table and another size share no period within ``MAX_PERIOD``.
    """
    symbols = sorted({x.symbol for x in (a, b) if isinstance(x, Size)})
    allowed = [(valid or {}).get(symbol) or Valid.all(symbol) for symbol in symbols]
    if a == b or any(one.is_empty for one in allowed):
        return Agreement("always", when=allowed[0] if len(allowed) == 1 else None)
    if isinstance(a, Size) and isinstance(b, Size):
        if a.symbol != b.symbol:
            return _unrelated(a, b, {one.symbol: one for one in allowed})
        if a.stride == b.stride:
            return _same_rate(a, b, allowed[0])
    if not allowed:
        return Agreement("never", witness={}, values=(_at(a, 0), _at(b, 0)))
    return _different_rates(a, b, allowed[0])


class _Run(NamedTuple):
    """Residues ``start .. start + length - 1`` (mod the common period): agreeing or not."""

    equal: bool
    start: int
    length: int


def _same_rate(a: Size, b: Size, allowed: Valid) -> Agreement:
    period = lcm(a.divisor, b.divisor)
    runs = _table_runs(a, b, period) if a.table or b.table else _floor_runs(a, b, period)
    differ = _first_in_runs(allowed, period, [run for run in runs if not run.equal])
    if differ is None:
        return Agreement("always", when=allowed)
    values = (a.at(differ), b.at(differ))
    equal = [run for run in runs if run.equal]
    if _first_in_runs(allowed, period, equal) is None:
        return Agreement("never", {allowed.symbol: differ}, values)
    when = _listed(allowed, period, equal)
    derivable = when is not None and (a.is_extended or b.is_extended)
    return Agreement("sometimes", {allowed.symbol: differ}, values, when, (), derivable)


def _floor_runs(a: Size, b: Size, period: int) -> list[_Run]:
    # a is on its step i, b on its step j; equality is m1*i + c1 == m2*j + c2.  Its solutions are
    # one family (i + m2/g, j + m1/g), and moving along it shifts both steps by the period.
    common = gcd(a.scale, b.scale)
    gap = b.constant - a.constant
    if gap % common:
        return [_Run(False, 0, period)]
    cycle = b.scale // common
    i = gap // common * pow(a.scale // common, -1, cycle) % cycle
    j = (a.scale * i - gap) // b.scale
    start = max(i * a.divisor - a.offset, j * b.divisor - b.offset)
    end = min((i + 1) * a.divisor - a.offset, (j + 1) * b.divisor - b.offset)
    if end <= start:
        return [_Run(False, 0, period)]
    return [_Run(True, start, end - start), _Run(False, end, period - (end - start))]


def _table_runs(a: Size, b: Size, period: int) -> list[_Run]:
    if period > MAX_PERIOD:
        raise SizeTooComplex(f"{a} and {b} repeat together only every {period} values")
    runs = []
    for equal, group in groupby(range(period), key=lambda n: a.at(n) == b.at(n)):
        members = list(group)
        runs.append(_Run(equal, members[0], len(members)))
    return runs


def _first_in_runs(allowed: Valid, period: int, runs: list[_Run]) -> int | None:
    """The least allowed value whose residue mod ``period`` lies in one of the runs."""
    if len(allowed.residues) * len(runs) > MAX_PERIOD:
        raise SizeTooComplex(f"too many cases to compare under {allowed}")
    base = allowed.minimum
    firsts = [base + (residue - base) % allowed.modulus for residue in allowed.residues]
    hits = (
        first_in_class(n, allowed.modulus, period, run.start, run.length)
        for run in runs
        for n in firsts
    )
    return min((hit for hit in hits if hit is not None), default=None)


def first_in_class(n: int, step: int, modulus: int, start: int, length: int) -> int | None:
    """The least of n, n + step, n + 2*step, ... with ``(value - start) % modulus < length``.

    None when there is none.  Takes O(log modulus) steps, however large the numbers.
    """
    if length <= 0:
        return None
    if (n - start) % modulus < length:
        return n
    low = (start - n) % modulus  # n itself is outside, so the shifted interval does not wrap
    count = _first_multiple(step, modulus, low, low + length - 1)
    return None if count is None else n + step * count


def _first_multiple(step: int, modulus: int, low: int, high: int) -> int | None:
    """The least x >= 0 with ``low <= step*x % modulus <= high`` (0 <= low <= high < modulus)."""
    if low == 0:
        return 0
    step %= modulus
    if step == 0:
        return None
    x = -(-low // step)
    if step * x <= high:
        return x
    # No multiple before the first wrap: the number of wraps solves the same problem mod step.
    wraps = _first_multiple(modulus, step, -high % step, -low % step)
    return None if wraps is None else -(-(low + modulus * wraps) // step)


def _listed(allowed: Valid, period: int, runs: list[_Run]) -> Valid | None:
    """The allowed values inside the runs, or None when they are too many to list."""
    if sum(run.length for run in runs) > MAX_PERIOD:
        return None
    residues = (n for run in runs for n in range(run.start, run.start + run.length))
    try:
        return Valid(allowed.symbol, period, tuple(residues)).intersect(allowed)
    except SizeTooComplex:
        return None


def _different_rates(a: Dim, b: Dim, allowed: Valid) -> Agreement:
    first, last = _meeting_range(a, b)
    equal, complete = _coincidences(a, b, allowed, first, last)
    differ = _first_difference(a, b, allowed, last)
    values = (_at(a, differ), _at(b, differ))
    verdict: Literal["never", "sometimes"] = "never" if complete and not equal else "sometimes"
    return Agreement(verdict, {allowed.symbol: differ}, values, only_at=tuple(equal))


def _meeting_range(a: Dim, b: Dim) -> tuple[int, int]:
    """The least and greatest n at which sizes of different rates can possibly be equal."""
    rate_a, low_a, high_a = _band(a)
    rate_b, low_b, high_b = _band(b)
    ends = sorted(((low_b - high_a) / (rate_a - rate_b), (high_b - low_a) / (rate_a - rate_b)))
    return -(-ends[0].numerator // ends[0].denominator), ends[1].numerator // ends[1].denominator


def _band(x: Dim) -> tuple[Fraction, Fraction, Fraction]:
    """The rate of ``x`` and the least and greatest of ``x(n) - rate * n`` over all n."""
    if isinstance(x, int):
        return Fraction(0), Fraction(x), Fraction(x)
    rate = Fraction(x.scale, x.divisor)
    if x.table:
        rests = [value * x.divisor - n * x.scale for n, value in enumerate(x.table)]
        return rate, Fraction(min(rests), x.divisor), Fraction(max(rests), x.divisor)
    high = rate * x.offset + x.constant
    return rate, high - rate * (x.divisor - 1), high


def _coincidences(a: Dim, b: Dim, allowed: Valid, first: int, last: int) -> tuple[list[int], bool]:
    """The least allowed values in first..last where both are equal; whether the search ended."""
    found: list[int] = []
    n = allowed.next(first)
    for _ in range(_ROUNDS):
        if n > last or len(found) == _FINITE_SHOWN:
            return found, True
        gap = _at(a, n) - _at(b, n)
        if gap == 0:
            found.append(n)
            n = allowed.next(n + 1)
        else:  # nothing can be equal before the smaller one reaches the larger one's value
            behind, target = (a, _at(b, n)) if gap < 0 else (b, _at(a, n))
            n = allowed.next(_reaching(behind, target, last))
    return found, False


def _first_difference(a: Dim, b: Dim, allowed: Valid, last: int) -> int:
    """The least allowed value where both differ (they differ everywhere after ``last``)."""
    n = allowed.next()
    for _ in range(_ROUNDS):
        value = _at(a, n)
        if value != _at(b, n):
            return n
        n = allowed.next(min(_reaching(a, value + 1, last), _reaching(b, value + 1, last)))
    return allowed.next(last + 1)


def _reaching(x: Dim, value: int, last: int) -> int:
    """The least n >= 1 where ``x`` is at least ``value``; past ``last`` for a constant below."""
    return last + 1 if isinstance(x, int) else x.least(value)


def _unrelated(a: Size, b: Size, valid: Mapping[str, Valid]) -> Agreement:
    """Sizes of different symbols: always separable, by letting one of the symbols grow."""
    n, m = valid[a.symbol].next(), valid[b.symbol].next()
    if a.at(n) == b.at(m):
        larger_n = valid[a.symbol].next(a.least(a.at(n) + 1))
        larger_m = valid[b.symbol].next(b.least(b.at(m) + 1))
        if larger_n - n < larger_m - m:
            n = larger_n
        else:
            m = larger_m
    return Agreement("sometimes", {a.symbol: n, b.symbol: m}, (a.at(n), b.at(m)))


def _at(x: Dim, n: int) -> int:
    return x if isinstance(x, int) else x.at(n)


def _least_modulus(modulus: int, residues: set[int]) -> tuple[int, tuple[int, ...]]:
    """The least modulus describing the same set, with its residues ascending."""
    if not residues:
        return 1, ()
    # A shift by modulus/p splits the residues into orbits of size p: only such p can divide out.
    for prime in prime_factors(gcd(modulus, len(residues))):
        while modulus % prime == 0:
            step = modulus // prime
            if any((residue + step) % modulus not in residues for residue in residues):
                break
            modulus, residues = step, {residue % step for residue in residues}
    return modulus, tuple(sorted(residues))


def _common_residues(a: Valid, b: Valid) -> tuple[int, tuple[int, ...]]:
    """The residues allowed by both, modulo the least common multiple of their moduli."""
    common = gcd(a.modulus, b.modulus)
    classes: dict[int, list[int]] = defaultdict(list)
    for residue in b.residues:
        classes[residue % common].append(residue)
    if sum(len(classes.get(r % common, ())) for r in a.residues) > MAX_PERIOD:
        raise SizeTooComplex(f"{a} and {b} leave more than {MAX_PERIOD} residues of {a.symbol}")
    cycle = b.modulus // common
    inverse = pow(a.modulus // common, -1, cycle)
    return a.modulus * cycle, tuple(
        r + a.modulus * ((s - r) // common * inverse % cycle)
        for r in a.residues
        for s in classes.get(r % common, ())
    )
