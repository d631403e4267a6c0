"""Which parameters of a declaration decide how much it expands to, and not only its sizes.

``block A(n, k) = if n > 0 then (conv(k, 1) -> A(n-1, 2*k))`` has as many layers for every k.
Calls that agree in what decides cost the same, whatever else they were given. In doubt a
parameter decides.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from cnndsl.ops import catalogue
from cnndsl.ops.base import Op
from cnndsl.semantics.kinds import definition_kind
from cnndsl.semantics.numbers import FUNCTIONS
from cnndsl.semantics.values import Definition
from cnndsl.syntax import ast

SIZES = "in."  # stands for the sizes of wires, as a name that no parameter can have


class Place(NamedTuple):
    """A parameter of a declaration, or what it asks of sizes."""

    declaration: int
    name: str


Reasons = tuple[Place, ...] | None
"""An expression decides if one of these does; None: it does in any case."""


class Structure:
    """Answers for all declarations that are reached from those that were asked for."""

    def __init__(self) -> None:
        self._known: dict[int, ast.Declaration] = {}
        self._waiting: list[Definition] = []
        self._follows: defaultdict[Place, list[Place]] = defaultdict(list)
        self._deciding: set[Place] = set()

    def decides(self, definition: Definition, name: str) -> bool:
        """Whether a parameter, or ``SIZES``, decides how much a call expands to."""
        self.reach(definition)
        while self._waiting:
            _Reader(self, self._waiting.pop()).read()
        return Place(id(definition.tree), name) in self._deciding

    def reach(self, definition: Definition) -> None:
        tree = definition.tree
        if id(tree) not in self._known:
            self._known[id(tree)] = tree  # kept alive, so that no other has its id
            self._waiting.append(definition)

    def note(self, place: Place, reasons: Reasons) -> None:
        """``place`` decides if one of ``reasons`` does."""
        if reasons is None or not self._deciding.isdisjoint(reasons):
            self._decide(place)
        else:
            for reason in reasons:
                self._follows[reason].append(place)

    def _decide(self, place: Place) -> None:
        waiting = [place]
        while waiting:
            found = waiting.pop()
            if found not in self._deciding:
                self._deciding.add(found)
                waiting += self._follows[found]


class _Reader:
    """Reads one declaration."""

    def __init__(self, structure: Structure, definition: Definition) -> None:
        self.structure, self.definition = structure, definition
        self.tree, self.scope = definition.tree, definition.scope
        self.local = {name.text for name in self.tree.wires}
        self.local.update(param.name.text for param in self.tree.params)
        for node in ast.walk(self.tree.body):
            self.local.update(name.text for name in _names_made(node))

    def read(self) -> None:
        for param in self.tree.params:
            if param.default is not None:
                self._gather(param.default, (self._place(param.name.text),))
        for let in self.tree.body.lets:
            self._gather(let.value, None)
        # What a number is for, its callers know.
        reasons: Reasons = () if definition_kind(self.definition) == "number" else None
        for result in self.tree.body.results:
            self._gather(result, reasons)
        for call in self.tree.body.defaults:
            self._arguments(call.args, ())

    def _place(self, name: str) -> Place:
        return Place(id(self.tree), name)

    def _gather(self, expr: ast.Node, reasons: Reasons) -> None:
        """What ``expr`` asks, where its own value matters for ``reasons``."""
        if isinstance(expr, ast.Name):
            self.structure.note(self._place(expr.name), reasons)
        elif isinstance(expr, ast.Attribute):
            self.structure.note(self._place(SIZES), reasons)
        elif isinstance(expr, ast.Call):
            self._call(expr, reasons)
        elif isinstance(expr, ast.For) and isinstance(expr.start, ast.Items) and not expr.stop:
            self._gather(expr.start, (self._place(expr.variable.text),))
            self._gather(expr.body, reasons)
        elif isinstance(expr, ast.Ascribed):
            self._gather(expr.body, reasons)
            self._gather(expr.dims, ())
        else:
            deciding = _deciding_parts(expr)
            for part in ast.children(expr):
                self._gather(part, None if any(part is d for d in deciding) else reasons)

    def _call(self, expr: ast.Call, reasons: Reasons) -> None:
        name = expr.callee.name
        target = None if name in self.local else self.scope.names.get(name)
        op = catalogue().get(name)
        for wire in expr.wires or ():
            self._gather(wire.value, None)
        if target is not None:
            self._declared(target, expr, reasons)
        elif name in self.local:
            self.structure.note(self._place(name), None)
            self._arguments(expr.args, None)
        elif op is not None and not op.join and op.pieces is Op.pieces:
            self._arguments(expr.args, ())
        else:
            self._arguments(expr.args, reasons if name in FUNCTIONS else None)

    def _declared(self, target: Definition, expr: ast.Call, reasons: Reasons) -> None:
        """An argument decides if its parameter does, or if it is part of a number that does."""
        self.structure.reach(target)
        inner = id(target.tree)
        self.structure.note(self._place(SIZES), (Place(inner, SIZES),))
        outer = () if definition_kind(target) == "layer" else reasons
        names = [param.name.text for param in target.tree.params]
        for position, argument in enumerate(expr.args or ()):
            name = argument.name.text if argument.name else "".join(names[position : position + 1])
            self._gather(argument.value, None if outer is None else (Place(inner, name), *outer))

    def _arguments(self, args: tuple[ast.Argument, ...] | None, reasons: Reasons) -> None:
        for argument in args or ():
            self._gather(argument.value, reasons)


def _names_made(node: ast.Node) -> tuple[ast.Identifier, ...]:
    if isinstance(node, ast.Let):
        return node.names
    if isinstance(node, ast.For):
        return (node.variable,)
    return (node.name,) if isinstance(node, ast.Tap) else ()


def _deciding_parts(expr: ast.Node) -> tuple[ast.Node, ...]:
    """Parts of a number that say which others are evaluated."""
    if isinstance(expr, ast.If):
        return (expr.condition,)
    return expr.operands if isinstance(expr, ast.Logic) else ()
