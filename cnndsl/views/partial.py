"""The layers of a net that is wrong, as far as they are known: `?` where they are not."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from cnndsl.graph import cost
from cnndsl.graph.model import Graph, Node
from cnndsl.ops.types import FeatureMap, Type, Unknown, Vector, channels_of
from cnndsl.views.table import Column, Line, Table

NOT_KNOWN = "?"
_COLUMNS = (
    Column("layer"), Column("operator"), Column("output"), Column("parameters", True),
    Column("MACs", True),
)  # fmt: skip


def partial_table(graph: Graph) -> Table:
    """Every layer that was reached, in the order of the text, at the reference sizes."""
    sizes = _reference(graph)
    types = {node.id: cost.concrete(node.type, sizes) for node in graph}
    lines = [Line(_cells(graph, node, types)) for node in graph]
    at = ", ".join(f"{symbol}={size}" for symbol, size in sizes.items())
    title = f"{graph.name}{f' at {at}' if at else ''}, as far as it is known"
    return Table(title, _COLUMNS, lines, (f"{NOT_KNOWN}: an error leaves this unknown",))


def _reference(graph: Graph) -> dict[str, int]:
    try:
        return graph.facts.reference()
    except ValueError:  # no size is valid
        return dict.fromkeys(graph.facts.symbols, 224)


def _cells(graph: Graph, node: Node, types: Mapping[int, Type]) -> tuple[str, ...]:
    if node.op.name == "failed":
        said = " ".join(node.span.text.split()) if node.span else ""
        return NOT_KNOWN, said, _shape(types[node.id]), NOT_KNOWN, NOT_KNOWN
    before = [types[i] for i in node.inputs]
    shared = node.shared
    operator = "again" if shared else node.op.text()
    parameters = macs = NOT_KNOWN
    if shared or all(isinstance(_channels(x), int) for x in before):
        weights = cost.weights_of(graph, node)
        parameters = f"{sum(prod(w.shape) for w in weights if not w.buffer):,}"
    if all(map(_is_known, [*before, types[node.id]])):
        macs = f"{node.op.macs(before[0], types[node.id]) if before else 0:,}"
    return node.path, operator, _shape(types[node.id]), parameters, macs


def _sizes(x: Type) -> tuple[Any, ...]:
    if isinstance(x, FeatureMap):
        return x.channels, x.height, x.width
    return (x.features,) if isinstance(x, Vector) else (x,)


def _channels(x: Type) -> Any:
    return x if isinstance(x, Unknown) else channels_of(x)


def _is_known(x: Type) -> bool:
    return all(isinstance(size, int) for size in _sizes(x))


def _shape(x: Type) -> str:
    if isinstance(x, Unknown):
        return NOT_KNOWN
    shown = (str(size) if isinstance(size, int) else NOT_KNOWN for size in _sizes(x))
    return f"[{', '.join(shown)}]"
