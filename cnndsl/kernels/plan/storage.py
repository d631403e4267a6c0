"""Where values lie and for how long: whole values, and buffers that hold several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cnndsl.graph.cost import shape
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow, Step


@dataclass
class Storage:
    """``size``: of one sample, as ``(C, H, W)`` or ``(C,)``; ``first``, ``last``: the steps, by
    position, between which it is needed; an input is there before step 0."""

    size: tuple[int, ...]
    first: int
    last: int
    written: list[int] = field(default_factory=list)
    """Positions of the steps that write into it."""
    read: list[int] = field(default_factory=list)
    """Positions of the steps that read from it."""
    lasting: bool = False
    """Whether it is an input or a result."""

    @property
    def numbers(self) -> int:
        return math.prod(self.size)

    def extend(self, position: int) -> None:
        self.first, self.last = min(self.first, position), max(self.last, position)


class Lies(NamedTuple):
    """Channels ``offset .. offset + channels`` of a storage."""

    storage: Storage
    offset: int
    channels: int


@dataclass
class Storages:
    """``homes``: where the value of a step is read, by its id; ``writes``: everywhere that it is
    written to, for an input where it is copied to; nothing for a view."""

    all: list[Storage]
    homes: dict[int, Lies]
    writes: dict[int, tuple[Lies, ...]]

    @staticmethod
    def of(flow: Flow, buffers: Buffers) -> Storages:
        """One for each buffer, one for each value that lies in none. All sizes are numbers."""
        steps = [step for step in flow if step.inputs]
        found = Storages([], {}, {})
        by_buffer: dict[int, Storage] = {}
        for step in (*flow.inputs, *steps):
            found._place(step, buffers, by_buffer)
        for step in flow.inputs:
            for lies in (found.homes[step.id], *found.writes[step.id]):
                lies.storage.extend(-1)
            found.homes[step.id].storage.lasting = True
        for position, step in enumerate(steps):
            found._touch(step, position)
        for step in flow.results:
            found.homes[step.id].storage.extend(len(steps))
            found.homes[step.id].storage.lasting = True
        return found

    def _place(self, step: Step, buffers: Buffers, known: dict[int, Storage]) -> None:
        size = shape(step.type)
        view = buffers.views.get(step.id)
        places = buffers.writes.get(step.id, ()) if view is None else (view,)
        held = []
        for place in places:
            if place.buffer not in known:
                known[place.buffer] = self._new((buffers.channels[place.buffer], *size[1:]))
            held.append(Lies(known[place.buffer], place.offset, place.channels))
        own: tuple[Lies, ...] = ()
        if not held or not step.inputs:  # an input comes from outside: a buffer has a copy
            own = (Lies(self._new(size), 0, size[0]),)
        self.homes[step.id] = (*own, *held)[0]
        written = held if held or not step.inputs else own
        self.writes[step.id] = () if view is not None else tuple(written)

    def _new(self, size: tuple[int, ...]) -> Storage:
        storage = Storage(size, 1 << 60, -1)
        self.all.append(storage)
        return storage

    def _touch(self, step: Step, position: int) -> None:
        for lies in self.writes[step.id]:
            lies.storage.written.append(position)
            lies.storage.extend(position)
        if not self.writes[step.id]:  # a view reads nothing, its readers do
            return
        for source in step.inputs:
            storage = self.homes[source.id].storage
            storage.read.append(position)
            storage.extend(position)


def peak(storages: Sequence[Storage], first: int, last: int) -> int:
    """The most numbers of one sample that are needed at once by steps ``first`` to ``last``."""
    there = [s for s in storages if s.first < last and s.last >= first]
    return max(
        (sum(s.numbers for s in there if s.first <= at <= s.last) for at in range(first, last)),
        default=0,
    )
