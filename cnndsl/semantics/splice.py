"""Joins of joins become one."""

from __future__ import annotations

from cnndsl.graph.model import Node
from cnndsl.semantics.state import State


def splice(state: State) -> None:
    """FractalNet's join is one flat mean: a join read only by another join dissolves in it."""
    readers: dict[int, int] = {}
    for node in state.nodes.values():
        for i in node.inputs:
            readers[i] = readers.get(i, 0) + 1
    for output in state.outputs:
        readers[output.node] = readers.get(output.node, 0) + 2
    for node in list(state.nodes.values()):
        if node.op.name == "join":
            _dissolve(state, node, readers)


def _dissolve(state: State, node: Node, readers: dict[int, int]) -> None:
    inputs: list[int] = []
    for i in node.inputs:
        inner = state.nodes[i]
        if inner.op == node.op and readers[i] == 1:
            inputs.extend(inner.inputs)
            del state.nodes[i]
        else:
            inputs.append(i)
    node.inputs = tuple(inputs)
