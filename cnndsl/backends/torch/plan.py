"""A graph as nested sequences of calls: one sequence per namespace, torch-free.

The steps of a namespace stand together and run as a unit, with wires in and out. What
`again` repeats is a second call of that unit, or calls of its modules one by one where the
repetition differs, or where units would run too deep inside each other.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from cnndsl.graph.cost import inference_nodes
from cnndsl.graph.model import Graph, Node
from cnndsl.graph.spaces import child, spaces
from cnndsl.limits import DEFAULT_LIMITS

DEEPEST = DEFAULT_LIMITS.path
"""Units inside each other, by their names or by `again`: each takes frames of Python's stack."""
_PATIENCE = 64  # steps of comparing, for each node: a hostile text could ask for its square


@dataclass
class Step:
    """One call: of a node, or of a whole namespace. ``reads`` and ``writes`` are node ids.

    ``repeats``: the namespace has been called before, with its own ids. ``alone``: positions in
    ``reads`` of values made in the same namespace that nothing else reads; ``lends``: whether its
    first result is such a value.
    """

    reads: list[int]
    writes: list[int]
    node: Node | None = None
    scope: Scope | None = None
    repeats: bool = False
    train: bool = False
    release: list[int] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)
    lends: bool = False


@dataclass
class Scope:
    """A namespace that runs by itself: ``steps`` from ``inputs`` to ``outputs``.

    ``depth``: how many namespaces run inside each other here, itself among them.
    """

    path: str
    depth: int = 1
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class Unit(NamedTuple):
    """A namespace that is planned, with its nodes in order."""

    scope: Scope
    nodes: Sequence[Node]


def plan(graph: Graph) -> Scope:
    """The root scope: reads the graph's inputs, writes its outputs."""
    needed = graph.reaching(output.node for output in graph.outputs)
    live = [node for node in graph if node.inputs and node.id in needed]
    root = _Planner(graph, live).scope("", live)
    root.inputs = [node.id for node in graph.inputs]
    root.outputs = [output.node for output in graph.outputs]
    return root


