"""Is the network of a text the given one? Node by node, nothing is assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnndsl.graph.cost import weights_of
from cnndsl.graph.model import Graph, Node

_EITHER_WAY = frozenset({"add", "mul", "max", "mean"})


class Mismatch(Exception):
    """The text says something else. A defect of ours; a simpler text is written then."""


def matched(given: Graph, written: Graph, order: Sequence[int]) -> dict[str, str]:
    """The module paths of ``given`` by those of ``written``; Mismatch where graphs differ.

    ``order``: the given graph's nodes as the text makes them; joins of one operand are the
    value itself. A sum, product, mean or maximum of two may have its operands the other way
    round, and a concatenation may continue another: `concat(concat(a, b), c)` is
    `concat(a, b, c)`. All else is equal: operators, wires, types, outputs and facts.
    """
    return _Match(given, written, order).paths()


class _Match:
    def __init__(self, given: Graph, written: Graph, order: Sequence[int]) -> None:
        self.given, self.written = given, written
        ours = [node.id for node in given.inputs] + list(order)
        theirs = list(written)
        if len(ours) != len(theirs):
            raise Mismatch(f"{len(theirs)} nodes are written for {len(ours)}")
        self.to: dict[int, int] = {}
        self.pairs = [(given.nodes[i], node) for i, node in zip(ours, theirs, strict=True)]
        self.to = {a.id: b.id for a, b in self.pairs}
        for node in given:  # in order, so that one of another is known
            if node.op.join and len(node.inputs) == 1:
                self.to[node.id] = self.to[node.inputs[0]]
        if len(self.to) != len(given):
            raise Mismatch("a node is left out")

    def paths(self) -> dict[str, str]:
        for ours, theirs in self.pairs:
            self._node(ours, theirs)
        outputs = [(o.name, self.to[o.node], o.emitted, o.train) for o in self.given.outputs]
        if outputs != [tuple(o) for o in self.written.outputs]:
            raise Mismatch("the outputs differ")
        if self.given.facts.signature() != self.written.facts.signature():
            raise Mismatch("other sizes are valid")
        return {a.path: b.path for a, b in self.pairs if a.inputs and not a.op.join}

    def _node(self, ours: Node, theirs: Node) -> None:
        if ours.op != theirs.op or ours.type != theirs.type:
            raise Mismatch(f"{ours} is written as {theirs}")
        if not ours.inputs and ours.path != theirs.path:
            raise Mismatch("an input has another name")
        wires = tuple(self.to[i] for i in ours.inputs)
        if wires == theirs.inputs:
            return
        swapped = wires[::-1] == theirs.inputs and len(wires) == 2
        if swapped and ours.op.name in _EITHER_WAY:
            return
        if ours.op.name != "concat" or self._whole(wires) != self._whole(theirs.inputs):
            raise Mismatch(f"{ours} reads {wires}, and {theirs} other values")

    def _whole(self, wires: Sequence[int]) -> list[int]:
        """What a concatenation holds in the end, in the written graph."""
        found: list[int] = []
        waiting = list(reversed(wires))
        while waiting:
            node = self.written.nodes[waiting.pop()]
            if node.op.name == "concat":
                waiting.extend(reversed(node.inputs))
            else:
                found.append(node.id)
        return found


def keeps_keys(graph: Graph, paths: Mapping[str, str]) -> bool:
    """Whether every module with weights has its own path still."""
    return all(
        paths[node.path] == node.path for node in graph if node.inputs and weights_of(graph, node)
    )
