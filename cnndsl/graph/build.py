"""A graph from elsewhere than a text: other programs' networks, step by step, checked as they grow.

::

    builder = Builder("Tiny")
    x = builder.input(FeatureMap(3, Size.of("H"), Size.of("W")))
    x = builder.add(Conv(8, 3, bias=True), [x], "conv1")
    graph = builder.graph([Output("out", x)])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import infer, settle
from cnndsl.graph.model import INPUT, Graph, Node, Output
from cnndsl.graph.verify import InternalError, verify
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap, Type


class Builder:
    """Collects nodes; each is inferred when it is added, so a mistake is told where it is made."""

    def __init__(self, name: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self.name, self.limits, self.facts = name, limits, Facts()
        self.nodes: dict[int, Node] = {}
        self._counts: dict[str, int] = {}
        self._owners: set[str] = set()

    def input(self, type: Type, name: str = "in") -> int:
        """An input of the network; its symbols (``Size.of("H")``) are introduced.

        RuleError where it is too large.
        """
        if isinstance(type, FeatureMap):
            for size in (type.height, type.width):
                if isinstance(size, Size):
                    self.facts.introduce(size.symbol)
        settle(type, self.facts, self.limits)
        return self._put(Node(len(self.nodes), INPUT, (), type, name))

    def where(self, valid: Valid) -> None:
        """Restricts a symbol, as the text's ``where`` does; before the first step."""
        self.facts.declare(valid)

    def add(
        self, op: Op, inputs: Iterable[int], path: str = "", *, stands: str | None = None
    ) -> int:
        """A step, by its id. RuleError when a rule of the operator does not hold.

        Without a ``path`` it takes the next free position of the network's own namespace, as an
        unlabelled step of a text does. A path that was used before shares the module of its first
        step; ``stands`` is then the namespace in which it is applied, by default the network.
        Steps of one namespace stand together.
        """
        wires = tuple(inputs)
        if len(self.nodes) >= self.limits.nodes:
            raise RuleError(f"more than {self.limits.nodes:,} layers", rule="large")
        found = infer(op, self.types(wires), self.facts, self.limits, len(self.nodes))
        path = path or self._free("")
        if not op.join:
            if path in self._owners:
                stands = stands or ""
            else:
                self._owners.add(path)
                stands = None
        return self._put(Node(len(self.nodes), op, wires, found, path, stands=stands))

    def types(self, ids: Sequence[int]) -> list[Type]:
        return [self.nodes[i].type for i in ids]

    def graph(self, outputs: Sequence[Output]) -> Graph:
        """The whole, verified. RuleError when names or namespaces do not fit together."""
        graph = Graph(self.name, self.nodes, tuple(outputs), self.facts)
        try:
            verify(graph, self.limits)
        except InternalError as problem:
            raise RuleError(str(problem)) from problem
        return graph

    def _put(self, node: Node) -> int:
        self.nodes[node.id] = node
        return node.id

    def _free(self, space: str) -> str:
        for number in count(self._counts.get(space, 0)):
            if str(number) not in self._owners:
                self._counts[space] = number + 1
                return str(number)
        raise AssertionError  # count never ends
