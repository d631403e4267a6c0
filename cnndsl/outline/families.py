"""Things that are alike but for numbers: which parameters tell them apart.

A *term* is a nested tuple of words, with a `Leaf` wherever a number stands. Terms that agree
in all but their leaves are one family. `solve` looks at the family's leaves, place by place: a
number that is the same in all members stays a number; one that differs becomes a parameter, or
an expression in parameters that exist (``4 * c``, ``in_channels + k``). Names are those of the
text's own arguments where their values fit, else the operator's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Scalar = int | float | bool | str | tuple[int, ...]
Term = Any
"""A word, a number that is part of the form, a Leaf, or a tuple of terms."""


PRESENT = "with_"
"""How the name of a leaf begins that says whether a member has a part."""


class Missing:
    """Stands for a number in a part that a member does not have."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()
Value = Scalar | Missing
Vector = tuple[Value, ...]
"""The values of one place, member by member."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number in a term; ``name`` is what a parameter for it would be called."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Parameter:
    """What members of a family are told apart by; ``default`` where the text had one."""

    name: str
    values: Vector
    default: Value = MISSING


@dataclass
class Solution:
    """``texts``: for each leaf the Python expression that gives it in every member."""

    parameters: list[Parameter] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def leaves(term: Term) -> Iterator[Leaf]:
    """The numbers of a term, from left to right."""
    if isinstance(term, Leaf):
        yield term
    elif isinstance(term, tuple):
        for part in term:
            yield from leaves(part)


def form(term: Term) -> Term:
    """The term without its numbers: equal for members of one family."""
    if isinstance(term, Leaf):
        return "leaf"
    if isinstance(term, tuple):
        return tuple(map(form, term))
    return term


def solve(
    rows: Sequence[Sequence[Leaf]],
    known: Sequence[Mapping[str, Scalar]],
    width: Sequence[Value],
    notes: Sequence[Vector] = (),
) -> tuple[Solution, list[str]]:
    """Parameters of a family, given its members' leaves in a row each.

    ``known``: the text's arguments of each member; ``width``: its input's channels, which are
    called ``in_channels``. ``notes`` are further vectors, written in the same parameters where
    that is possible, else "".
    """
    solver = _Solver(known, tuple(width))
    columns = zip(*rows, strict=True)
    places = [(column[0].name, tuple(leaf.value for leaf in column)) for column in columns]
    # Whether a part is there is told by the numbers, so those come first.
    ordered = sorted(range(len(places)), key=lambda i: places[i][0].startswith(PRESENT))
    texts = {i: solver.place(*places[i]) for i in ordered}
    solution = solver.solution([texts[i] for i in range(len(places))])
    return solution, [solver.note(vector) for vector in notes]


class _Solver:
    def __init__(self, known: Sequence[Mapping[str, Scalar]], width: Vector) -> None:
        names = dict.fromkeys(name for arguments in known for name in arguments)
        self.given: dict[str, Vector] = {
            name: tuple(arguments.get(name, MISSING) for arguments in known) for name in names
        }
        self.width = width
        self.chosen: dict[str, Parameter] = {}
        self.found: dict[str, Vector] = {}

    def place(self, name: str, vector: Vector) -> str:
        """One more leaf: finds its expression, or makes it a parameter."""
        present = name.startswith(PRESENT)
        text = (present and self._condition(vector)) or self._text(name, vector)
        text = text or self._new(name, vector)
        if MISSING not in vector:
            self.found.setdefault(text, vector)
        return text

    def solution(self, texts: list[str]) -> Solution:
        """Inputs first, then in the text's order, then as they appear; defaults last."""
        order = {name: place for place, name in enumerate(["in_channels", *self.given])}
        parameters = sorted(
            self.chosen.values(),
            key=lambda p: (p.default is not MISSING, order.get(p.name, len(order))),
        )
        return Solution(parameters, texts)

    def note(self, vector: Vector) -> str:
        """An expression in the parameters that there are; "" if there is none."""
        constant = _constant(vector)
        if constant is not None:
            return spell(constant)
        return next((n for n, p in self.chosen.items() if _fits(vector, p.values)), "") or (
            self._product(vector, self.chosen) or self._sum(vector)
        )

    # --- where an expression comes from -----------------------------------------------------

    def _text(self, name: str, vector: Vector) -> str:
        constant = _constant(vector)
        if MISSING in vector and name in self.chosen and _fits(vector, self.chosen[name].values):
            return name  # a shortcut strides as the rest does, even where it always strides by 2
        if constant is not None:
            return spell(constant)
        return (
            self._argument(vector)
            or self._equal(vector)
            or self._product(vector, self._candidates())
            or self._sum(vector)
        )

    def _argument(self, vector: Vector) -> str:
        """An argument of the text with these values; where it was left out, they are its default.

        The default is the number that all members without the argument have in common.
        """
        for name, given in self.given.items():
            rest = {_key(v) for v, g in zip(vector, given, strict=True) if g is MISSING is not v}
            if len(rest) > 1 or not _fits(vector, given):
                continue
            default = next(iter(rest))[1] if rest else MISSING
            values = tuple(default if g is MISSING else g for g in given)
            if MISSING in values:  # nobody can say what such a member takes
                continue
            found = self.chosen.setdefault(name, Parameter(name, values, default))
            if _fits(vector, found.values):
                return name
        return ""

    def _equal(self, vector: Vector) -> str:
        if _fits(vector, self.width) and MISSING not in self.width:
            self._take("in_channels", self.width)
            return "in_channels"
        return next((n for n, p in self.chosen.items() if _fits(vector, p.values)), "")

    def _candidates(self) -> dict[str, Parameter]:
        """What there is, then what could be: whole arguments, and the input's channels."""
        whole = {n: Parameter(n, v) for n, v in self.given.items() if MISSING not in v}
        if MISSING not in self.width:
            whole["in_channels"] = Parameter("in_channels", self.width)
        return {**self.chosen, **{n: p for n, p in whole.items() if n not in self.chosen}}

    def _product(self, vector: Vector, candidates: Mapping[str, Parameter]) -> str:
        for name, parameter in candidates.items():
            text = _scaled(name, parameter.values, vector)
            if text:
                self._take(name, parameter.values, parameter.default)
                return text
        return ""

    def _sum(self, vector: Vector) -> str:
        names = list(self.chosen)
        for i, one in enumerate(names):
            for two in names[i:]:
                pairs = zip(self.chosen[one].values, self.chosen[two].values, strict=True)
                total = tuple(_plus(a, b) for a, b in pairs)
                if MISSING not in total and _fits(vector, total):
                    return f"{one} + {two}"
        return ""

    def _condition(self, vector: Vector) -> str:
        """When a part is there, as the usual reasons have it: it strides, or changes the width."""
        strides = {n: p for n, p in self.chosen.items() if n.startswith("stride")}
        widths = [
            (text, tuple(a != b for a, b in zip(self.width, found, strict=True)))
            for text, found in self.found.items()
            if "in_channels" in self.chosen and text != "in_channels" and text not in strides
        ]
        for text, differs in widths:
            for stride in strides.values():
                either = zip(stride.values, differs, strict=True)
                if tuple(s != 1 or d for s, d in either) == vector:
                    return f"{stride.name} != 1 or in_channels != {text}"
        return next((f"in_channels != {t}" for t, differs in widths if differs == vector), "")

    def _new(self, name: str, vector: Vector) -> str:
        """A parameter of its own; where a member has no such part, any value will do."""
        some = next(v for v in vector if v is not MISSING)
        values = tuple(some if v is MISSING else v for v in vector)
        free, number = name, 1
        while free in self.chosen or free == "in_channels":
            number += 1
            free = f"{name}{number}"
        self._take(free, values)
        return free

    def _take(self, name: str, values: Vector, default: Value = MISSING) -> None:
        self.chosen.setdefault(name, Parameter(name, values, default))


