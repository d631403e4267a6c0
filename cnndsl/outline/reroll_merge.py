"""Terms that are alike become one term with parameters.

The members of a family have one shape, but for operands of a sum that some have and others
replace by the value itself: projections. What differs between members is a column of values;
columns become parameters, expressions of other parameters, or of the channels that arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from cnndsl.outline.holes import AUTO, REQUIRED, Expr, words
from cnndsl.outline.reroll_solve import MISSING, Column, Optional
from cnndsl.outline.terms import (
    Call,
    For,
    Id,
    If,
    Join,
    Leaf,
    Named,
    Power,
    Term,
)

_SMALL = 14  # words of an operand that may be optional


class Differ(Exception):
    """The members are not alike after all."""


@dataclass(frozen=True)
class Slot:
    """A hole of a merged term: the column of this number."""

    index: int


def loose_shape(term: Term) -> bytes:
    """The shape with operands of sums left open that may be projections or the value itself."""
    known: bytes | None = term.__dict__.get("_loose")
    if known is None:
        parts = [loose_shape(part) for part in _certain(term)]
        head = f"{term.kind} {len(term.own)} {len(term.parts)} ".encode()
        known = blake2b(b"".join([head, *parts]), digest_size=16).digest()
        term.__dict__["_loose"] = known
    return known


def _certain(term: Term) -> tuple[Term, ...]:
    if is_open(term):
        return term.parts[:1]
    return term.parts


def is_open(term: Term) -> bool:
    """Whether the second operand may be a projection in one member and `id` in another."""
    if not isinstance(term, Join) or term.op.name != "add" or len(term.operands) != 2:
        return False
    return term.operands[1].size <= _SMALL


class Merger:
    """Merges members into one term whose holes are slots."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.columns: list[Column] = []
        self.optional: list[Optional] = []
        self.bound: list[str] = []
        """Variables of the loops around."""
        self.variables: set[str] = set()
        """Variables of all loops."""

    def merge(self, members: Sequence[Term], who: tuple[int, ...] | None = None) -> Term:
        who = tuple(range(self.count)) if who is None else who
        first = members[0]
        if any(m.kind != first.kind or len(m.parts) != len(first.parts) for m in members):
            raise Differ
        loops = [m for m in members if isinstance(m, For)]
        if loops:
            return self._loop(loops, who)
        return self._alike(members, who)

    def _loop(self, members: Sequence[For], who: tuple[int, ...]) -> Term:
        first = members[0]
        own = self._own(members, who)
        self.bound.append(first.variable)
        self.variables.add(first.variable)
        body = self.merge([m.body for m in members], who)
        self.bound.pop()
        return first.remade(own, (body,))

    def _alike(self, members: Sequence[Term], who: tuple[int, ...]) -> Term:
        first = members[0]
        own = self._own(members, who)
        parts = []
        for k in range(len(first.parts)):
            inner = [m.parts[k] for m in members]
            maybe = k == 1 and is_open(first)
            parts.append(self._maybe(inner, who) if maybe else self.merge(inner, who))
        return first.remade(own, tuple(parts))

    def _own(self, members: Sequence[Term], who: tuple[int, ...]) -> tuple[Any, ...]:
        keys = _keys(members[0])
        columns = zip(*(m.own for m in members), strict=True)
        return tuple(
            self._column(*key, list(values), who) for key, values in zip(keys, columns, strict=True)
        )

    def _column(self, key: str, default: Any, values: list[Any], who: tuple[int, ...]) -> Any:
        if any(isinstance(v, Expr) and words(v) & {*self.bound} for v in values):
            if any(v != values[0] for v in values):
                raise Differ
            return values[0]
        if any(v is not AUTO for v in values) and default is not REQUIRED:
            values = [default if v is AUTO else v for v in values]
        known = dict(zip(who, values, strict=True))
        full = tuple(known.get(k, MISSING) for k in range(self.count))
        self.columns.append(Column(key, default, full))
        return Slot(len(self.columns) - 1)

    def _maybe(self, members: list[Term], who: tuple[int, ...]) -> Term:
        there = [not isinstance(m, Id) for m in members]
        if not any(there):
            return members[0]
        if all(there):
            return self.merge(members, who)
        inner = [m for m, here in zip(members, there, strict=True) if here]
        present = tuple(k for k, here in zip(who, there, strict=True) if here)
        before = len(self.columns)
        body = self.merge(inner, present)
        columns = tuple(range(before, len(self.columns)))
        flags = tuple(k in present for k in range(self.count))
        self.optional.append(Optional(flags, columns))
        condition = Slot(-len(self.optional))
        return _under_label(condition, body)


def _under_label(condition: Any, body: Term) -> Term:
    """``label: if … then (…)``: the label stays outside."""
    if isinstance(body, Named) and body.label is not None:
        return replace(body, body=If(condition, body.body))
    return If(condition, body)


def _keys(term: Term) -> list[tuple[str, Any]]:
    """What each hole of a term is for, and its default."""
    if isinstance(term, Leaf | Join):
        declared = term.op.params.items()
        keys = [(key, _default(item)) for key, item in declared]
        return [*keys, *([("i", REQUIRED)] * (len(term.own) - len(keys)))]
    if isinstance(term, Call):
        definition = term.definition
        keys = list(zip(definition.params, definition.defaults, strict=True))
        return [*keys, *((wire, REQUIRED) for wire in definition.wires)]
    if isinstance(term, For):
        return [("first", REQUIRED), ("last", REQUIRED)]
    key = "n" if isinstance(term, Power) else "i"
    return [(key, REQUIRED)] * len(term.own)


def _default(declared: Any) -> Any:
    if declared.required:
        return REQUIRED
    return AUTO if declared.derive or declared.default is None else declared.default


def settled(term: Term, values: dict[int, Any]) -> Term:
    """The merged term with every slot replaced."""
    parts = tuple(settled(part, values) for part in term.parts)
    own = tuple(values[h.index] if isinstance(h, Slot) else h for h in term.own)
    if not own and not parts:
        return term
    return term.remade(own, parts)
