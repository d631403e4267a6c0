"""A network as rows: every layer with what it costs, and the blocks that hold them.

Blocks in a row that are alike are folded into one. A block's row sums its layers; a folded
row sums all of its blocks, and the rows below it show the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import prod

from cnndsl.graph import cost
from cnndsl.graph.model import Graph, Node
from cnndsl.ops.base import Op
from cnndsl.ops.types import Type, Weight
from cnndsl.views.receptive import Reach, receptive_fields
from cnndsl.views.units import FLOAT32

_DEEPEST = 32  # levels that get a row of their own; deeper ones are listed flat


@dataclass(frozen=True, slots=True)
class Row:
    """A layer (``node`` made it), or a block. Sizes are without the batch.

    ``memory``: bytes of float32 output; of a block, of all its layers. ``sources``: the
    paths it reads, empty where that is the layer before it. ``reach``: its output's.
    """

    path: str
    name: str
    depth: int
    operator: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    memory: int
    reach: tuple[Reach, Reach]
    sources: tuple[str, ...]
    node: Node | None
    repeat: int = 1
    training_only: bool = False


@dataclass(frozen=True)
class _Group:
    """A namespace: its rows, and what it looks like from outside."""

    name: str
    rows: list[Row]
    nodes: list[Node]
    signature: tuple[object, ...]


class Layers:
    """The rows of a graph at integer sizes of its symbols.

    ``in_place``: layers that only change values, one by one, take no memory of their own.
    """

    def __init__(self, graph: Graph, sizes: Mapping[str, int], in_place: bool = False) -> None:
        self.graph, self.sizes, self.in_place = graph, dict(sizes), in_place
        self.types: dict[int, Type] = {n.id: cost.concrete(n.type, sizes) for n in graph}
        self.running = cost.inference_nodes(graph)
        self._reach = receptive_fields(graph)
        self._macs = {node.id: count for node, count in cost.macs_by_node(graph, sizes)}
        self._before: dict[int, int] = {}
        previous = -1
        for node in graph:
            self._before[node.id] = previous
            previous = node.id
        self._calls = _calls(graph)

    def flat(self) -> list[Row]:
        """One row per layer, in the order of the text."""
        return [self._row(node, "", 0) for node in self.graph]

    def folded(self, depth: int | None = None) -> list[Row]:
        """Blocks with their layers, down to ``depth`` levels; equal neighbours folded."""
        rows = self._rows(list(self.graph), "", 0)
        return rows if depth is None else [row for row in rows if row.depth < depth]

    def weights(self, node: Node) -> tuple[Weight, ...]:
        """The layer's own parameters; none where it shares another's."""
        return tuple(w for w in cost.weights_of(self.graph, node) if not w.buffer)

    def parameters(self, node: Node) -> int:
        return sum(prod(weight.shape) for weight in self.weights(node))

    def macs(self, node: Node) -> int:
        return self._macs.get(node.id, 0)

    def memory(self, node: Node) -> int:
        """Bytes of the layer's output."""
        if self.in_place and is_plain(self.graph, node):
            return 0
        return prod(cost.shape(self.types[node.id])) * FLOAT32

    # --- rows -----------------------------------------------------------------------------

    def _row(self, node: Node, prefix: str, depth: int) -> Row:
        return Row(
            node.path,
            node.path[len(prefix) :],
            depth,
            "again" if node.shared else node.op.text(),
            cost.shape(self.types[node.id]),
            self.parameters(node),
            self.macs(node),
            self.memory(node),
            self._reach[node.id],
            self._sources(node.inputs, node),
            node,
            training_only=node.id not in self.running,
        )

    def _sources(self, inputs: Sequence[int], first: Node) -> tuple[str, ...]:
        distinct = tuple(dict.fromkeys(inputs))
        if not distinct or distinct == (self._before[first.id],):
            return ()
        return tuple(self.graph.nodes[i].path for i in distinct)

    def _rows(self, nodes: list[Node], path: str, depth: int) -> list[Row]:
        """The rows of one namespace's nodes."""
        prefix = f"{path}." if path else ""
        found: list[Row] = []
        for alike in _alike(self._parts(nodes, prefix, depth)):
            first = alike[0]
            if isinstance(first, Node):
                found.append(self._row(first, prefix, depth))
                continue
            groups = [group for group in alike if isinstance(group, _Group)]
            found.append(self._header(groups, prefix + first.name, depth))
            found += first.rows
        return found

    def _parts(self, nodes: list[Node], prefix: str, depth: int) -> Iterator[Node | _Group]:
        def child(node: Node) -> str:
            head, dot, _ = node.path[len(prefix) :].partition(".")
            return head if dot and depth < _DEEPEST else ""

        for name, members in groupby(nodes, key=child):
            if not name:
                yield from members
                continue
            inside = list(members)
            rows = self._rows(inside, prefix + name, depth + 1)
            yield _Group(name, rows, inside, self._signature(inside, prefix + name))

    def _signature(self, nodes: list[Node], path: str) -> tuple[object, ...]:
        """Equal for blocks that are the same up to their names and what they read."""
        place: dict[int, object] = {node.id: k for k, node in enumerate(nodes)}
        rows = []
        for node in nodes:
            for i in node.inputs:
                place.setdefault(i, ("outside", len(place), self.types[i]))
            reads = tuple(place[i] for i in node.inputs)
            relative = node.path[len(path) :]
            training = node.id not in self.running
            rows.append((relative, node.op, reads, self.types[node.id], node.shared, training))
        return tuple(rows)

    def _header(self, groups: list[_Group], path: str, depth: int) -> Row:
        """The row of a block, or of several that are alike."""
        first, last = groups[0], groups[-1]
        nodes = [node for group in groups for node in group.nodes]
        inside = {node.id for node in first.nodes}
        reads = [i for node in first.nodes for i in node.inputs if i not in inside]
        call = self._calls.get(path, "")
        return replace(
            self._row(last.nodes[-1], "", depth),
            path=path,
            name=first.name if len(groups) == 1 else f"{first.name}..{last.name}",
            operator=f"{call} x {len(groups)}".strip() if len(groups) > 1 else call,
            parameters=sum(map(self.parameters, nodes)),
            macs=sum(map(self.macs, nodes)),
            memory=sum(map(self.memory, nodes)),
            sources=self._sources(reads, first.nodes[0]),
            node=None,
            repeat=len(groups),
            training_only=all(node.id not in self.running for node in first.nodes),
        )


def is_plain(graph: Graph, node: Node) -> bool:
    """Whether it only changes values, one by one: an activation, dropout."""
    elementwise = type(node.op).shape is Op.shape and bool(node.inputs)
    return elementwise and not node.op.weights(*graph.types_into(node))


def _alike(parts: Iterator[Node | _Group]) -> Iterator[list[Node | _Group]]:
    """Neighbouring groups with one signature together; everything else alone."""
    held: list[Node | _Group] = []
    for part in parts:
        known = held[0] if held else None
        both = isinstance(known, _Group) and isinstance(part, _Group)
        if both and known.signature == part.signature:  # type: ignore[union-attr]
            held.append(part)
            continue
        if held:
            yield held
        held = [part]
    if held:
        yield held


def _calls(graph: Graph) -> dict[str, str]:
    """The call behind each namespace, as the text has it: the outermost one."""
    found: dict[str, str] = {}
    known: set[int] = set()
    for node in graph:
        fresh = []
        frame = node.frame
        while frame is not None and id(frame) not in known:
            known.add(id(frame))
            fresh.append(frame)
            frame = frame.parent
        for frame in reversed(fresh):
            found.setdefault(frame.path, " ".join(frame.call.split()))
    return found
