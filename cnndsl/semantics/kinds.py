"""Is an expression a number or a layer? The two share one grammar.

A kind follows from signs and names alone, so ``3 + conv(8, 1)`` is refused before any
size is known. ``None``: it depends on what a parameter will be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from cnndsl.ops import catalogue, find_op
from cnndsl.semantics.numbers import FUNCTIONS
from cnndsl.semantics.values import Definition, Scope
from cnndsl.syntax import ast

Kind = Literal["number", "layer"] | None
Look = Callable[[str], Kind]

_NUMBERS = (ast.Number, ast.Boolean, ast.Compare, ast.Logic, ast.Negative, ast.Attribute,
            ast.Items)  # fmt: skip
_LAYERS = (ast.Constant, ast.Chain, ast.Tap, ast.Labelled, ast.Emit, ast.For, ast.Again)


def kind_of(expr: ast.Expr, look: Look, scope: Scope) -> Kind:
    """The kind of ``expr``; ``look`` knows the names of its surroundings."""
    if isinstance(expr, _NUMBERS):
        return "number"
    if isinstance(expr, _LAYERS):
        return "layer"
    if isinstance(expr, ast.Group | ast.Ascribed):
        return kind_of(expr.body, look, scope)
    if isinstance(expr, ast.Name):
        return look(expr.name)
    if isinstance(expr, ast.Power):
        return kind_of(expr.base, look, scope)
    if isinstance(expr, ast.If):
        branches = [expr.then, *([expr.orelse] if expr.orelse else [])]
        return _first(kind_of(branch, look, scope) for branch in branches)
    if isinstance(expr, ast.Call):
        return _call(expr, look, scope)
    if isinstance(expr, ast.Infix):
        kinds = [kind_of(operand, look, scope) for operand in expr.operands]
        return "layer" if expr.op == "|" else _mixed(kinds)
    return None


def _first(kinds: object) -> Kind:
    return next((k for k in kinds if k), None)  # type: ignore[attr-defined]


def _mixed(kinds: list[Kind]) -> Kind:
    if "layer" in kinds:
        return "layer"
    return "number" if all(k == "number" for k in kinds) else None


def _call(expr: ast.Call, look: Look, scope: Scope) -> Kind:
    name = expr.callee.name
    if name in ("floor", "ceil", "round"):
        return "number"
    arguments = [a.value for a in expr.args or ()]
    if name == "oneof" or name in FUNCTIONS:
        return _mixed([kind_of(a, look, scope) for a in arguments])
    definition = scope.names.get(name)
    if definition is not None:
        known = definition_kind(definition)
        if known:
            return known
        kinds = [kind_of(a, look, scope) for a in arguments]
        return "layer" if "layer" in kinds or expr.wires else _mixed(kinds)
    return "layer" if name in catalogue() else look(name)


_IN_PROGRESS: Kind = None


def definition_kind(definition: Definition) -> Kind:
    """The kind of a call: blocks and nets are layers, a def is what its body is."""
    if definition.tree.kind != "def" or definition.tree.body.lets:
        return "layer"
    memo = definition.scope.kinds
    name = definition.name
    if name not in memo:
        memo[name] = _IN_PROGRESS  # a recursive call leaves the question to other branches
        memo[name] = kind_of(definition.tree.body.results[0], _static(definition), definition.scope)
    known: Kind = memo[name]
    return known


def _static(definition: Definition) -> Look:
    tree, scope = definition.tree, definition.scope
    params = {p.name.text for p in tree.params}
    wires = {w.text for w in tree.wires}

    def look(name: str) -> Kind:
        if name in params:
            return None
        if name == "in" or name in wires:
            return "layer"
        return name_kind(name, scope)

    return look


def name_kind(name: str, scope: Scope) -> Kind:
    """A name of the file or the catalogue; anything else may be a symbol or a tap."""
    definition = scope.names.get(name)
    if definition is not None:
        return definition_kind(definition)
    return "layer" if find_op(name) else None
