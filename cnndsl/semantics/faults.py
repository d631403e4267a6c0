"""What broke a rule, as a repair needs to know it. Diagnostics carry these as their cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cnndsl.graph.model import Frame, Node
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.types import Type
from cnndsl.source import Span

_TRAIL = 32  # steps before a fault that may matter to it


class RuleFault(NamedTuple):
    """An operator's rule that does not hold.

    ``values`` are the parameters as far as known, ``places`` where the text gives them;
    ``before`` are the steps that lead to it, empty where the operator could not be made.
    """

    error: RuleError
    op: type[Op] | None
    values: Mapping[str, Any]
    places: Mapping[str, Span]
    span: Span
    before: tuple[Node, ...] = ()
    frame: Frame | None = None

    @property
    def place(self) -> Span:
        """The parameter at fault, or the whole step."""
        return self.places.get(self.error.param or "", self.span)


class ClaimFault(NamedTuple):
    """An ascription that is wrong: what it claims, and the steps that lead to it."""

    claimed: tuple[Any, ...]
    believed: Type
    """The type that what follows is measured by."""
    before: tuple[Node, ...]


def trail(nodes: Mapping[int, Node], last: int) -> tuple[Node, ...]:
    """The steps that lead to a value along first inputs, in order."""
    steps = [nodes[last]]
    while steps[-1].inputs and len(steps) < _TRAIL:
        steps.append(nodes[steps[-1].inputs[0]])
    return tuple(reversed(steps))
