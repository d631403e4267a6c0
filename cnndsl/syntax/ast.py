"""The syntax tree: what the text says, with the place of every part.

Spans take no part in equality, so two texts that differ in layout give equal trees.
``depth`` is the height of a node, kept so that nothing that walks the tree can be driven
past the nesting limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from cnndsl.source import Span
from cnndsl.syntax.record import Record, part


class Node(Record):
    span: Span = part(compare=False)
    depth: int = part(default=1, compare=False, kw_only=True)


class Identifier(Node):
    """A name with its place, where a name stands alone (parameters, labels, imports)."""

    text: str


# --- expressions: numbers and layers share them ---------------------------------------------


class Expr(Node):
    """Anything that has a value: a number, a layer, a wire, a list."""


class Number(Expr):
    value: int | Fraction


class Boolean(Expr):
    value: bool


class Constant(Expr):
    """``id`` or ``none``."""

    name: str


class Name(Expr):
    name: str


class Attribute(Expr):
    """``in.channels``; the owner is a wire."""

    owner: Name
    name: Identifier


class Group(Expr):
    """Parentheses: a label on them opens a namespace."""

    body: Expr


class Items(Expr):
    """``[a, b]`` or ``(a, b)``."""

    items: tuple[Expr, ...]
    round: bool = False


class Argument(Node):
    name: Identifier | None
    value: Expr


class Call(Expr):
    """``B(values)[wires]``; ``None`` where a bracket is absent."""

    callee: Name
    args: tuple[Argument, ...] | None
    wires: tuple[Argument, ...] | None = None


class Chain(Expr):
    """``f -> g -> h``."""

    steps: tuple[Expr, ...]


class Infix(Expr):
    """``+ | *`` (n-ary, joins for layers) and ``- / %`` (binary, numbers only)."""

    op: str
    operands: tuple[Expr, ...]


class Negative(Expr):
    operand: Expr


class Compare(Expr):
    op: str
    left: Expr
    right: Expr


class Logic(Expr):
    """``and``, ``or``, ``not``."""

    op: str
    operands: tuple[Expr, ...]


class Power(Expr):
    base: Expr
    exponent: Expr


class Tap(Expr):
    """``f @t``: the value after f gets a name."""

    body: Expr
    name: Identifier


class Ascribed(Expr):
    """``f :: [256, H/4, W/4]``: a checked claim about the value after f."""

    body: Expr
    dims: Items


class LabelText(Node):
    """``denselayer{i}``: literal text and expressions in turn."""

    parts: tuple[str | Expr, ...]


class Labelled(Expr):
    label: LabelText
    body: Expr


class Emit(Expr):
    mode: Identifier | None
    body: Expr


class If(Expr):
    condition: Expr
    then: Expr
    orelse: Expr | None


class For(Expr):
    """``for i in start..stop do body`` or, with ``stop`` None, over a list."""

    variable: Identifier
    start: Expr
    stop: Expr | None
    body: Expr


class Again(Expr):
    """``again name``: the module labelled so once more, with its weights.

    ``module`` is its path, dots included: ``tower{i}.conv1``.
    """

    module: LabelText


# --- declarations ---------------------------------------------------------------------------


class Param(Node):
    name: Identifier
    default: Expr | None


class Let(Node):
    names: tuple[Identifier, ...]
    value: Expr


class Body(Node):
    doc: str | None
    defaults: tuple[Call, ...]
    """``with conv(bias=no), …:``"""
    lets: tuple[Let, ...]
    results: tuple[Expr, ...]


class Input(Node):
    dims: Items
    name: Identifier | None


class Clause(Node):
    """``where …`` or ``assert …``."""

    kind: str
    conditions: tuple[Expr, ...]


class Import(Node):
    path: str
    path_span: Span = part(compare=False)
    names: tuple[Identifier, ...]


class Declaration(Node):
    """``block``, ``def`` or ``net``; ``inputs`` and ``clauses`` only on a net."""

    kind: str
    name: Identifier
    params: tuple[Param, ...]
    wires: tuple[Identifier, ...]
    inputs: tuple[Input, ...]
    body: Body
    clauses: tuple[Clause, ...]


class Module(Record):
    """One file: its declarations in order. Declarations that did not parse are absent."""

    imports: tuple[Import, ...]
    declarations: tuple[Declaration, ...]
    broken: tuple[str, ...] = ()
    """Names of declarations that did not parse: using them is no second mistake."""
    unread: frozenset[str] = frozenset()
    """Every name in declarations that did not parse: who knows how it is used there."""
    tokens: int = part(default=0, compare=False)
    """Words and signs of the file."""


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
    for name in _child_parts(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            found += [item for item in value if isinstance(item, Node)]
    return found


_LEAVES = {"Span", "Fraction", "str", "int", "bool", "None"}
_CHILD_PARTS: dict[type[Node], tuple[str, ...]] = {}


def _child_parts(kind: type[Node]) -> tuple[str, ...]:
    """Names of the parts that may hold nodes, found once per class."""
    known = _CHILD_PARTS.get(kind)
    if known is None:
        types = kind.part_types.items()
        known = tuple(n for n, words in types if not set(re.findall(r"\w+", words)) <= _LEAVES)
        _CHILD_PARTS[kind] = known
    return known
