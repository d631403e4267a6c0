"""What the sizes are if a wrong ascription was itself the mistake.

A wrong ascription is believed, so that what follows is measured by what its author had in
mind. It may also be the one thing that is wrong: then what follows fits what is there. An
error behind it is another mistake only if it is one either way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import infer
from cnndsl.graph.model import Node
from cnndsl.limits import Limits
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.types import UNKNOWN, Type


class Doubt:
    """The types of the values behind wrong ascriptions, as if these had not been written."""

    def __init__(self, nodes: Mapping[int, Node], facts: Facts, limits: Limits) -> None:
        self._nodes, self._facts, self._limits = nodes, facts, limits
        self._types: dict[int, Type] = {}
        self._next: int | None = None

    def begin(self, wire: int) -> None:
        """An ascription of this value was wrong: behind it there are two views."""
        self._next = wire if self._next is None else self._next

    def types(self, ids: Sequence[int]) -> tuple[Type, ...] | None:
        """The other view of these values; None where it is the same."""
        if self._next is None:
            return None
        while self._next <= max(ids):
            self._look_at(self._nodes[self._next])
            self._next += 1
        return self._seen(ids) if any(i in self._types for i in ids) else None

    def forgives(self, op: Op, ids: Sequence[int]) -> bool:
        """Whether an operator's rule holds in the other view, if there is one."""
        xs = self.types(ids)
        return xs is not None and self._inferred(op, xs, ids[0]) is not None

    def _look_at(self, node: Node) -> None:
        xs = self._seen(node.inputs)
        if xs and node.op.name == "failed":  # as if no ascription stood here
            self._types[node.id] = xs[0]
        elif any(i in self._types for i in node.inputs):
            self._types[node.id] = self._inferred(node.op, xs, node.id) or UNKNOWN

    def _inferred(self, op: Op, xs: tuple[Type, ...], node: int) -> Type | None:
        try:
            return infer(op, xs, self._facts, self._limits, node)
        except RuleError:
            return None

    def _seen(self, ids: Sequence[int]) -> tuple[Type, ...]:
        return tuple(self._types.get(i, self._nodes[i].type) for i in ids)
