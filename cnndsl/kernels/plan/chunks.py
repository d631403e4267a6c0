"""Depth first through the batch, as far as it pays: regions whose values stay in the L2 cache.

A region runs for a few samples at a time. What its steps hand to each other is then read from
L2, not from memory; its weights too, from the second chunk on. More launches pay for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cnndsl.graph.cost import shape
from cnndsl.kernels.plan.device import Device
from cnndsl.kernels.plan.network import Planned, Region
from cnndsl.kernels.plan.storage import Storage, Storages, peak
from cnndsl.kernels.problem import Problem

SIZES = (8, 16, 32, 64)
"""Samples per chunk that are tried."""
MOST_CUTS = 12
"""A region reaches over so many narrow places at most."""
ROOM = 0.5
"""The share of L2 that a region may fill: the rest is for what streams through."""
GAIN = 0.95
"""A region in chunks must promise this share of the time or less: the model is a guess."""


def regions(
    batch: int,
    sizes: Sequence[int],
    planned: Callable[[int], Sequence[Planned]],
    storages: Storages,
    device: Device,
) -> list[Region]:
    """The cheapest sequence, by dynamic programming over the places where one value is alive.

    ``planned``: the steps of the flow as planned for so many samples at a time, the whole
    ``batch`` or one of ``sizes``.
    """
    steps = planned(batch)
    cuts = narrow_places(storages.all, len(steps))
    search = _Search(batch, sizes, planned, storages, device)
    best: list[tuple[float, tuple[Region, ...]]] = [(0.0, ())]
    for number, last in enumerate(cuts[1:], 1):
        ends = (
            (best[start][0] + region.seconds, (*best[start][1], region))
            for start in range(max(0, number - MOST_CUTS), number)
            for region in search.regions(cuts[start], last)
        )
        best.append(min(ends, key=lambda end: (end[0], len(end[1]))))
    return _joined(best[-1][1], batch)


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


@dataclass
class _Search:
    batch: int
    sizes: Sequence[int]
    planned: Callable[[int], Sequence[Planned]]
    storages: Storages
    device: Device

    def regions(self, first: int, last: int) -> Iterator[Region]:
        """These steps for the whole batch, and for the largest chunk that fits into L2."""
        part = self.planned(self.batch)[first:last]
        whole = sum(step.seconds(self.device) for step in part)
        yield Region(first, last, self.batch, whole)
        chunk = self._chunk(first, last, part) if self.sizes else None
        if chunk is None:
            return
        # What the cache may save at best; a plan for chunks is made only where that is enough.
        kernels = sum(step.cost.kernels for step in part)
        more = (self.batch // chunk - 1) * kernels * self.device.interval
        if self._seconds(first, last, part, 1) + more < GAIN * whole:
            count = self.batch // chunk
            seconds = self._seconds(first, last, self.planned(chunk)[first:last], count)
            if seconds < GAIN * whole:
                yield Region(first, last, chunk, seconds)

    def _chunk(self, first: int, last: int, part: Sequence[Planned]) -> int | None:
        problems = [piece.segment.problem for step in part for piece in step.pieces]
        if not problems:
            return None
        here = [s for s in self.storages.all if s.first < last and s.last >= first]
        sample = peak(here, first, last) * problems[0].dtype.itemsize
        room = ROOM * self.device.l2 - sum(map(_weights, problems))
        return max((size for size in self.sizes if size * sample <= room), default=None)

    def _seconds(self, first: int, last: int, part: Sequence[Planned], count: int) -> float:
        """Of ``count`` runs of the region, its values and from the second on its weights in L2."""
        total = 0.0
        for step in part:
            moved = step.cost.bytes
            if not moved:
                continue
            kept = self._kept(step, first, last)
            weights = sum(_weights(piece.segment.problem) for piece in step.pieces)
            share = min((kept + weights * (count - 1) / count) / moved, 1.0)
            # The roofline says what share of the time the cache saves, also of a measured one.
            gain = step.cost.seconds(self.device, share) / step.cost.seconds(self.device)
            total += count * gain * step.seconds(self.device)
        return total

    def _kept(self, planned: Planned, first: int, last: int) -> int:
        """Bytes of its operands and result that no step outside the region touches."""
        problem = planned.pieces[0].segment.problem
        total = 0
        for one in (*planned.step.inputs, planned.step):
            home = self.storages.homes[one.id].storage
            if not home.lasting and home.first >= first and home.last < last:
                total += math.prod(shape(one.type))
        return total * problem.batch * problem.dtype.itemsize


def _weights(problem: Problem) -> int:
    """Bytes."""
    weights = problem.chain.weights(*problem.inputs)
    return sum(math.prod(weight.shape) for weight in weights) * problem.dtype.itemsize


def _joined(found: Sequence[Region], batch: int) -> list[Region]:
    """Neighbours that take the whole batch are one."""
    joined: list[Region] = []
    for region in found:
        before = joined[-1] if joined else None
        if before is not None and before.chunk == region.chunk == batch:
            seconds = before.seconds + region.seconds
            joined[-1] = Region(before.first, region.last, batch, seconds)
        else:
            joined.append(region)
    return joined