class _Planner:
    def __init__(self, graph: Graph, live: Sequence[Node]) -> None:
        self.running = inference_nodes(graph)
        self.results = {output.node for output in graph.outputs}
        readers = graph.consumers()
        self.last_read = {i: max(readers[i], default=-1) for i in readers}
        self.read_once = {i for i in readers if len(readers[i]) == 1}
        self.spaces = {n.id: space for n, space in zip(live, spaces(live), strict=True)}
        self.units: dict[str, list[Unit]] = {}  # by the path of the first node, longest first
        self.patience = _PATIENCE * len(live)

    def scope(self, path: str, nodes: Sequence[Node]) -> Scope:
        """The steps of one namespace's nodes, children grouped."""
        scope = Scope(path)
        resting = self._trains(nodes)  # then its own call is marked so, and nothing inside
        made = {node.id for node in nodes}
        scope.inputs = list(
            dict.fromkeys(i for node in nodes for i in node.inputs if i not in made)
        )
        scope.outputs = [node.id for node in nodes if self._leaves(node.id, nodes[-1].id)]
        for space, group in groupby(nodes, key=lambda node: child(self.spaces[node.id], path)):
            members = list(group)
            if space:
                inner = self.scope(space, members)
                starting = self.units.setdefault(members[0].path, [])
                insort(starting, Unit(inner, members), key=_preference)
                train = not resting and self._trains(members)
                scope.steps.append(Step(inner.inputs, inner.outputs, scope=inner, train=train))
            else:
                levels = path.count(".") + 1 if path else 0
                scope.steps.extend(self._here(members, DEEPEST - levels, resting))
        scope.depth += max((step.scope.depth for step in scope.steps if step.scope), default=0)
        self._release(scope)
        self._leave_alone(scope)
        return scope

    def _leaves(self, i: int, last: int) -> bool:
        """Whether a value is read behind the node ``last``."""
        return self.last_read[i] > last or i in self.results

    def _trains(self, nodes: Sequence[Node]) -> bool:
        """Whether nothing of it runs in eval mode."""
        return not any(node.id in self.running for node in nodes)

    def _modes(self, nodes: Sequence[Node]) -> list[bool]:
        """Which of them run in eval mode, when any does: then not all steps of their unit may."""
        running = [node.id in self.running for node in nodes]
        return running if any(running) else [True] * len(nodes)

    def _here(self, nodes: Sequence[Node], room: int, resting: bool) -> Iterator[Step]:
        """Calls of nodes one by one, or of units that they repeat, up to ``room`` levels deep."""
        at = 0
        while at < len(nodes):
            node = nodes[at]
            step, count = self._repetition(nodes, at, room) if node.again else (None, 1)
            step = step or Step(list(node.inputs), [node.id], node=node)
            step.train = not resting and self._trains(nodes[at : at + count])
            yield step
            at += count

    def _repetition(self, nodes: Sequence[Node], at: int, room: int) -> tuple[Step | None, int]:
        """A second call of the largest unit whose nodes these are, and their number."""
        for unit in self.units.get(nodes[at].path, ()):
            if self.patience < 0:
                break
            self.patience -= 1
            if unit.scope.depth <= room and at + len(unit.nodes) <= len(nodes):
                step = self._repeated(unit, nodes[at : at + len(unit.nodes)])
                if step is not None:
                    return step, len(unit.nodes)
        return None, 1

    def _repeated(self, unit: Unit, nodes: Sequence[Node]) -> Step | None:
        """The call of ``unit`` that does what ``nodes`` do, if there is one."""
        wires = self._wires(unit, nodes)
        if wires is None or self._modes(unit.nodes) != self._modes(nodes):
            return None
        scope = unit.scope
        given = {wires[i] for i in scope.outputs}
        if any(self._leaves(n.id, nodes[-1].id) and n.id not in given for n in nodes):
            return None
        reads, writes = ([wires[i] for i in ids] for ids in (scope.inputs, scope.outputs))
        return Step(reads, writes, scope=scope, repeats=True)

    def _wires(self, unit: Unit, nodes: Sequence[Node]) -> dict[int, int] | None:
        """Which wire is now what each wire of ``unit`` was, if ``nodes`` do what it does."""
        wires: dict[int, int] = {}
        for first, node in zip(unit.nodes, nodes, strict=True):
            self.patience -= 1
            if not _repeats(first, node):
                return None
            for before, now in zip(first.inputs, node.inputs, strict=True):
                if wires.setdefault(before, now) != now:
                    return None
            wires[first.id] = node.id
        return wires

    def _release(self, scope: Scope) -> None:
        """Each value is dropped after the last step that reads it."""
        kept = {*scope.outputs, *self.results}
        last: dict[int, Step] = {}
        for step in scope.steps:
            for i in (*step.reads, *step.writes):
                last[i] = step
        for i, step in last.items():
            if i not in kept:
                step.release.append(i)

    def _leave_alone(self, scope: Scope) -> None:
        """Which values a step may write over. A repetition's are read as often: `_repeated` takes
        no unit of which another value leaves it."""
        made = {i for step in scope.steps for i in step.writes}
        own = (made & self.read_once) - {*scope.outputs, *self.results}
        for step in scope.steps:
            step.alone = [at for at, i in enumerate(step.reads) if i in own]
            step.lends = step.writes[0] in own


def _preference(unit: Unit) -> tuple[int, bool, int]:
    """The longest first; then one that repeats no other, and the outermost of such."""
    return -len(unit.nodes), unit.nodes[0].again, unit.scope.path.count(".")


def _repeats(first: Node, node: Node) -> bool:
    """Whether a step does what ``first`` does, with its weights. A join has none to share."""
    alike = first.op == node.op and len(first.inputs) == len(node.inputs)
    return alike and (node.op.join or (node.shared and first.path == node.path))
