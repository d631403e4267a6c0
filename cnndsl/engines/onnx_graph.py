"""What rewrites of a finished ONNX model of fixed shapes share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def sizes_of(graph: Any) -> dict[str, tuple[int, ...]]:
    """The dimensions of the values whose shapes are written down, by name."""
    return {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def put_nodes(graph: Any, nodes: Iterable[Any]) -> None:
    """These, in topological order, in place of those that are there."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def drop_unread(graph: Any) -> None:
    """Lets go of weights that no node reads any more; the others are not copied."""
    read = {name for node in graph.node for name in node.input}
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name not in read:
            del graph.initializer[i]
