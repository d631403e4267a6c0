"""The syntax tree: what the text says, with the place of every part.

Spans take no part in equality, so two texts that differ in layout give equal trees.
``depth`` is the height of a node, kept so that nothing that walks the tree can be driven
past the nesting limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from cnndsl.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    span: Span = field(compare=False, repr=False)
    depth: int = field(default=1, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Identifier(Node):
    """A name with its place, where a name stands alone (parameters, labels, imports)."""

    text: str


# --- expressions: numbers and layers share them ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Expr(Node):
    """Anything that has a value: a number, a layer, a wire, a list."""


@dataclass(frozen=True, slots=True)
class Number(Expr):
    value: int | Fraction


@dataclass(frozen=True, slots=True)
class Boolean(Expr):
    value: bool


@dataclass(frozen=True, slots=True)
class Constant(Expr):
    """``id`` or ``none``."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Expr):
    name: str


@dataclass(frozen=True, slots=True)
class Attribute(Expr):
    """``in.channels``; the owner is a wire."""

    owner: Name
    name: Identifier


@dataclass(frozen=True, slots=True)
class Group(Expr):
    """Parentheses: a label on them opens a namespace."""

    body: Expr


@dataclass(frozen=True, slots=True)
class Items(Expr):
    """``[a, b]`` or ``(a, b)``."""

    items: tuple[Expr, ...]
    round: bool = False


@dataclass(frozen=True, slots=True)
class Argument(Node):
    name: Identifier | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """``B(values)[wires]``; ``None`` where a bracket is absent."""

    callee: Name
    args: tuple[Argument, ...] | None
    wires: tuple[Argument, ...] | None = None


@dataclass(frozen=True, slots=True)
class Chain(Expr):
    """``f -> g -> h``."""

    steps: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Infix(Expr):
    """``+ | *`` (n-ary, joins for layers) and ``- / %`` (binary, numbers only)."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Negative(Expr):
    operand: Expr


@dataclass(frozen=True, slots=True)
class Compare(Expr):
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logic(Expr):
    """``and``, ``or``, ``not``."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Power(Expr):
    base: Expr
    exponent: Expr


@dataclass(frozen=True, slots=True)
class Tap(Expr):
    """``f @t``: the value after f gets a name."""

    body: Expr
    name: Identifier


@dataclass(frozen=True, slots=True)
class Ascribed(Expr):
    """``f :: [256, H/4, W/4]``: a checked claim about the value after f."""

    body: Expr
    dims: Items


@dataclass(frozen=True, slots=True)
class LabelText(Node):
    """``denselayer{i}``: literal text and expressions in turn."""

    parts: tuple[str | Expr, ...]


@dataclass(frozen=True, slots=True)
class Labelled(Expr):
    label: LabelText
    body: Expr


@dataclass(frozen=True, slots=True)
class Emit(Expr):
    mode: Identifier | None
    body: Expr


@dataclass(frozen=True, slots=True)
class If(Expr):
    condition: Expr
    then: Expr
    orelse: Expr | None


@dataclass(frozen=True, slots=True)
class For(Expr):
    """``for i in start..stop do body`` or, with ``stop`` None, over a list."""

    variable: Identifier
    start: Expr
    stop: Expr | None
    body: Expr


@dataclass(frozen=True, slots=True)
class Again(Expr):
    """``again name``: the module labelled so once more, with its weights."""

    names: tuple[Identifier, ...]


# --- declarations ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param(Node):
    name: Identifier
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Let(Node):
    names: tuple[Identifier, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Body(Node):
    doc: str | None
    defaults: tuple[Call, ...]
    """``with conv(bias=no), …:``"""
    lets: tuple[Let, ...]
    results: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Input(Node):
    dims: Items
    name: Identifier | None


@dataclass(frozen=True, slots=True)
class Clause(Node):
    """``where …`` or ``assert …``."""

    kind: str
    conditions: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Import(Node):
    path: str
    path_span: Span = field(compare=False, repr=False)
    names: tuple[Identifier, ...]


@dataclass(frozen=True, slots=True)
class Declaration(Node):
    """``block``, ``def`` or ``net``; ``inputs`` and ``clauses`` only on a net."""

    kind: str
    name: Identifier
    params: tuple[Param, ...]
    wires: tuple[Identifier, ...]
    inputs: tuple[Input, ...]
    body: Body
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """One file: its declarations in order. Declarations that did not parse are absent."""

    imports: tuple[Import, ...]
    declarations: tuple[Declaration, ...]
    broken: tuple[str, ...] = ()
    """Names of declarations that did not parse: using them is no second mistake."""


def walk(*roots: Node) -> Iterator[Node]:
    """Every node below the roots, parents first, in the order of the text; never recursive."""
    waiting: list[Node] = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def children(node: Node) -> list[Node]:
    """The nodes directly inside one."""
    found: list[Node] = []
    for name in _child_fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple) and not isinstance(value, Span):
            found.extend(item for item in value if isinstance(item, Node))
    return found


_PLAIN = {"span", "depth", "path_span", "doc", "kind", "op", "path", "round"}
_FIELDS: dict[type[Node], tuple[str, ...]] = {}


def _child_fields(kind: type[Node]) -> tuple[str, ...]:
    """Names of the fields that may hold nodes, found once per class."""
    known = _FIELDS.get(kind)
    if known is None:
        known = tuple(name for name in kind.__dataclass_fields__ if name not in _PLAIN)
        _FIELDS[kind] = known
    return known
