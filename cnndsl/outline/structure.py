"""A graph as one term: chains between dominators, joins of what lies in between.

In each namespace the value that flows from step to step is followed. Where several branches
leave a value and meet again in a join, the join's operands are terms on that value. What does
not fall apart like this is read by a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from cnndsl.graph.cost import weights_of
from cnndsl.graph.model import Graph, Node, Output
from cnndsl.outline.holes import AUTO, Label, Read, Tapped
from cnndsl.outline.terms import (
    Chain,
    Emit,
    Id,
    Join,
    Leaf,
    Named,
    Ref,
    Tap,
    Term,
    chain,
    result_of,
    steps,
)
from cnndsl.outline.tree import Space, tree


class Unstructured(Exception):
    """No term of the kind that is looked for; the text is then a list of steps."""


class Outline(NamedTuple):
    """A net: named values before the result, and the results; ``order``: nodes as the text
    makes them."""

    lets: tuple[tuple[str, Term], ...]
    body: Term
    results: tuple[str, ...]
    order: tuple[int, ...]


_NOWHERE = -1


@dataclass(frozen=True)
class _Vertex:
    """A step, or a namespace as a whole. ``value``: what it hands on; ``reads``: the values
    that it needs, that which flows in first for a namespace."""

    item: Node | Space
    value: int
    reads: tuple[int, ...]


def outline(graph: Graph, *, labels: bool = True) -> Outline:
    """The whole network as terms; Unstructured where that does not work out.

    RecursionError where joins stand in each other hundreds of levels deep.

    ``labels``: steps with weights are called as they are in the graph.
    """
    return _Outliner(graph, labels).net()


class _Outliner:
    def __init__(self, graph: Graph, labels: bool) -> None:
        if any(node.shared for node in graph):
            raise Unstructured("a module is applied twice")
        self.graph, self.labels = graph, labels
        self.named: set[int] = set()
        """Values that are read by name."""
        self.made: list[int] = []
        self.visible = {node.id for node in graph.inputs}
        self.weighty = {node.id for node in graph if weights_of(graph, node)}

    # --- the net ----------------------------------------------------------------------------

    def net(self) -> Outline:
        top = tree(self.graph)
        flow = self.graph.inputs[0].id
        named = self.graph.inputs[0].path != "in"  # then the text has to say it
        region = Region(self, top, flow)
        results = [o for o in self.graph.outputs if not o.emitted]
        lets: list[tuple[str, Term]] = []
        body: Term = Id()
        if len(results) == 1:
            body = region.term(results[0].node, flow, named)
        else:
            for output in sorted(results, key=lambda o: o.node):
                lets.append((output.name, region.term(output.node, flow, named)))
        heads = [self._emit(region, o, flow) for o in self.graph.outputs if o.emitted]
        if lets:
            lets[-1] = (lets[-1][0], chain([lets[-1][1], *heads]))
        items = [] if lets else [*steps(body), *heads]
        if len(self.made) != sum(1 for node in self.graph if node.inputs):
            raise Unstructured("something leads to no output")
        lets = [(name, self._tapped(term)) for name, term in lets]
        tapped = [self._tapped(item) for item in items]
        names = tuple(o.name for o in results) if lets else ()
        return Outline(tuple(lets), chain(tapped), names, tuple(self.made))

    def _emit(self, region: Region, output: Output, flow: int) -> Term:
        """The head inside the `emit`, so that its label can be the head's namespace."""
        body = region.term(output.node, flow, from_name=True)
        items = steps(body)
        last = items[-1]
        if isinstance(last, Named):
            if last.label is None or last.label.name != output.name or len(items) > 2:
                raise Unstructured("an output's name is not that of its head")
            inner = chain([*items[:-1], *steps(last.body)])
        elif any(isinstance(item, Named) or self._is_labelled(item) for item in items):
            raise Unstructured("a head that stands in no namespace of its own")
        else:
            inner = body
        return Emit(output.name, output.train, inner)

    def _is_labelled(self, term: Term) -> bool:
        return isinstance(term, Leaf) and term.label is not None

    # --- leaves -----------------------------------------------------------------------------

    def leaf(self, node: Node) -> Term:
        values: tuple[Any, ...] = parameters(node)
        self.made.append(node.id)
        self.visible.add(node.id)
        if node.op.join:
            raise AssertionError("a join is no leaf")
        weighty = node.id in self.weighty
        own = Label.of(node.path.rpartition(".")[2]) if weighty and self.labels else None
        return Leaf(type(node.op), values, node.id, weighty, own)

    def read(self, value: int) -> Term:
        if value not in self.visible:
            raise Unstructured("a value is read before the text can make it")
        self.named.add(value)
        return Ref(Read(value))

    def _tapped(self, term: Term) -> Term:
        """The term with names for what is read by name, each around as much as it can be."""
        value = -1 if isinstance(term, Chain) else result_of(term)
        needed = value in self.named
        self.named.discard(value)
        parts = tuple(self._tapped(part) for part in term.parts)
        found = term.remade(term.own, parts) if parts else term
        return Tap(found, Tapped(value)) if needed else found


def parameters(node: Node) -> tuple[Any, ...]:
    op = node.op
    return tuple(
        AUTO if not declared.required and op._is_default(declared, op.values[key])
        and not (key == "bias" and op.auto_bias) else op.values[key]
        for key, declared in op.params.items()
    )  # fmt: skip


