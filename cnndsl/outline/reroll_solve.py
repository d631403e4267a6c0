"""Columns of values as parameters of a definition, and expressions of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

from cnndsl.graph.names import is_word
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.ops import catalogue
from cnndsl.outline.holes import REQUIRED, Expr, Read, Tapped

_LARGEST_FACTOR = 64
_WORDS = {"out": "c", "kernel": "k", "features": "c", "last": "n"}


class Missing:
    """The value of a hole that a member has not."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


class Column(NamedTuple):
    """``key``: what the values are for; ``values``: one for each member."""

    key: str
    default: Any
    values: tuple[Any, ...]


class Optional(NamedTuple):
    """An operand that some members have: ``present`` says which."""

    present: tuple[bool, ...]
    columns: tuple[int, ...]


@dataclass
class Solved:
    """``slots``: what stands in the body; the rest is one entry for each parameter."""

    slots: dict[int, Any] = field(default_factory=dict)
    params: list[str] = field(default_factory=list)
    defaults: list[Any] = field(default_factory=list)
    columns: list[tuple[Any, ...]] = field(default_factory=list)
    wires: list[str] = field(default_factory=list)
    wired: list[tuple[Any, ...]] = field(default_factory=list)


def solve(
    columns: Sequence[Column],
    optional: Sequence[Optional],
    channels: Sequence[int | None],
    taken: set[str],
) -> Solved:
    """The parameters of a family; ``channels``: those that arrive at each member, if known.

    ``taken``: names that no parameter may have.
    """
    return _Solver(columns, channels, taken).solve(optional)


