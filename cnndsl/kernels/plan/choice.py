"""The cheapest way through one step: where its chain is cut, and what computes each part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.graph.cost import shape
from cnndsl.kernels.frame import Frame
from cnndsl.kernels.plan.cost import NOTHING, Cost, Way, Work, cost_of, costs, guesses, ways
from cnndsl.kernels.plan.device import Device
from cnndsl.kernels.plan.vendor import ATEN
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.segments import Segment, segment

Measured = Callable[[Problem, Sequence[Way]], dict[Way, float]]
"""Seconds of the ways that were measured on this kind of device; wrong ones are infinite."""


Known = Callable[[str], Mapping[str, float]]
"""Seconds of steps that were timed as one, by the name of the steps and that of the variant."""
GAIN = 0.95
"""What needs more launches must promise this share of the time or less: the model is a guess, and
a measurement is never quite the same twice."""
CLOSE, MANY = 1.25, 8
"""Within this factor of the best, two ways may change places when the steps around them run."""


def nothing_measured(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
    return {}


def nothing_known(name: str) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True)
class Option:
    """A way for a problem. ``measured``: seconds on the device, if it ran there."""

    way: Way
    cost: Cost
    measured: float | None = None

    def seconds(self, device: Device) -> float:
        return self.cost.seconds(device) if self.measured is None else self.measured


@dataclass(frozen=True)
class Piece:
    """Consecutive links of a step, what computes them, and copies into ``copies`` more places.

    ``outside``: as ``Ends`` has it.
    """

    segment: Segment
    option: Option
    copies: Cost = NOTHING
    outside: bool = False

    @property
    def way(self) -> Way:
        return self.option.way

    @property
    def frame(self) -> Frame | None:
        """How its first input must lie, if not as any other."""
        return self.way.frame(self.segment.problem)

    @property
    def cost(self) -> Cost:
        return self.option.cost + self.copies

    def seconds(self, device: Device) -> float:
        return self.option.seconds(device) + self.copies.seconds(device)


class Ends(NamedTuple):
    """What surrounds a step. ``places``: into how many slices of wider maps the result belongs; a
    kernel of ours writes the first of them itself. ``outside``: whether its first input is one
    of the network that only its first link reads, so that it may be copied in as a kernel wants.
    """

    places: int = 0
    outside: bool = False


INSIDE = Ends()


class Chooser:
    """Remembers what each problem costs: networks repeat themselves.

    ``measured``: of problems alone; ``known``: of steps as they follow each other.
    """

    def __init__(
        self, device: Device, measured: Measured = nothing_measured, known: Known = nothing_known
    ) -> None:
        self.device, self.measured, self.known = device, measured, known
        self._options: dict[tuple[Problem, bool], list[Option]] = {}

    def options(self, problem: Problem, outside: bool = False) -> list[Option]:
        """Those worth a choice: where any was measured, nothing else is; none where all that were
        are wrong. A way that nothing is known of counts by the roofline. ``outside``: as ``Ends``
        has it.
        """
        if (problem, outside) not in self._options:
            everything = ways(problem, self.device)
            found = [way for way in everything if outside or way.frame(problem) is None]
            known = self.measured(problem, found)
            taken = [way for way in found if known.get(way, 0.0) < float("inf")]
            right = [way for way in taken if way in known] or guesses(taken)
            pairs = zip(right, costs(problem, right, self.device), strict=True)
            options = [Option(way, cost, known.get(way)) for way, cost in pairs]
            self._options[problem, outside] = options
        return self._options[problem, outside]

    def pieces(self, problem: Problem, ends: Ends = INSIDE) -> tuple[Piece, ...]:
        """The cheapest cut of the chain, by dynamic programming over its links; PyTorch's
        operators where everything else is known to be wrong."""
        whole = self._piece(segment(problem, 0, len(problem.links)), ends)
        if whole is not None and whole.seconds(self.device) <= self._least(problem, 2):
            return (whole,)
        best: list[tuple[float, tuple[Piece, ...]]] = [(0.0, ())]
        for last in range(1, len(problem.links) + 1):
            found = (
                (best[first][0] + piece.seconds(self.device), (*best[first][1], piece))
                for first in range(last)
                if (piece := self._piece(*self._cut(problem, first, last, ends))) is not None
            )
            best.append(min(found, key=lambda end: end[0], default=(float("inf"), ())))
        seconds, pieces = best[-1]
        if whole is not None and _costs_launches(pieces, whole):
            pieces = pieces if seconds <= GAIN * whole.seconds(self.device) else (whole,)
        return pieces if seconds < float("inf") else self.plain(problem, ends)

    def _least(self, problem: Problem, kernels: int) -> float:
        """Seconds below which no cut into so many kernels can be."""
        computed = 2 * problem.macs / self.device.flops[problem.dtype]
        moved = problem.bytes / self.device.bandwidth
        return max(computed, moved) + kernels * self.device.interval

    def _cut(self, problem: Problem, first: int, last: int, ends: Ends) -> tuple[Segment, Ends]:
        """Links ``first`` to ``last``, and which of the ends are theirs, too."""
        places = ends.places if last == len(problem.links) else 0
        return segment(problem, first, last), Ends(places, ends.outside and not first)

    def _piece(self, cut: Segment, ends: Ends) -> Piece | None:
        pieces = self._all(cut, ends)
        return min(pieces, key=lambda piece: piece.seconds(self.device), default=None)

    def _all(self, cut: Segment, ends: Ends) -> list[Piece]:
        places, outside = ends
        return [
            Piece(cut, option, copies(cut.problem, option.way.copies(places), self.device), outside)
            for option in self.options(cut.problem, outside)
        ]

    # --- beside the cheapest --------------------------------------------------------------------

    def alternatives(self, problem: Problem, ends: Ends = INSIDE) -> list[tuple[Piece, ...]]:
        """The cheapest, then what is close: of each cut the best by each maker of its parts."""
        best = self.pieces(problem, ends)
        cuts: list[list[tuple[Piece, ...]]] = [[()]]
        for last in range(1, len(problem.links) + 1):
            found = (
                (*before, piece)
                for first in range(last)
                for piece in self._makers(*self._cut(problem, first, last, ends))
                for before in cuts[first]
            )
            cuts.append(sorted(found, key=self.seconds)[:MANY])
        most = CLOSE * self.seconds(best)
        return [best, *(p for p in cuts[-1] if p != best and self.seconds(p) <= most)]

    def _makers(self, cut: Segment, ends: Ends) -> Iterator[Piece]:
        seen = set()
        for piece in sorted(self._all(cut, ends), key=lambda piece: piece.seconds(self.device)):
            if piece.way.maker not in seen:
                seen.add(piece.way.maker)
                yield piece

    def seconds(self, pieces: Sequence[Piece]) -> float:
        """One after another."""
        return sum(piece.seconds(self.device) for piece in pieces)

    def plain(self, problem: Problem, ends: Ends = INSIDE) -> tuple[Piece, ...]:
        """By PyTorch's operators."""
        cut, way = segment(problem, 0, len(problem.links)), Way(ATEN)
        option = Option(way, cost_of(way, problem, self.device))
        return (Piece(cut, option, copies(problem, way.copies(ends.places), self.device)),)


def _costs_launches(pieces: Sequence[Piece], whole: Piece) -> bool:
    """Whether there are more of them than of the whole, and all is guessed."""
    guessed = all(piece.option.measured is None for piece in (whole, *pieces))
    return guessed and sum(piece.cost.kernels for piece in pieces) > whole.cost.kernels


def copies(problem: Problem, count: int, device: Device) -> Cost:
    """Writing its result into as many slices once more."""
    size = problem.batch * math.prod(shape(problem.output)) * problem.dtype.itemsize
    return Cost((Work(2 * size, 0.0),) * count)
