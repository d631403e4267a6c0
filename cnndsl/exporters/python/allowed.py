"""The last look at emitted code: nothing but what this exporter means to write.

Names of the text come out as identifiers and literals; should one ever get past that, the file
is not written. This is a fence behind a fence, so what it finds is a defect of ours.
"""

from __future__ import annotations

import ast

_NODES = (
    ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Import, ast.ImportFrom,
    ast.alias, ast.Assign, ast.AnnAssign, ast.Expr, ast.Return, ast.If, ast.For, ast.Call,
    ast.keyword, ast.Attribute, ast.Subscript, ast.Slice, ast.Name, ast.Constant, ast.Tuple,
    ast.List, ast.ListComp, ast.GeneratorExp, ast.comprehension, ast.Starred, ast.BinOp,
    ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.expr_context, ast.operator, ast.unaryop,
    ast.boolop, ast.cmpop, ast.DictComp, ast.JoinedStr, ast.FormattedValue,
)  # fmt: skip
_IMPORTS = {
    "from typing import NamedTuple",
    "import torch",
    "from torch import Tensor",
    "from torch import Tensor, nn",
    "from torch.nn import functional as F",
}
_NAMES = {
    "F", "NamedTuple", "Tensor", "bool", "dict", "float", "int", "isinstance", "len", "list",
    "nn", "range", "self", "str", "super", "torch", "tuple",
}  # fmt: skip
_OF_TORCH = {"cat", "float64", "full", "maximum", "rand", "randint", "sigmoid", "sqrt", "tanh"}
_REFUSED = {"data", "func_globals", "gi_frame", "hub", "jit", "load", "save", "utils"}


class NotAllowed(Exception):
    """Emitted code that should not have come about."""


def check(code: str) -> None:
    """Raises NotAllowed, or SyntaxError; also where a parser of CPython would give up."""
    tree = ast.parse(code)
    known = _NAMES | {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    for statement in tree.body:
        if not isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.Import | ast.ImportFrom):
            _plain(statement)
            known |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    _walk(tree, known)


def _walk(node: ast.AST, known: set[str]) -> None:
    """Looks at everything; inside a function its own names are known too."""
    _node(node, known)
    if isinstance(node, ast.FunctionDef):
        inside = [*ast.walk(node)]
        known = known | {n.arg for n in inside if isinstance(n, ast.arg)}
        known = known | {n.id for n in inside if isinstance(n, ast.Name) and _stored(n)}
    if isinstance(node, ast.ClassDef):
        known = known | {n.target.id for n in node.body if _is_field(n)}  # type: ignore[attr-defined]
    for child in ast.iter_child_nodes(node):
        _walk(child, known)


def _is_field(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _plain(statement: ast.stmt) -> None:
    """At the top a file only declares: a docstring, or a constant."""
    value = getattr(statement, "value", None)
    parts = ast.walk(value) if value is not None else iter([statement])
    if any(not isinstance(p, ast.Constant | ast.Tuple | ast.expr_context) for p in parts):
        raise NotAllowed(ast.unparse(statement))


def _node(node: ast.AST, known: set[str]) -> None:
    if not isinstance(node, _NODES):
        raise NotAllowed(type(node).__name__)
    if isinstance(node, ast.Import | ast.ImportFrom) and ast.unparse(node) not in _IMPORTS:
        raise NotAllowed(ast.unparse(node))
    if isinstance(node, ast.Name) and node.id not in known:
        raise NotAllowed(node.id)
    if isinstance(node, ast.Attribute):
        _attribute(node)
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.decorator_list:
        raise NotAllowed(f"a decorator of {node.name}")


def _attribute(node: ast.Attribute) -> None:
    hidden = node.attr.startswith("__") and node.attr != "__init__"
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    foreign = owner == "torch" and node.attr not in _OF_TORCH
    refused = owner in ("torch", "nn", "F") and node.attr in _REFUSED
    if hidden or foreign or refused:
        raise NotAllowed(ast.unparse(node))
