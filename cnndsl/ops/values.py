"""Parameter values: how the text's numbers, words and tuples become stored values and back.

Coercions raise ValueError, checks return a string; both with words that follow the
parameter's name, as in "`stride` is at least 1, got 0".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any, NamedTuple

Pair = tuple[int, int]
Value = Any
Check = Callable[[Value], "str | None"]
Coercion = Callable[[Value], Value]
_DIGITS = 12
MOST = 2**128
"""The largest numerator or denominator of the language's numbers."""
_ORDINARY = (1e-30, 1e30)
"""Every float between these is such a number; beyond them only some are."""


class Edges(NamedTuple):
    """Rows and columns added around (or cut from) a feature map."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def symmetric(self) -> bool:
        """Whether opposite sides agree, so that a pair (height, width) says it all."""
        return self.top == self.bottom and self.left == self.right

    @property
    def torch_order(self) -> tuple[int, int, int, int]:
        """Last axis first, as ``torch.nn.functional.pad`` takes it."""
        return self.left, self.right, self.top, self.bottom


def show(value: Value) -> str:
    """A value as the text would write it, for messages."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Fraction):
        return str(value.numerator) if value.denominator == 1 else str(float(value))
    if isinstance(value, tuple):
        return "(" + ", ".join(map(show, value)) + ")"
    return str(value)


def spell(value: Value) -> str:
    """A stored value as ``.cnn`` text that reads back to it."""
    if isinstance(value, bool) or value is None:
        return "auto" if value is None else ("yes" if value else "no")
    if isinstance(value, Edges) and value.symmetric:
        return spell((value.top, value.left))
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return spell(value[0])
    if isinstance(value, tuple):
        return "(" + ", ".join(map(spell, value)) + ")"
    return _decimal(value) if isinstance(value, float) else str(value)


def _decimal(value: float) -> str:
    """A finite float in numbers of at most 12 digits, as a text may have them."""
    for text in _spellings(value):
        found = Fraction(text)
        short = sum(map(str.isdigit, text)) <= _DIGITS
        if short and max(abs(found.numerator), found.denominator) <= MOST:
            return text
    for digits in range(1, 40):
        near = Fraction(value).limit_denominator(min(10**digits, MOST))
        if float(near) == value and abs(near.numerator) <= MOST:
            return f"{_long(near.numerator)}/{_long(near.denominator)}"
    raise ValueError(f"needs a number that a text can give, got {value!r}")


def _spellings(value: float) -> Iterator[str]:
    """The shortest decimals that read back: Python's, then with the point at other places."""
    yield repr(value)
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    sign, digits = "-" * (value < 0), mantissa.lstrip("-").replace(".", "")
    for place in range(1, len(digits) + 1):
        point = "." * (place < len(digits))
        yield f"{sign}{digits[:place]}{point}{digits[place:]}e{int(exponent) - place + 1}"


def _long(number: int) -> str:
    """A whole number; one of many digits as a sum."""
    if abs(number) < 10**_DIGITS:
        return str(number)
    high, low = divmod(abs(number), 10**_DIGITS)
    return f"{'-' * (number < 0)}({_long(high)}*1e{_DIGITS} + {low})"


# --- coercions ------------------------------------------------------------------------------


def whole(value: Value) -> int:
    number = value if type(value) is int else _whole(value)
    if abs(number) > 2**31 - 1:
        raise ValueError(f"is at most 2147483647 in size, got {number}")
    return number


def _whole(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Fraction):
        raise ValueError(f"needs a whole number, got {show(value)}")
    if isinstance(value, Fraction) and value.denominator != 1:
        raise ValueError(f"needs a whole number, got {value}")
    return int(value)


def real(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise ValueError(f"needs a number, got {show(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("is too large for a finite number") from None
    if not isfinite(number):
        raise ValueError(f"needs a finite number, got {number}")
    if number and not _ORDINARY[0] <= abs(number) <= _ORDINARY[1]:
        _decimal(number)
    return number


def flag(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"needs yes or no, got {show(value)}")
    return value


def pair(value: Value) -> Pair:
    """``3`` is ``(3, 3)``; a pair is (height, width)."""
    if not isinstance(value, tuple):
        size = whole(value)
        return size, size
    if len(value) != 2:
        raise ValueError(f"needs one number or (height, width), got {show(value)}")
    return whole(value[0]), whole(value[1])


def edges(value: Value) -> Edges:
    """One number, (height, width), or (top, bottom, left, right)."""
    if not isinstance(value, tuple):
        value = (value, value)
    if len(value) == 2:
        value = (value[0], value[0], value[1], value[1])
    if len(value) != 4:
        raise ValueError(
            f"needs one number, (height, width) or (top, bottom, left, right), got {show(value)}"
        )
    return Edges(*map(whole, value))


def word(choices: tuple[str, ...]) -> Callable[[Value], str]:
    def read(value: Value) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"is one of {', '.join(choices)}, got {show(value)}")
        return value

    return read


_BY_HINT: dict[object, Coercion] = {
    int: whole, float: real, bool: flag, Pair: pair, Edges: edges, bool | None: flag,
    "int": whole, "float": real, "bool": flag, "Pair": pair, "Edges": edges,
    "bool | None": flag,
}  # fmt: skip


def coercion(hint: object) -> Coercion:
    """The coercion that an annotation stands for; TypeError for one that stands for none."""
    try:
        return _BY_HINT[hint]
    except (KeyError, TypeError):
        raise TypeError(f"no coercion for `{hint}`: give the parameter `coerce`") from None


# --- checks ---------------------------------------------------------------------------------


def _low(value: Value) -> float:
    low: float = min(value) if isinstance(value, tuple) else value
    return low


def positive(value: Value) -> str | None:
    return None if _low(value) >= 1 else f"is at least 1, got {show(value)}"


def not_negative(value: Value) -> str | None:
    return None if _low(value) >= 0 else f"is at least 0, got {show(value)}"


def probability(value: Value) -> str | None:
    return None if 0 <= value < 1 else f"is at least 0 and below 1, got {show(value)}"


def fraction(value: Value) -> str | None:
    return None if 0 <= value <= 1 else f"is between 0 and 1, got {show(value)}"


def above_zero(value: Value) -> str | None:
    return None if value > 0 else f"is above 0, got {show(value)}"
