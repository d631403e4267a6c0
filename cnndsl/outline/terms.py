"""A network as a term: what the text will say, with the numbers in it kept apart.

Two terms of one ``shape`` differ at most in their ``holes``: parameters of operators, numbers in
labels, counts of repetitions, and the ids of the values that are named and read from afar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b

from cnndsl.ops.base import Op
from cnndsl.outline.holes import AUTO, Hole, Label, Read, Tapped


def _frame(label: Label | None) -> str:
    """A label without its number."""
    if label is None:
        return ""
    return label.stem if label.number is None else f"{label.stem}#"


@dataclass(frozen=True, eq=False)
class Term:
    """Applied to one value. ``parts``: the terms inside, in the order of the text."""

    @property
    def parts(self) -> tuple[Term, ...]:
        return ()

    @property
    def own(self) -> tuple[Hole, ...]:
        """Holes of this term itself, those of its parts left out."""
        return ()

    @property
    def kind(self) -> str:
        """What distinguishes it from other terms, apart from holes and parts."""
        return type(self).__name__

    @cached_property
    def shape(self) -> bytes:
        heads = [f"{self.kind} {len(self.own)} {len(self.parts)} ".encode()]
        return blake2b(b"".join([*heads, *(p.shape for p in self.parts)]), digest_size=16).digest()

    @cached_property
    def holes(self) -> tuple[Hole, ...]:
        return (*self.own, *(hole for part in self.parts for hole in part.holes))

    @cached_property
    def size(self) -> int:
        """How much there is to read, in words."""
        return 1 + sum(part.size for part in self.parts)

    def refill(self, values: Iterator[Hole]) -> Term:
        """The same with other holes, taken in order."""
        own = tuple(next(values) for _ in self.own)
        return self.remade(own, tuple(part.refill(values) for part in self.parts))

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return self


class Id(Term):
    """The value that arrives."""


class Nothing(Term):
    """An absent branch: ``none``."""


@dataclass(frozen=True, eq=False)
class Ref(Term):
    """A value by its name."""

    value: Read

    @property
    def own(self) -> tuple[Hole, ...]:
        return (self.value,)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, value=own[0])


@dataclass(frozen=True, eq=False)
class Tap(Term):
    """``body @name``."""

    body: Term
    value: Tapped

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.body,)

    @property
    def own(self) -> tuple[Hole, ...]:
        return (self.value,)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, body=parts[0], value=own[0])


@dataclass(frozen=True, eq=False)
class Leaf(Term):
    """An operator. ``values``: one for each parameter that it declares.

    ``weighty``: it has weights, so its path matters. ``node``: the first value it makes.
    """

    op: type[Op]
    values: tuple[Hole, ...]
    node: int
    weighty: bool
    label: Label | None = None

    @property
    def kind(self) -> str:
        return f"{self.op.name}:{_frame(self.label)}"

    @property
    def own(self) -> tuple[Hole, ...]:
        return self.values if self.label is None else (*self.values, self.label.number)

    @cached_property
    def size(self) -> int:
        given = sum(value is not AUTO for value in self.values)
        return 2 + given + (self.label is not None)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        values = own[: len(self.values)]
        label = self.label and Label(self.label.stem, own[-1])
        return replace(self, values=values, label=label)


@dataclass(frozen=True, eq=False)
class Chain(Term):
    items: tuple[Term, ...]

    @property
    def parts(self) -> tuple[Term, ...]:
        return self.items

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, items=parts)


@dataclass(frozen=True, eq=False)
class Join(Term):
    op: type[Op]
    values: tuple[Hole, ...]
    operands: tuple[Term, ...]
    node: int

    @property
    def kind(self) -> str:
        return f"join:{self.op.name}"

    @property
    def parts(self) -> tuple[Term, ...]:
        return self.operands

    @property
    def own(self) -> tuple[Hole, ...]:
        return self.values

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, values=own, operands=parts)


@dataclass(frozen=True, eq=False)
class Named(Term):
    """A group or a call under a label: a namespace. ``label`` None: at its position, ``place``."""

    label: Label | None
    body: Term
    place: Label | None = None

    @property
    def kind(self) -> str:
        return f"Named:{_frame(self.label)}"

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.body,)

    @property
    def own(self) -> tuple[Hole, ...]:
        return () if self.label is None else (self.label.number,)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        label = self.label and Label(self.label.stem, own[0])
        return replace(self, label=label, body=parts[0])


@dataclass(frozen=True, eq=False)
class Emit(Term):
    name: str
    train: bool
    body: Term

    @property
    def kind(self) -> str:
        return f"emit:{self.name}:{self.train}"

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.body,)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, body=parts[0])


@dataclass(frozen=True, eq=False)
class Power(Term):
    body: Term
    count: Hole

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.body,)

    @property
    def own(self) -> tuple[Hole, ...]:
        return (self.count,)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, body=parts[0], count=own[0])


@dataclass(frozen=True, eq=False)
class For(Term):
    """``for variable in first..last do body``, or over the list that ``first`` is."""

    variable: str
    first: Hole
    last: Hole
    body: Term

    @property
    def kind(self) -> str:
        return f"for:{self.variable}"

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.body,)

    @property
    def own(self) -> tuple[Hole, ...]:
        return (self.first, self.last)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, first=own[0], last=own[1], body=parts[0])


@dataclass(frozen=True, eq=False)
class If(Term):
    """``if condition then body``; without it the value passes, or nothing where ``bare``."""

    condition: Hole
    body: Term
    bare: bool = False

    @property
    def kind(self) -> str:
        return f"If:{self.bare}"

    @property
    def parts(self) -> tuple[Term, ...]:
        return (self.body,)

    @property
    def own(self) -> tuple[Hole, ...]:
        return (self.condition,)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        return replace(self, condition=own[0], body=parts[0])


@dataclass(frozen=True, eq=False)
class Call(Term):
    """A definition with arguments, and the wires it reads besides the one that arrives.

    ``first``: the node that the whole begins with, which tells the channels that arrive.
    """

    definition: Definition
    values: tuple[Hole, ...]
    wires: tuple[Hole, ...]
    channels: int

    @property
    def kind(self) -> str:
        return f"call:{id(self.definition)}"

    @property
    def own(self) -> tuple[Hole, ...]:
        return (*self.values, *self.wires)

    @cached_property
    def size(self) -> int:
        defaults = self.definition.defaults
        given = [v for v, d in zip(self.values, defaults, strict=True) if v != d]
        return 1 + len(given) + len(self.wires)

    def remade(self, own: tuple[Hole, ...], parts: tuple[Term, ...]) -> Term:
        at = len(self.values)
        return replace(self, values=own[:at], wires=own[at:])


@dataclass(eq=False)
class Definition:
    """A ``block`` (a module) or a ``def``. ``defaults``: REQUIRED where there is none."""

    name: str
    module: bool
    params: tuple[str, ...]
    defaults: tuple[Hole, ...]
    wires: tuple[str, ...]
    body: Term


def chain(items: list[Term]) -> Term:
    """One term for several in sequence."""
    flat: list[Term] = []
    for item in items:
        if isinstance(item, Chain):
            flat.extend(item.items)
        elif not isinstance(item, Id):
            flat.append(item)
    if not flat:
        return Id()
    return flat[0] if len(flat) == 1 else Chain(tuple(flat))


def steps(term: Term) -> tuple[Term, ...]:
    """What follows each other in a term."""
    if isinstance(term, Id):
        return ()
    return term.items if isinstance(term, Chain) else (term,)


def walk(term: Term) -> Iterator[Term]:
    """The term and all inside, in the order of the text."""
    waiting = [term]
    while waiting:
        at = waiting.pop()
        yield at
        waiting.extend(reversed(at.parts))


def result_of(term: Term) -> int:
    """The node whose value a step, join or namespace hands on; -1 for other terms."""
    if isinstance(term, Chain):
        return result_of(term.items[-1])
    if isinstance(term, Named | Tap):
        return result_of(term.body)
    return term.node if isinstance(term, Leaf | Join) else -1
