"""What names can stand for while a network is expanded.

Numbers are int, Fraction, bool, str (a word such as ``row``), tuple, and, where an input
size is a symbol, ``Size`` and ``Ratio``. Everything else is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from cnndsl.graph.model import Frame
from cnndsl.ops.base import Op
from cnndsl.ops.sizes import Size
from cnndsl.source import Source, Span
from cnndsl.syntax import ast


class Ratio(NamedTuple):
    """``H/4`` with a symbolic H: whole only at some sizes."""

    size: Size
    divisor: int


NumberValue = int | Fraction | bool | str | tuple[Any, ...] | Size | Ratio


class Wires(NamedTuple):
    """Values on wires; empty is ``none``."""

    ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Scope:
    """What the top level of one file declares and imports."""

    source: Source
    names: dict[str, Definition] = field(default_factory=dict)
    kinds: dict[str, Any] = field(default_factory=dict)
    """Answers of ``kinds.definition_kind``."""
    missing: set[str] = field(default_factory=set)
    """Names whose import failed: using them is no second mistake."""


@dataclass(frozen=True, eq=False)
class Definition:
    """A declaration with the file scope its body sees."""

    tree: ast.Declaration
    scope: Scope

    @property
    def name(self) -> str:
        return self.tree.name.text


class Function(NamedTuple):
    """A block, def, net or operator that was not called yet."""

    target: Definition | type[Op]

    @property
    def name(self) -> str:
        return self.target.name


class Layer(NamedTuple):
    """A term together with what its names meant where it was written."""

    expr: ast.Expr
    env: Env


class Activation:
    """One expansion of a declaration: its taps and labels, defaults and place."""

    __slots__ = ("defaults", "depth", "frame", "labels", "path", "wire")

    def __init__(
        self,
        frame: Frame | None,
        path: str,
        wire: Wires,
        defaults: dict[str, dict[str, Any]],
        depth: int,
    ) -> None:
        self.frame, self.path, self.wire = frame, path, wire
        self.defaults, self.depth = defaults, depth
        self.labels: dict[str, tuple[ast.Expr, Env, str]] = {}


class Env:
    """Names visible at a place. ``for`` opens a child; taps live in the activation's own."""

    __slots__ = ("activation", "names", "parent", "scope")

    def __init__(self, scope: Scope, activation: Activation, parent: Env | None = None) -> None:
        self.scope, self.activation, self.parent = scope, activation, parent
        self.names: dict[str, Any] = {}

    def child(self, name: str, value: Any) -> Env:
        env = Env(self.scope, self.activation, self)
        env.names[name] = value
        return env

    def find(self, name: str) -> Any:
        """The local value of a name, or None."""
        env: Env | None = self
        while env is not None:
            if name in env.names:
                return env.names[name]
            env = env.parent
        return None

    @property
    def root(self) -> Env:
        env = self
        while env.parent is not None:
            env = env.parent
        return env


class Flow(NamedTuple):
    """What travels along a chain: wires, and the node of a step whose bias is still open."""

    ids: tuple[int, ...]
    pending: int | None = None


class Failure(Exception):
    """A value could not be computed. ``reported``: its diagnostic is already collected."""


class Stop(Exception):
    """Expansion cannot go on (a limit); its diagnostic is already collected."""


def place(span: Span) -> str:
    return f"line {span.line}"
