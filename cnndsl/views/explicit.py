"""The text with every default written out, as ``fmt --explicit`` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cnndsl.graph.model import Graph
from cnndsl.ops.base import Op, spell
from cnndsl.source import Source
from cnndsl.syntax import ast

_Place = tuple[int, int]


def made_explicit(source: Source, module: ast.Module, graphs: Iterable[Graph]) -> str:
    """The text in which each operator names the parameters it was built with.

    A parameter stays unsaid where its value differs between the places that use the line,
    as does everything in declarations that no net reaches. Layout is the formatter's.
    """
    instances = _instances(source, graphs)
    pieces: list[str] = []
    position = 0
    for offset, text in sorted(_insertions(module, instances)):
        pieces += [source.text[position:offset], text]
        position = offset
    return "".join([*pieces, source.text[position:]])


def _instances(source: Source, graphs: Iterable[Graph]) -> dict[_Place, list[Op]]:
    """The operators that each stretch of the text became."""
    found: dict[_Place, list[Op]] = {}
    for graph in graphs:
        for node in graph:
            span = node.span
            if span is not None and span.source is source:
                found.setdefault((span.start, span.end), []).append(node.op)
    return found


def _insertions(module: ast.Module, instances: dict[_Place, list[Op]]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(*module.declarations):
        if not isinstance(node, ast.Call | ast.Name):
            continue
        name = node.name if isinstance(node, ast.Name) else node.callee.name
        ops = instances.get((node.span.start, node.span.end), [])
        if not ops or any(op.name != name for op in ops):
            continue  # a sign, or a parameter that stands for an operator
        unsaid = _unsaid(node, ops)
        if unsaid:
            yield _insertion(node, ", ".join(unsaid))


def _unsaid(node: ast.Call | ast.Name, ops: list[Op]) -> list[str]:
    """``key=value`` of the parameters that the call leaves out and all instances share."""
    op = ops[0]
    keys = list(op.params)
    arguments = (node.args if isinstance(node, ast.Call) else None) or ()
    said = {a.name.text for a in arguments if a.name is not None}
    if not op.join:  # what a join takes by position are layers
        said.update(keys[: sum(a.name is None for a in arguments)])
    agreed = (key for key in keys if len({other.values[key] for other in ops}) == 1)
    return [f"{key}={spell(op.values[key])}" for key in agreed if key not in said]


def _insertion(node: ast.Call | ast.Name, text: str) -> tuple[int, str]:
    if isinstance(node, ast.Name):
        return node.span.end, f"({text})"
    if node.args is None:  # only wires: `add[a, b]`
        return node.callee.span.end, f"({text})"
    if node.args:
        return node.args[-1].span.end, f", {text}"
    return node.callee.span.end + node.span.text[len(node.callee.name) :].index("(") + 1, text
