"""Depth first through the batch, as far as it pays: regions whose values stay in the L2 cache.

A region runs for a few samples at a time. What its steps hand to each other is then read from
L2, not from memory; its weights too, from the second chunk on. More launches pay for that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.graph.cost import shape
from cnndsl.kernels.plan.choice import GAIN, Piece
from cnndsl.kernels.plan.network import Planned, Region, Variant
from cnndsl.kernels.plan.outlook import Outlook
from cnndsl.kernels.plan.storage import Storage, peak
from cnndsl.kernels.problem import Problem

SIZES = (8, 16, 32, 64)
"""Samples per chunk that are tried."""
MOST_CUTS = 12
"""A region reaches over so many narrow places at most."""
ROOM = 0.5
"""The share of L2 that a region may fill: the rest is for what streams through."""
TRIED = 2
"""Variants of each size of chunk that are measured."""


class Taken(NamedTuple):
    """A region and what runs in it."""

    region: Region
    steps: tuple[Planned, ...]


def regions(outlook: Outlook, sizes: Sequence[int], gain: float = GAIN) -> list[Taken]:
    """The cheapest sequence, by dynamic programming over the places where one value is alive.

    ``sizes``: how many samples at a time are tried. Between two such places next to each other
    counts what was measured of all the steps there, else the sum of what each of them takes;
    of chunks what was measured, and the model only where nothing was.
    """
    search = Search(outlook, sizes, gain)
    parts = [search.whole(*ends) for ends in search.ends]
    best: list[tuple[float, tuple[Taken, ...]]] = [(0.0, ())]
    for number in range(1, len(parts) + 1):
        ends = (
            (best[start][0] + taken.region.seconds, (*best[start][1], taken))
            for start in range(max(0, number - MOST_CUTS), number)
            for taken in search.ways(parts[start:number])
        )
        best.append(min(ends, key=lambda end: (end[0], len(end[1]))))
    return _joined(best[-1][1], outlook.batch)


def narrow_places(storages: Sequence[Storage], steps: int) -> list[int]:
    """Positions from 0 to ``steps`` before which at most one storage is in use, both ends too."""
    inside = (
        at
        for at in range(1, steps)
        if sum(s.first < at <= s.last for s in storages if not _passes_by(s, at)) <= 1
    )
    return [*dict.fromkeys((0, *inside, steps))]


def _passes_by(storage: Storage, at: int) -> bool:
    """Whether it waits for the end only: a result that nothing reads any more."""
    return storage.lasting and storage.first >= 0 and all(r < at for r in storage.read)


@dataclass(frozen=True)
class Search:
    outlook: Outlook
    sizes: Sequence[int]
    gain: float = GAIN

    @property
    def ends(self) -> list[tuple[int, int]]:
        """From each place where a single value is alive to the next."""
        places = narrow_places(self.outlook.storages.all, len(self.outlook.steps))
        return list(itertools.pairwise(places))

    def together(self, first: int, last: int) -> Variant:
        """The whole batch, between each two places as is known to be best."""
        inside = (ends for ends in self.ends if first <= ends[0] and ends[1] <= last)
        steps = (step for ends in inside for step in self.whole(*ends).steps)
        return Variant(self.outlook.batch, tuple(steps))

    def whole(self, first: int, last: int) -> Taken:
        """These steps for the whole batch, by the fastest variant that was measured."""
        batch, known = self.outlook.batch, self.outlook.known(first, last)
        right = measured(self.outlook.variants(first, last, batch), known) if known else {}
        if right:
            best = min(right, key=lambda variant: right[variant])
            region = Region(first, last, batch, right[best], True, _others(right, best))
            return Taken(region, best.steps)
        steps = self.outlook.planned(batch)[first:last]
        if known.get(Variant(batch, steps).name) == math.inf:
            steps = self.outlook.plain(first, last).steps
        return Taken(Region(first, last, batch, _sum(steps, self.outlook)), steps)

    def ways(self, parts: Sequence[Taken]) -> Iterator[Taken]:
        """To run what these parts do together: one as it is, any number of them in chunks."""
        if len(parts) == 1:
            yield parts[0]
        first, last = parts[0].region.first, parts[-1].region.last
        chunk = self.chunk(first, last) if self.sizes else None
        if chunk is None:
            return
        known = self.outlook.known(first, last)
        whole = Variant(self.outlook.batch, tuple(s for part in parts for s in part.steps))
        seconds = sum(part.region.seconds for part in parts)
        if known and whole.name in known:
            yield from self._measured(first, last, chunk, whole, known, seconds)
        elif not any(part.region.measured for part in parts):
            yield from self._guessed(first, last, chunk)

    def _measured(
        self, first: int, last: int, chunk: int, whole: Variant, known: Mapping[str, float],
        seconds: float,
    ) -> Iterator[Taken]:  # fmt: skip
        """The fastest chunks that were timed beside the whole batch, if they are faster."""
        right = measured(self.chunked(first, last, chunk), known)
        if not right or known[whole.name] == math.inf:
            return
        best = min(right, key=lambda variant: right[variant])
        share = right[best] / known[whole.name]
        if share < self.gain:
            # A share of the parts' own seconds: alone, each of them began with a cold cache.
            others = _others({**right, whole: known[whole.name]}, best)
            region = Region(first, last, best.chunk, share * seconds, True, others)
            yield Taken(region, best.steps)

    def _guessed(self, first: int, last: int, chunk: int) -> Iterator[Taken]:
        batch, device = self.outlook.batch, self.outlook.device
        part = self.outlook.planned(batch)[first:last]
        whole, count = _sum(part, self.outlook), batch // chunk
        # What the cache may save at best; a plan for chunks is made only where that is enough.
        more = (count - 1) * sum(step.cost.kernels for step in part) * device.interval
        if self._seconds(first, last, part, 1) + more < self.gain * whole:
            steps = self.outlook.planned(chunk)[first:last]
            seconds = self._seconds(first, last, steps, count)
            # What was measured is not held against what is guessed.
            alike = _all_measured(steps) or not _any_measured(part)
            if alike and seconds < self.gain * whole:
                yield Taken(Region(first, last, chunk, seconds), steps)

    def chunked(self, first: int, last: int, chunk: int) -> list[Variant]:
        """What is tried in chunks: of this size, and of the next smaller one."""
        sizes = [size for size in self.sizes if size <= chunk][-2:]
        return [v for size in sizes for v in self.outlook.variants(first, last, size)[:TRIED]]

    def chunk(self, first: int, last: int) -> int | None:
        """The largest that fits into L2."""
        part = self.outlook.planned(self.outlook.batch)[first:last]
        problems = [piece.segment.problem for piece in _pieces(part)]
        if not problems:
            return None
        here = [s for s in self.outlook.storages.all if s.first < last and s.last >= first]
        sample = peak(here, first, last) * problems[0].dtype.itemsize
        room = ROOM * self.outlook.device.l2 - sum(map(_weights, problems))
        return max((size for size in self.sizes if size * sample <= room), default=None)

    def _seconds(self, first: int, last: int, part: Sequence[Planned], count: int) -> float:
        """Of ``count`` runs of the region, its values and from the second on its weights in L2."""
        total, device = 0.0, self.outlook.device
        for step in part:
            moved = step.cost.bytes
            if not moved:
                continue
            kept = self._kept(step, first, last)
            weights = sum(_weights(piece.segment.problem) for piece in step.pieces)
            share = min((kept + weights * (count - 1) / count) / moved, 1.0)
            # The roofline says what share of the time the cache saves, also of a measured one.
            gain = step.cost.seconds(device, share) / step.cost.seconds(device)
            total += count * gain * step.seconds(device)
        return total

    def _kept(self, planned: Planned, first: int, last: int) -> int:
        """Bytes of its operands and result that no step outside the region touches."""
        problem = planned.pieces[0].segment.problem
        total = 0
        for one in (*planned.step.inputs, planned.step):
            home = self.outlook.storages.homes[one.id].storage
            if not home.lasting and home.first >= first and home.last < last:
                total += math.prod(shape(one.type))
        return total * problem.batch * problem.dtype.itemsize


def _weights(problem: Problem) -> int:
    """Bytes."""
    weights = problem.chain.weights(*problem.inputs)
    return sum(math.prod(weight.shape) for weight in weights) * problem.dtype.itemsize


def measured(variants: Sequence[Variant], known: Mapping[str, float]) -> dict[Variant, float]:
    """Those that were, and gave right numbers."""
    found = {variant: known.get(variant.name, math.inf) for variant in variants}
    return {variant: seconds for variant, seconds in found.items() if seconds < math.inf}


def _others(times: Mapping[Variant, float], best: Variant) -> tuple[tuple[Variant, float], ...]:
    others = (pair for pair in times.items() if pair[0] is not best)
    return tuple(sorted(others, key=lambda pair: pair[1]))


def _sum(steps: Sequence[Planned], outlook: Outlook) -> float:
    return sum(step.seconds(outlook.device) for step in steps)


def _pieces(steps: Sequence[Planned]) -> Iterator[Piece]:
    return (piece for step in steps for piece in step.pieces)


def _all_measured(steps: Sequence[Planned]) -> bool:
    return all(piece.option.measured is not None for piece in _pieces(steps))


def _any_measured(steps: Sequence[Planned]) -> bool:
    return any(piece.option.measured is not None for piece in _pieces(steps))


def _joined(found: Sequence[Taken], batch: int) -> list[Taken]:
    """Neighbours that take the whole batch are one, where nothing is known of them as one."""
    joined: list[Taken] = []
    for taken in found:
        region, before = taken.region, joined[-1].region if joined else None
        alike = before is not None and before.chunk == region.chunk == batch
        if before is not None and alike and not (before.measured or region.measured):
            seconds = before.seconds + region.seconds
            steps = (*joined[-1].steps, *taken.steps)
            joined[-1] = Taken(Region(before.first, region.last, batch, seconds), steps)
        else:
            joined.append(taken)
    return joined
