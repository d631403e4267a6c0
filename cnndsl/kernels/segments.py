"""A chain as kernels take it: the longest runs of its links that one kernel computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cnndsl.kernels.problem import Problem
from cnndsl.passes.ops import RUNNING, Chain, Link, weights_of_link


class Segment(NamedTuple):
    """Consecutive links as a problem of their own.

    ``slots``: which input of the whole each of its inputs is, or ``RUNNING``, the value of the
    segment before; ``first``: the number of its first link in the whole.
    """

    problem: Problem
    slots: tuple[int, ...]
    first: int

    def weights(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The segment's own out of the whole's, under the names of its links."""
        return {
            f"{index}.{name}": value
            for index in range(len(self.problem.links))
            for name, value in weights_of_link(weights, self.first + index).items()
        }


def segments(problem: Problem, takes: Callable[[Problem], bool]) -> Iterator[Segment]:
    """The whole, cut where it must be: each part as long as ``takes`` allows, one link at least.

    A part of one link is given even if nothing takes it.
    """
    first, end = 0, len(problem.links)
    while first < end:
        cuts = (segment(problem, first, last) for last in range(end, first + 1, -1))
        found = next((cut for cut in cuts if takes(cut.problem)), None)
        found = found or segment(problem, first, first + 1)
        yield found
        first += len(found.problem.links)


def segment(problem: Problem, first: int, last: int) -> Segment:
    """Links ``first`` to ``last``, the latter left out."""
    links = problem.links[first:last]
    slots = list(dict.fromkeys(_outer(links)))
    types = [problem.results[first - 1] if s == RUNNING else problem.inputs[s] for s in slots]
    moved = [
        Link(link.op, tuple(_inner(slot, index, slots) for slot in link.slots))
        for index, link in enumerate(links)
    ]
    part = Problem(Chain(tuple(moved)), tuple(types), problem.batch, problem.dtype)
    return Segment(part, tuple(slots), first)


def _outer(links: Sequence[Link]) -> Iterator[int]:
    """What the links read that none of them computes; the first link's operands first."""
    for index, link in enumerate(links):
        yield from (slot for slot in link.slots if index == 0 or slot != RUNNING)


def _inner(slot: int, index: int, slots: Sequence[int]) -> int:
    return RUNNING if index and slot == RUNNING else slots.index(slot)