_FACTORS = (2, 3, 4, 5, 6, 7, 8, 16)


def _scaled(name: str, values: Vector, vector: Vector) -> str:
    """``vector`` as a whole multiple or part of ``values``, if there is one factor for all."""
    pairs = [(a, v) for a, v in zip(values, vector, strict=True) if v is not MISSING]
    if not all(type(a) is int and type(v) is int for a, v in pairs):
        return ""
    if all(-a == v for a, v in pairs):  # type: ignore[operator]
        return f"-{name}"
    for factor in _FACTORS:
        if all(a * factor == v for a, v in pairs):  # type: ignore[operator]
            return f"{factor} * {name}"
        if all(a // factor == v for a, v in pairs):  # type: ignore[operator]
            return f"{name} // {factor}"
    return ""


def _plus(a: Value, b: Value) -> Value:
    return a + b if type(a) is int and type(b) is int else MISSING


def _key(value: Value) -> tuple[bool, Value]:
    """Tells True from 1."""
    return (type(value) is bool, value)


def _constant(vector: Vector) -> Scalar | None:
    there = {_key(value) for value in vector if not isinstance(value, Missing)}
    if len(there) != 1:
        return None
    value = next(iter(there))[1]
    return None if isinstance(value, Missing) else value


def _fits(vector: Vector, values: Vector) -> bool:
    """Whether the two agree wherever both say something."""
    return all(
        v is MISSING or a is MISSING or _key(v) == _key(a)
        for v, a in zip(vector, values, strict=True)
    )


def spell(value: Value) -> str:
    """A number as Python writes it."""
    if isinstance(value, tuple):
        return "(" + ", ".join(map(spell, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, str):
        return f'"{value}"' if value.replace("_", "").isalnum() else ascii(value)
    return repr(value)
