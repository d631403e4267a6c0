"""Exact arithmetic on whole numbers, fractions and symbolic sizes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from cnndsl.ops.base import show
from cnndsl.ops.sizes import Size
from cnndsl.ops.values import MOST
from cnndsl.semantics.values import Ratio

FUNCTIONS = ("floor", "ceil", "round", "min", "max")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class NumberError(Exception):
    """``kind``: ``arithmetic``, ``symbolic``, ``kind`` or, from outside, ``value``."""

    def __init__(self, kind: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.help = kind, message, help


def is_number(value: Any) -> bool:
    return isinstance(value, int | Fraction) and not isinstance(value, bool)


def is_symbolic(value: Any) -> bool:
    return isinstance(value, Size | Ratio)


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """``left op right`` for ``+ - * / %``; a whole result is an int."""
    if op == "|":
        raise NumberError("kind", "`|` joins layers, and these are numbers")
    if is_symbolic(left) or is_symbolic(right):
        return _symbolic(op, left, right)
    for value in (left, right):
        if not is_number(value):
            raise NumberError("kind", f"`{op}` needs numbers, got {show(value)}")
    if op in "/%" and right == 0:
        raise NumberError("arithmetic", f"{show(left)} {op} 0 has no value")
    if op == "/":
        return tidy(Fraction(left) / right)
    result = {"+": operator.add, "-": operator.sub, "*": operator.mul, "%": operator.mod}[op](
        left, right
    )
    return tidy(result)


def tidy(value: int | Fraction) -> int | Fraction:
    """Whole fractions as int; numbers past any use are refused."""
    if not isinstance(value, int):  # asking for a Fraction takes several times as long
        if value.denominator > MOST:
            raise NumberError("arithmetic", "a fraction with more than 38 digits")
        value = int(value) if value.denominator == 1 else value
    if not -MOST <= value <= MOST:
        raise NumberError("arithmetic", "a number with more than 38 digits")
    return value


def from_outside(value: Any) -> Any:
    """A Python value as a text would have it: numbers exact, lists as tuples, words as they are."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(from_outside, value))
    try:
        if isinstance(value, Fraction):
            return tidy(value)
        if hasattr(value, "__index__"):
            return tidy(operator.index(value))
        if hasattr(value, "__float__"):
            return tidy(Fraction(repr(float(value))))  # 0.1 is a tenth, as in a text
    except (ValueError, TypeError, NumberError):
        shown = f", not {value}" if isinstance(value, float) else ""
        message = f"a parameter is a finite number of at most 38 digits{shown}"
        raise NumberError("value", message) from None
    message = f"a parameter is a number, yes or no, a word, or a list, not {type(value).__name__}"
    raise NumberError("value", message)


def power(base: Any, exponent: Any) -> Any:
    if not is_number(base) or not is_number(exponent):
        raise NumberError("kind", "`^` needs numbers, or a layer and a count")
    if not isinstance(exponent, int) or abs(exponent) > 128:
        raise NumberError("arithmetic", f"{show(exponent)} is no exponent: whole, at most 128")
    if base == 0 and exponent < 0:
        raise NumberError("arithmetic", "0 has no negative power")
    if base not in (0, 1, -1) and abs(exponent) * math.log2(max(abs(base), 2)) > 256:
        raise NumberError("arithmetic", "a number with more than 38 digits")
    return tidy(Fraction(base) ** exponent)


def compare(op: str, left: Any, right: Any) -> bool:
    """Numbers are ordered; words, truths and lists are only equal or not, each to its own."""
    if any(map(is_symbolic, (*_parts(left), *_parts(right)))):
        raise NumberError(
            "symbolic", f"`{spell(left)} {op} {spell(right)}` depends on the input size"
        )
    unordered = isinstance(left, bool | str | tuple) or isinstance(right, bool | str | tuple)
    if unordered and (op not in ("==", "!=") or type(left) is not type(right)):
        raise NumberError("kind", f"`{show(left)}` and `{show(right)}` cannot be compared")
    return _COMPARE[op](left, right)


def _parts(value: Any) -> tuple[Any, ...]:
    """A list's own values, or the value; a ``Size`` and a ``Ratio`` are tuples, and no lists."""
    return value if type(value) is tuple else (value,)


def function(name: str, values: list[Any]) -> Any:
    """``floor ceil round`` of one number (half to even), ``min max`` of any."""
    if name in ("floor", "ceil", "round"):
        if len(values) != 1:
            raise NumberError("kind", f"`{name}` takes one number, got {len(values)}")
        value = values[0]
        if isinstance(value, Size):
            return value
        if isinstance(value, Ratio) and name != "round":
            add = value.divisor - 1 if name == "ceil" else 0
            return value.size.floordiv(value.divisor, add)
    if not values or not all(map(is_number, values)):
        shown = ", ".join(map(spell, values))
        kind = "symbolic" if any(map(is_symbolic, values)) else "kind"
        raise NumberError(kind, f"`{name}` needs numbers, got {shown or 'none'}")
    if name in ("min", "max"):
        return min(values) if name == "min" else max(values)
    rounding: dict[str, Callable[[Any], int]] = {
        "floor": math.floor, "ceil": math.ceil, "round": round,
    }  # fmt: skip
    return rounding[name](values[0])


def _symbolic(op: str, left: Any, right: Any) -> Any:
    """A symbolic size plus, minus, times or over a whole number."""
    if op == "+" and isinstance(left, int):
        left, right = right, left
    if op == "*" and isinstance(left, int):
        left, right = right, left
    if isinstance(right, int) and not isinstance(right, bool) and is_symbolic(left):
        size, divisor = left if isinstance(left, Ratio) else (left, 1)
        if op in "+-":
            return _over(size.plus((right if op == "+" else -right) * divisor), divisor)
        if op == "*" and right > 0:
            return _over(size.times(right), divisor)
        if op == "/" and right > 0:
            return _over(size, divisor * right)
    raise NumberError(
        "symbolic",
        f"`{spell(left)} {op} {spell(right)}` depends on the input size",
        "symbolic sizes take + - * / with whole numbers, and floor or ceil",
    )


def _over(size: Any, divisor: int) -> Any:
    if divisor == 1 or not isinstance(size, Size):
        return size
    return Ratio(size, divisor)


def spell(value: Any) -> str:
    """A value as the text would write it, for messages; also where it has an open size."""
    return f"{value.size}/{value.divisor}" if isinstance(value, Ratio) else show(value)
