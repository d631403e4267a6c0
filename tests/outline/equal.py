"""Whether two graphs are one network: compared from their ends, not by how either was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnndsl.graph.model import Graph
from cnndsl.graph.model import Node as GraphNode

_EITHER_WAY = {"add", "mul", "max", "mean"}


def flattened(graph: Graph) -> Graph:
    """The graph as other programs hand it over: no namespaces, steps called by their numbers."""
    paths: dict[str, str] = {}
    nodes = {}
    for node in graph:
        path = node.path
        if node.inputs:
            path = node.op.name if node.op.join else paths.setdefault(path, str(len(paths)))
        nodes[node.id] = GraphNode(
            node.id, node.op, node.inputs, node.type, path, stands="" if node.again else None
        )
    return Graph(graph.name, nodes, graph.outputs, graph.facts)


def network(graph: Graph, paths: Mapping[str, str] | None = None) -> tuple[Any, ...]:
    """Equal for graphs that are one network with equal module paths, after ``paths``.

    Operands of a sum or product of two may be swapped; concatenations are flat.
    """
    numbers: dict[Any, int] = {}
    keys: dict[int, int] = {}
    parts: dict[int, tuple[int, ...]] = {}
    for node in graph:
        wires = [w for i in node.inputs for w in parts.get(i, (keys[i],))]
        if node.op.name != "concat":
            wires = [keys[i] for i in node.inputs]
        if node.op.name in _EITHER_WAY and len(wires) == 2:
            wires.sort()
        if node.op.join and len(node.inputs) == 1:
            keys[node.id] = wires[0]
            continue
        path = "" if node.op.join else (paths or {}).get(node.path, node.path)
        key = (node.op, str(node.type), path, tuple(wires))
        keys[node.id] = numbers.setdefault(key, _stable(key))
        if node.op.name == "concat":
            parts[node.id] = tuple(wires)
    outputs = tuple((o.name, keys[o.node], o.emitted, o.train) for o in graph.outputs)
    return outputs, graph.facts.signature()


def _stable(key: object) -> int:
    return hash(key)