class Region:
    """One namespace, with the value that flows into it."""

    def __init__(self, outliner: _Outliner, space: Space, flow: int) -> None:
        self.outliner, self.space, self.flow = outliner, space, flow
        self.vertices: dict[int, _Vertex] = {}
        for item in space.items:
            vertex = self._vertex(item)
            self.vertices[vertex.value] = vertex
        self.above: dict[int, int] = {}
        self.depth: dict[int, int] = {}
        self._dominate(set())
        far = self._far()
        if far:
            self._dominate(far)

    def _vertex(self, item: Node | Space) -> _Vertex:
        if isinstance(item, Node):
            return _Vertex(item, item.id, item.inputs)
        if not item.results:
            raise Unstructured("a namespace that nothing reads")
        inputs = sorted(item.inputs, reverse=True)
        return _Vertex(item, item.results[-1], tuple(inputs))

    # --- dominators ---------------------------------------------------------------------------

    def _dominate(self, far: set[tuple[int, int]]) -> None:
        """For each value the last one that every way to it leads through.

        What is computed from named values alone has none; it can stand anywhere behind them.
        """
        self.far = far
        self.above.clear()
        self.depth = {self.flow: 0}
        for value, vertex in self.vertices.items():
            parents = [i for i in self.near(vertex) if i in self.depth]
            if not parents:
                alone = len(vertex.reads) == 1 and vertex.reads[0] in self.vertices
                self.above[value] = vertex.reads[0] if alone else _NOWHERE
                continue
            best = parents[0]
            for other in parents[1:]:
                best = self._common(best, other)
            self.above[value] = best
            self.depth[value] = self.depth[best] + 1

    def near(self, vertex: _Vertex) -> list[int]:
        """What it reads, those values left out that it reads by name from afar."""
        return [i for i in vertex.reads if (vertex.value, i) not in self.far]

    def _common(self, a: int, b: int) -> int:
        while a != b:
            if self.depth[a] >= self.depth[b]:
                a = self.above[a]
            else:
                b = self.above[b]
        return a

    def _far(self) -> set[tuple[int, int]]:
        """Operands of concatenations that bridge another such bridge: long skips.

        As terms on one value they would stand inside each other, one level for each.
        """
        place = {value: k for k, value in enumerate([self.flow, *self.vertices])}
        bridges = []
        for value, vertex in self.vertices.items():
            above = self.above[value]
            item = vertex.item
            if above != _NOWHERE and isinstance(item, Node) and item.op.name == "concat":
                ends = [self._bridge(value, i, above) for i in vertex.reads]
                bridges += [(place[above], end) for end in ends if end]
        found: set[tuple[int, int]] = set()
        inner: list[tuple[int, tuple[int, int]]] = []
        for start, edge in bridges:  # in the order of their ends
            if inner and start < inner[-1][0]:
                found |= {edge, inner[-1][1]}
            while inner and inner[-1][0] >= start:
                inner.pop()
            inner.append((start, edge))
        return found

    def _bridge(self, value: int, operand: int, above: int) -> tuple[int, int] | None:
        """The reader and what it reads where an operand is ``above`` itself, or cut from it."""
        while operand != above:
            vertex = self.vertices.get(operand)
            if vertex is None or not isinstance(vertex.item, Node) or len(vertex.reads) > 1:
                return None
            if operand in self.outliner.weighty:
                return None
            value, operand = operand, vertex.reads[0]
        return value, above

    # --- terms --------------------------------------------------------------------------------

    def term(self, value: int, start: int, from_name: bool = False) -> Term:
        """The steps from ``start``, which arrives, to ``value``."""
        line = []
        at = value
        while at != start and at not in self.outliner.visible and at in self.vertices:
            line.append(at)
            at = self.above[at]
        items: list[Term] = []
        if at != _NOWHERE and (at != start or from_name):
            items.append(self.outliner.read(at))
        for after in reversed(line):
            items += self._step(self.vertices[after], at)
            at = after
        return chain(items)

    def _step(self, vertex: _Vertex, at: int) -> list[Term]:
        """One vertex behind the value ``at`` that dominates it."""
        node = vertex.item
        if isinstance(node, Space):
            return self._space(node, vertex, at)
        if node.op.join:
            return [self._join(node, vertex, at)]
        before = [] if vertex.reads[0] == at else [self.outliner.read(vertex.reads[0])]
        return [*before, self.outliner.leaf(node)]

    def _join(self, node: Node, vertex: _Vertex, at: int) -> Term:
        near = self.near(vertex)
        inputs = self._arranged(node)
        operands = [
            self.term(i, at) if i in near and (i in self.vertices or i == at)
            else self.outliner.read(i)
            for i in inputs
        ]  # fmt: skip
        self.outliner.made.append(node.id)
        self.outliner.visible.add(node.id)
        return Join(type(node.op), parameters(node), tuple(operands), node.id)

    def _arranged(self, node: Node) -> tuple[int, ...]:
        """The operands in order; of a sum of two the longer way first."""
        inputs = node.inputs
        if node.op.name == "add" and len(inputs) == 2:
            ways = [self.depth.get(i, 0) for i in inputs]
            if ways[0] < ways[1]:
                return inputs[::-1]
        return inputs

    def _space(self, space: Space, vertex: _Vertex, at: int) -> list[Term]:
        items: list[Term] = []
        flow = vertex.reads[0]
        here = at
        for side in vertex.reads[1:]:
            if side == at or side not in self.vertices or side in self.outliner.visible:
                continue
            items += [*([] if here == at else [self.outliner.read(at)]), self.term(side, at)]
            here = side
        if flow != here:
            items += steps(self.term(flow, at, from_name=here != at or flow == at))
        region = Region(self.outliner, space, flow)
        body = region.inner(vertex.value)
        label = Label.of(space.label)
        return [*items, Named(label, body)]

    def inner(self, result: int) -> Term:
        """The namespace's own term: everything in it, ending with its result."""
        return self.term(result, self.flow)
