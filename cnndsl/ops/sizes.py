"""Exact spatial sizes: one dimension as a function of one symbolic input size.

A dimension is a plain ``int`` or a :class:`Size`.  Convolution and pooling keep a size in the
form ``floor((H + A) / B)`` because nested floors with positive divisors compose; upsampling,
transposed convolution, padding and cropping extend it to ``m * floor((H + A) / B) + c``.
Whatever leaves that form is quasi-linear, ``f(H + P) == f(H) + S``, and is kept as one period
of values.  Every form is canonical: two sizes are equal as functions exactly when they ``==``.

Arithmetic is exact integer arithmetic; nothing here rounds, samples or guesses.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import TypeAlias

MAX_PERIOD = 65536
"""Longest table (in symbol units) a size may need before it is refused."""

_SHOWN = 8  # table entries worth printing: enough to recognise the pattern


class SizeTooComplex(ValueError):
    """A size (or a comparison of sizes) would need a table longer than ``MAX_PERIOD``."""


@dataclass(frozen=True, slots=True)
class Size:
    """A monotone non-decreasing integer function of one symbol (an integer >= 1).

    With an empty ``table`` the value is ``scale * floor((n + offset) / divisor) + constant``,
    where ``0 <= constant < scale`` makes the four integers unique.  Otherwise ``table`` holds
    the values at ``0 .. divisor - 1`` and each ``divisor`` further symbol units add ``scale``.
    Build sizes with :meth:`of` and the operations, never from the fields.
    """

    symbol: str
    scale: int = 1
    offset: int = 0
    divisor: int = 1
    constant: int = 0
    table: tuple[int, ...] = ()

    def __hash__(self) -> int:
        # Without the table: hashing its thousands of numbers would make look-ups that slow.
        return hash((self.symbol, self.scale, self.offset, self.divisor, self.constant))

    @staticmethod
    def of(symbol: str) -> Size:
        """The size that is the symbol itself."""
        return Size(symbol)

    @property
    def stride(self) -> Fraction:
        """Symbol units per unit of this size, on average (``B / m``)."""
        return Fraction(self.divisor, self.scale)

    @property
    def is_extended(self) -> bool:
        """Whether the size left the two-integer form ``floor((H + A) / B)``."""
        return self.scale != 1 or bool(self.table)

    def at(self, value: int) -> int:
        """The exact value when the symbol is ``value`` (may be below 1)."""
        if self.table:
            turns, place = divmod(value, self.divisor)
            return self.scale * turns + self.table[place]
        return self.scale * ((value + self.offset) // self.divisor) + self.constant

    def plus(self, c: int) -> Dim:
        """This size plus ``c`` (negative to crop)."""
        if self.table:
            moved = tuple(value + c for value in self.table)
            return Size(self.symbol, self.scale, 0, self.divisor, 0, moved)
        return _affine(self.symbol, self.scale, self.offset, self.divisor, self.constant + c)

    def times(self, m: int) -> Dim:
        """This size times ``m``; ``m`` below 0 is a ValueError (sizes never shrink)."""
        if m < 0:
            raise ValueError(f"a size cannot be multiplied by {m}")
        if m == 0:
            return 0
        scaled = tuple(value * m for value in self.table)
        return Size(
            self.symbol, self.scale * m, self.offset, self.divisor, self.constant * m, scaled
        )

    def floordiv(self, s: int, a: int = 0) -> Dim:
        """``floor((self + a) / s)``; ``s`` below 1 is a ValueError.

        Raises SizeTooComplex when the exact result needs a period above ``MAX_PERIOD``.
        """
        if s < 1:
            raise ValueError(f"a size cannot be divided by {s}")
        if self.table:
            return self._divide_table(s, a)
        if self.scale == 1:
            return Size(self.symbol, 1, self.offset + self.divisor * a, self.divisor * s)
        return self._divide_scaled(s, a)

    def least(self, floor: int = 1) -> int:
        """Least symbol value n >= 1 such that this size is >= ``floor`` from n on."""
        if not self.table:
            steps = -((self.constant - floor) // self.scale)
            return max(1, steps * self.divisor - self.offset)
        turns = -((self.table[-1] - floor) // self.scale)
        place = bisect_left(self.table, floor - turns * self.scale)
        return max(1, turns * self.divisor + place)

    def __str__(self) -> str:
        if self.table:
            return self._table_text()
        if self.divisor == 1:
            lead = self.symbol if self.scale == 1 else f"{self.scale}*{self.symbol}"
            return lead + _signed(self.scale * self.offset + self.constant, " ")
        inner = f"({self.symbol}{_signed(self.offset)})" if self.offset else self.symbol
        factor = "" if self.scale == 1 else f"{self.scale}*"
        return f"{factor}floor({inner}/{self.divisor}){_signed(self.constant)}"

    def _divide_scaled(self, s: int, a: int) -> Size:
        # floor((m*q + c) / s) loses nothing when m, c and s shrink by a common factor of m and s.
        common = gcd(self.scale, s)
        m, s, c = self.scale // common, s // common, (self.constant + a) // common
        if s == 1:
            return _affine(self.symbol, m, self.offset, self.divisor, c)
        if m == 1:
            return Size(self.symbol, 1, self.offset + self.divisor * c, self.divisor * s)
        period = _checked(self.symbol, self.divisor * s)
        values = [(m * ((n + self.offset) // self.divisor) + c) // s for n in range(period)]
        return _quasilinear(self.symbol, m, values)

    def _divide_table(self, s: int, a: int) -> Size:
        # Repeat the period until its rise is a multiple of s: only then is the quotient periodic.
        repeats = s // gcd(self.scale, s)
        _checked(self.symbol, repeats * self.divisor)
        rises = range(a, a + repeats * self.scale, self.scale)
        values = [(value + rise) // s for rise in rises for value in self.table]
        return _quasilinear(self.symbol, self.scale * repeats // s, values)

    def _table_text(self) -> str:
        shown = " ".join(str(self.at(n)) for n in range(1, min(self.divisor, _SHOWN) + 1))
        dots = " ..." if self.divisor > _SHOWN else ""
        return f"size({self.symbol}) [period {self.divisor}, +{self.scale}: {shown}{dots}]"


Dim: TypeAlias = int | Size
"""One spatial dimension: a known number, or an exact function of one symbol."""


def plus(x: Dim, c: int) -> Dim:
    """``x + c``."""
    return x + c if isinstance(x, int) else x.plus(c)


def times(x: Dim, m: int) -> Dim:
    """``x * m``; a size times a negative number is a ValueError."""
    return x * m if isinstance(x, int) else x.times(m)


def floordiv(x: Dim, s: int, a: int = 0) -> Dim:
    """``floor((x + a) / s)``; ``s`` below 1 is a ValueError."""
    if not isinstance(x, int):
        return x.floordiv(s, a)
    if s < 1:
        raise ValueError(f"a size cannot be divided by {s}")
    return (x + a) // s


def at(x: Dim, values: Mapping[str, int]) -> int:
    """The number ``x`` is at concrete symbol values; KeyError when its symbol has none."""
    return x if isinstance(x, int) else x.at(values[x.symbol])


def window(
    x: Dim,
    kernel: int,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    dilation: int = 1,
    ceil: bool = False,
) -> Dim:
    """Output size of a convolution or pooling window over ``x``; may be below 1.

    ``padding`` is (before, after).  ``ceil`` follows PyTorch's ``pooling_output_shape``: round
    up, but never so far that the last window starts outside the input and its left padding.
    """
    before, after = padding
    room = before + after - dilation * (kernel - 1) - 1
    if ceil:
        # Both bounds divide the same size by the same stride, so their minimum is the lesser
        # numerator and the result stays one floor.
        room = min(room + stride - 1, before - 1)
    return floordiv(x, stride, room + stride)


def transposed(
    x: Dim,
    kernel: int,
    stride: int = 1,
    padding: tuple[int, int] = (0, 0),
    output_padding: int = 0,
    dilation: int = 1,
) -> Dim:
    """Output size of a transposed convolution (PyTorch's ConvTranspose2d); may be below 1."""
    border = dilation * (kernel - 1) + 1 + output_padding - padding[0] - padding[1]
    return plus(times(x, stride), border - stride)


def minimum(a: Dim, b: Dim) -> Dim:
    """The pointwise minimum of two dimensions that grow at the same rate.

    Raises SizeTooComplex when they depend on different symbols, grow at different rates (the
    minimum is then not quasi-linear) or need a period above ``MAX_PERIOD``.
    """
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    if isinstance(a, int) or isinstance(b, int) or a.symbol != b.symbol or a.stride != b.stride:
        raise SizeTooComplex(f"the smaller of {a} and {b} has no exact form")
    if not (a.is_extended or b.is_extended):
        return a if a.offset <= b.offset else b
    period = _checked(a.symbol, lcm(a.divisor, b.divisor))
    values = [min(a.at(n), b.at(n)) for n in range(period)]
    return _quasilinear(a.symbol, a.scale * period // a.divisor, values)


def simpler(a: Dim, b: Dim) -> Dim:
    """Whichever dimension is easier to compute with and to read; ``a`` when they tie.

    After a join both names stand for the same value, so either is exact.
    """
    return b if _complexity(b) < _complexity(a) else a


def _complexity(x: Dim) -> tuple[int, int, int, int]:
    if isinstance(x, int):
        return (0, 0, 0, 0)
    kind = 3 if x.table else 2 if x.scale != 1 else 1
    return (kind, x.divisor, x.scale, abs(x.offset) + x.constant)


def _affine(symbol: str, scale: int, offset: int, divisor: int, constant: int) -> Size:
    # A multiple of the scale is the same as whole divisors of offset; keep it there.
    steps, constant = divmod(constant, scale)
    return Size(symbol, scale, offset + divisor * steps, divisor, constant)


def _checked(symbol: str, period: int) -> int:
    # Called before a table is built, so that a refusal costs neither time nor memory.
    if period > MAX_PERIOD:
        raise SizeTooComplex(
            f"this size of {symbol} repeats only every {period} values (limit {MAX_PERIOD})"
        )
    return period


def _quasilinear(symbol: str, rise: int, values: Sequence[int]) -> Size:
    """The canonical size with the given values at 0.. and the given rise per period."""
    period = len(values)
    steps = [values[n] - values[n - 1] for n in range(period)]
    steps[0] += rise  # values[-1] belongs to the period before
    least = _least_period(steps)
    rise = rise * least // period
    jumps = [n for n in range(least) if steps[n]]
    if len(jumps) == 1:  # one step per period is a floor
        return _affine(symbol, rise, -jumps[0], least, values[jumps[0]])
    return Size(symbol, rise, 0, least, 0, tuple(values[:least]))


def _least_period(steps: Sequence[int]) -> int:
    """The least divisor of the length at which a cyclic sequence repeats."""
    period = len(steps)
    for prime in prime_factors(period):
        while period % prime == 0 and _repeats(steps[:period], period // prime):
            period //= prime
    return period


def _repeats(steps: Sequence[int], period: int) -> bool:
    return steps[period:] == steps[:-period]


def prime_factors(number: int) -> list[int]:
    """The distinct primes dividing ``number`` (>= 1), ascending, by trial division."""
    found = []
    candidate = 2
    while candidate * candidate <= number:
        if number % candidate == 0:
            found.append(candidate)
            while number % candidate == 0:
                number //= candidate
        candidate += 1
    return [*found, number] if number > 1 else found


def _signed(value: int, space: str = "") -> str:
    """``value`` as a trailing term: empty for 0, otherwise with its sign."""
    if not value:
        return ""
    return f"{space}{'+' if value > 0 else '-'}{space}{abs(value)}"