class _Solver:
    def __init__(
        self, columns: Sequence[Column], channels: Sequence[int | None], taken: set[str]
    ) -> None:
        self.columns, self.taken = columns, {*taken, *catalogue(), "in", "skip"}
        self.done = Solved()
        self.known: list[tuple[str, str, tuple[Any, ...]]] = []
        """Text, key and values of everything that an expression may use."""
        self.taps: dict[tuple[int, ...], Tapped] = {}
        if all(c is not None for c in channels):
            self.known.append(("in.channels", "out", tuple(channels)))

    def solve(self, optional: Sequence[Optional]) -> Solved:
        inside = {index for one in optional for index in one.columns}
        for index, column in enumerate(self.columns):
            if index not in inside:
                self.done.slots[index] = self._certain(column)
        for number, one in enumerate(optional):
            for index in one.columns:
                self.done.slots[index] = self._partial(self.columns[index])
            self.done.slots[-1 - number] = self._condition(one)
        return self._required_first()

    # --- columns ------------------------------------------------------------------------------

    def _certain(self, column: Column) -> Any:
        values = column.values
        first = values[0]
        if isinstance(first, Tapped | Read):
            return self._wire(values)
        if _constant(values):
            return first
        return self._expression(column, values) or self._parameter(column, values)

    def _wire(self, values: tuple[Any, ...]) -> Any:
        first = values[0]
        if any(not isinstance(value, Tapped | Read) for value in values):
            raise ValueError("a wire beside something else")
        nodes = tuple(value.node for value in values)
        if isinstance(first, Tapped):
            self.taps[nodes] = first
            return first
        if nodes in self.taps:
            return Read(first.node)
        if values not in self.done.wired:
            self.done.wired.append(values)
            number = len(self.done.wires) + 1
            self.done.wires.append("skip" if number == 1 else f"skip{number}")
        return Expr(self.done.wires[self.done.wired.index(values)])

    def _expression(self, column: Column, values: tuple[Any, ...]) -> Expr | None:
        """What the text already knows that gives these values."""
        for name, key, known in self.known:
            same = all(v is MISSING or v == k for v, k in zip(values, known, strict=True))
            if same and (key == column.key or not _constant(values)):
                return Expr(name)
        if any(isinstance(v, Expr) for v in values) or _constant(values):
            return None
        for name, _, known in self.known:
            text = _multiple(name, values, known)
            if text:
                return text
        return None

    def _parameter(self, column: Column, values: tuple[Any, ...]) -> Expr:
        name = self._fresh(_WORDS.get(column.key, column.key))
        default = column.default
        if default is REQUIRED or all(v != default for v in values if v is not MISSING):
            default = REQUIRED
            present = [v for v in values if v is not MISSING]
            if len(present) < len(values):
                default = present[0]
        values = tuple(default if v is MISSING else v for v in values)
        self.done.params.append(name)
        self.done.defaults.append(default)
        self.done.columns.append(values)
        self.known.append((name, column.key, values))
        return Expr(name)

    def _fresh(self, word: str) -> str:
        taken = {*self.taken, *self.done.params, *self.done.wires}
        if not is_word(word, DEFAULT_LIMITS):
            word = "x"
        numbered = (f"{word}{number}" for number in range(2, 1000))
        names = chain([word], "st" if word == "i" else "", numbered)
        return next(name for name in names if name not in taken)

    def _partial(self, column: Column) -> Any:
        """A column of which some members have no value."""
        present = tuple(v for v in column.values if v is not MISSING)
        if any(isinstance(v, Tapped | Read) for v in present):
            raise ValueError("names inside an optional operand")
        found = self._expression(column, column.values)
        if found is not None:
            return found
        return present[0] if _constant(present) else self._parameter(column, column.values)

    # --- conditions ---------------------------------------------------------------------------

    def _condition(self, one: Optional) -> Any:
        for text, truth in self._conditions(one):
            if tuple(truth) == one.present:
                return Expr(text)
        values = one.present
        return self._parameter(Column("project", False, values), values)

    def _conditions(self, one: Optional) -> Iterator[tuple[str, list[bool]]]:
        known = {name: values for name, _, values in self.known}
        arriving = known.get("in.channels")
        strides = [(t, _plain(v)) for t, k, v in self.known if k == "stride"]
        widths = [
            (text, self._evaluate(text)) for index in one.columns
            if self.columns[index].key in ("out", "c")
            and isinstance(text := self.done.slots[index], Expr)
        ]  # fmt: skip
        for name, values in strides:
            if values:
                yield f"{name} > 1", [v > 1 for v in values]
        for width, outs in reversed(widths):
            if arriving is None or outs is None or width.startswith("in."):
                continue
            grows = [a != b for a, b in zip(arriving, outs, strict=True)]
            yield f"in.channels != {width}", grows
            for name, values in strides:
                both = [g or v > 1 for g, v in zip(grows, values, strict=False)]
                yield f"{name} > 1 or in.channels != {width}", both

    def _evaluate(self, text: str) -> tuple[Any, ...] | None:
        for name, _, values in self.known:
            if text == name:
                return values
            if text.endswith(f"*{name}"):
                return tuple(int(text[: -len(name) - 1]) * v for v in values)
            if text.startswith(f"{name}/"):
                return tuple(Fraction(v, int(text[len(name) + 1 :])) for v in values)
        return None

    def _required_first(self) -> Solved:
        done = self.done
        order = sorted(range(len(done.params)), key=lambda k: done.defaults[k] is not REQUIRED)
        done.params = [done.params[k] for k in order]
        done.defaults = [done.defaults[k] for k in order]
        done.columns = [done.columns[k] for k in order]
        return done


def _constant(values: Sequence[Any]) -> bool:
    present = [v for v in values if v is not MISSING]
    return not any(isinstance(v, Expr) for v in present) and all(
        v == present[0] and type(v) is type(present[0]) for v in present
    )


def _plain(values: tuple[Any, ...]) -> list[int]:
    """Strides as single numbers; nothing where they are none."""
    numbers = [v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v for v in values]
    return numbers if all(type(v) is int for v in numbers) else []


def _multiple(name: str, values: tuple[Any, ...], known: tuple[Any, ...]) -> Expr | None:
    """``4*c`` or ``c/4``, where that gives the values."""
    pairs = [(v, k) for v, k in zip(values, known, strict=True) if v is not MISSING]
    if any(type(v) is not int or type(k) is not int or v < 1 or k < 1 for v, k in pairs):
        return None
    ratios = {Fraction(v, k) for v, k in pairs}
    if len(ratios) != 1:
        return None
    ratio = ratios.pop()
    if ratio.denominator == 1 and ratio <= _LARGEST_FACTOR:
        return Expr(f"{ratio}*{name}" if ratio > 1 else name)
    if ratio.numerator == 1 and ratio.denominator <= _LARGEST_FACTOR:
        return Expr(f"{name}/{ratio.denominator}")
    return None
