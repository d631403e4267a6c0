"""The graph: nodes in an order in which inputs come first.

``Graph`` is the only importer of networkx, and imports it when a graph question is asked:
loading networkx takes longer than checking a ResNet-50 (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cnndsl.graph.facts import Facts
from cnndsl.ops.base import Op
from cnndsl.ops.types import Type
from cnndsl.source import Span

if TYPE_CHECKING:
    import networkx

Key = TypeVar("Key", bound=Hashable)


class Input(Op, arity=0):
    """An input of the network; the graph's first nodes."""

    name = "input"


INPUT = Input()


class Frame(NamedTuple):
    """A call that was expanded: where the reader finds the text behind a node."""

    call: str
    path: str
    span: Span
    parent: Frame | None
    given: tuple[str, Mapping[str, Any]] | None = None
    """The declaration's name and its arguments' values, for messages."""


class Node:
    """One operator applied to wires. Identity in a graph is ``id``; ``path`` is its module.

    Two nodes share a path exactly when they share weights (`again`); joins and inputs have
    their own path too, but no module. ``again``: made while `again` repeated its text.
    ``stands``: the namespace in which that `again` is written.
    """

    __slots__ = ("again", "frame", "id", "inputs", "op", "path", "span", "stands", "type")

    def __init__(
        self,
        id: int,
        op: Op,
        inputs: tuple[int, ...],
        type: Type,
        path: str,
        span: Span | None = None,
        frame: Frame | None = None,
        stands: str | None = None,
    ) -> None:
        self.id, self.op, self.inputs, self.type = id, op, inputs, type
        self.path, self.span, self.frame = path, span, frame
        self.again, self.stands = stands is not None, stands or ""

    @property
    def shared(self) -> bool:
        """Whether its module is that of an earlier node."""
        return self.again and not self.op.join

    @property
    def space(self) -> str:
        """The namespace of its path; "" is the network itself."""
        return self.path.rpartition(".")[0]

    def __repr__(self) -> str:
        return f"%{self.id} = {self.op.text()}{list(self.inputs)} {self.path!r} :: {self.type}"


class Output(NamedTuple):
    """A value the network returns; ``train``: in training only."""

    name: str
    node: int
    emitted: bool = False
    train: bool = False


@dataclass(frozen=True)
class Graph:
    """A checked network: nodes, outputs, and what is known about its symbols.

    ``facts`` hold in both modes. Eval mode may take more sizes (``infer.evaluation_facts``).
    """

    name: str
    nodes: Mapping[int, Node]
    outputs: tuple[Output, ...]
    facts: Facts
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def types_into(self, node: Node) -> list[Type]:
        return [self.nodes[i].type for i in node.inputs]

    @property
    def inputs(self) -> list[Node]:
        return [node for node in self if node.op.name == "input"]

    def consumers(self) -> dict[int, list[int]]:
        """For each node the nodes that read it, once per operand slot."""
        readers: dict[int, list[int]] = {i: [] for i in self.nodes}
        for node in self:
            for i in node.inputs:
                readers[i].append(node.id)
        return readers

    def reaching(self, targets: Iterable[int]) -> set[int]:
        """``targets`` and everything they are computed from."""
        return reached(targets, lambda i: self.nodes[i].inputs)

    def to_networkx(self) -> networkx.MultiDiGraph[Any]:
        """A copy for other tools: node key = id; edge key = operand slot.

        Node attributes: ``op`` (text), ``path``, ``type`` (text); the graph's: ``name``,
        ``outputs``.
        """
        import networkx

        graph: networkx.MultiDiGraph[Any] = networkx.MultiDiGraph(name=self.name)
        graph.graph["outputs"] = [output._asdict() for output in self.outputs]
        for node in self:
            graph.add_node(node.id, op=node.op.text(), path=node.path, type=str(node.type))
            for slot, source in enumerate(node.inputs):
                graph.add_edge(source, node.id, key=slot)
        return graph

    def signature(self) -> tuple[object, ...]:
        """Equal for graphs that are the same up to node numbers and join names."""
        number = {node.id: k for k, node in enumerate(self)}
        rows = [
            (
                node.op,
                tuple(number[i] for i in node.inputs),
                "" if node.op.join else node.path,
                node.type,
                node.stands if node.shared else None,
            )
            for node in self
        ]
        outputs = [(o.name, number[o.node], o.emitted, o.train) for o in self.outputs]
        return (self.name, tuple(rows), tuple(outputs), self.facts.signature())


def reached(ends: Iterable[Key], before: Callable[[Key], Iterable[Key]]) -> set[Key]:
    """``ends`` and everything that ``before``, step by step, leads to from them."""
    found: set[Key] = set()
    waiting = list(ends)
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting.extend(before(here))
    return found
