"""A graph as nested sequences of calls: one sequence per namespace, torch-free.

Nodes are made in the order of the text, so a namespace's nodes stand together and can run
as a unit with wires in and out. Where they do not (`again` reaches into a namespace that was
left), the namespace only holds its modules, and its parent runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from cnndsl.graph.cost import inference_nodes
from cnndsl.graph.model import Graph, Node


@dataclass
class Step:
    """One call: a node, or a whole namespace. ``reads`` and ``writes`` are node ids."""

    reads: list[int]
    writes: list[int]
    node: Node | None = None
    scope: Scope | None = None
    train: bool = False
    release: list[int] = field(default_factory=list)


@dataclass
class Scope:
    """A namespace that runs by itself: ``steps`` from ``inputs`` to ``outputs``."""

    path: str
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def plan(graph: Graph) -> Scope:
    """The root scope: reads the graph's inputs, writes its outputs."""
    running = inference_nodes(graph)
    last_read = {i: max(readers, default=-1) for i, readers in graph.consumers().items()}
    nodes = [node for node in graph if node.inputs]
    needed = graph.reaching(output.node for output in graph.outputs)
    live = [node for node in nodes if node.id in needed]
    split = _scattered(live)
    planner = _Planner(last_read, running, {o.node for o in graph.outputs}, split)
    root = planner.scope("", live)
    root.inputs = [node.id for node in graph.inputs]
    root.outputs = [output.node for output in graph.outputs]
    return root


def owner(node: Node) -> str:
    """The namespace that holds the node's module."""
    return node.path.rpartition(".")[0]


def _scattered(nodes: list[Node]) -> set[str]:
    """Namespaces whose nodes do not stand together, or run more than once."""
    seen: set[str] = set()
    scattered: set[str] = set()
    previous: list[str] = []
    for node in nodes:
        parts = owner(node).split(".") if owner(node) else []
        here = [".".join(parts[: i + 1]) for i in range(len(parts))]
        if node.shared:
            scattered.update(here)
        scattered.update(path for path in here if path in seen and path not in previous)
        seen.update(here)
        previous = here
    return scattered


class _Planner:
    def __init__(
        self, last_read: dict[int, int], running: set[int], results: set[int], split: set[str]
    ) -> None:
        self.last_read, self.running, self.results = last_read, running, results
        self.split = split

    def scope(self, path: str, nodes: list[Node]) -> Scope:
        """The steps of one namespace's nodes, children grouped."""
        scope = Scope(path)
        made = {node.id for node in nodes}
        reads = dict.fromkeys(i for node in nodes for i in node.inputs if i not in made)
        scope.inputs = list(reads)
        last = nodes[-1].id if nodes else -1
        scope.outputs = [i for i in made if self.last_read[i] > last or i in self.results]
        scope.outputs.sort()
        for child, group in groupby(nodes, key=lambda node: self._child(path, node)):
            members = list(group)
            if child:
                inner = self.scope(child, members)
                train = not any(node.id in self.running for node in members)
                step = Step(inner.inputs, inner.outputs, scope=inner, train=train)
                scope.steps.append(step)
            else:
                scope.steps.extend(
                    Step(list(n.inputs), [n.id], node=n, train=n.id not in self.running)
                    for n in members
                )
        self._release(scope)
        return scope

    def _child(self, path: str, node: Node) -> str:
        """The child namespace that runs this node for ``path``; "" when ``path`` does itself."""
        space = owner(node)
        if space == path:
            return ""
        prefix = f"{path}." if path else ""
        child = prefix + space[len(prefix) :].split(".")[0]
        return "" if child in self.split else child

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
