"""What a rewrite is, and the record of what rewrites did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from cnndsl.graph.model import Node as Origin
from cnndsl.passes.flow import Flow, Step


class Fired(NamedTuple):
    """A rewrite happened; ``note`` says what in a few words of the field."""

    note: str


class Missed(NamedTuple):
    """A rewrite looked possible and was not made; ``why`` is a whole clause."""

    why: str


@dataclass(frozen=True)
class Event:
    """One line of the report: what a rewrite did, or why it did not."""

    rewrite: str
    fired: bool
    text: str
    origins: tuple[Origin, ...]
    macs: int = 0
    """Multiply-accumulates saved, for one sample at the flow's sizes."""
    bytes: int = 0
    """Memory traffic saved for one sample in float32: values written once and read once."""
    kernels: int = 0
    """Steps saved."""


@dataclass
class Trace:
    """Everything that happened to one flow, in order."""

    events: list[Event] = field(default_factory=list)
    _known: set[Event] = field(default_factory=set)

    def add(self, event: Event) -> None:
        """A refusal is told once, however often the step was looked at."""
        if event.fired or event not in self._known:
            self._known.add(event)
            self.events.append(event)

    @property
    def fired(self) -> list[Event]:
        return [event for event in self.events if event.fired]

    @property
    def missed(self) -> list[Event]:
        """Refusals that stayed: nothing fired there later under the same name."""
        done = {(event.rewrite, origin) for event in self.fired for origin in event.origins}
        return [
            event
            for event in self.events
            if not event.fired and not any((event.rewrite, o) in done for o in event.origins)
        ]


class Rewrite(ABC):
    """A local rewrite: looked at for each step of a flow, inputs first, until nothing changes.

    Subclasses are frozen dataclasses, one per file; their fields are their options and their
    docstring has the picture before and after. ``name`` is what reports and tests call it;
    ``after``: rewrites that must have run before; ``exact``: on small whole numbers (and
    without normalisation) not a bit may change.
    """

    name: ClassVar[str] = ""
    after: ClassVar[tuple[str, ...]] = ()
    exact: ClassVar[bool] = True

    @property
    def spreads(self) -> bool:
        """Whether NaN and infinities may reach more values than before: 0 times NaN is NaN."""
        return False

    @abstractmethod
    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        """Rewrites around ``step`` if it is the step to look at, all or nothing."""

    def run(self, flow: Flow, trace: Trace) -> bool:
        """Whether anything changed. Linear: each step is looked at again only when it changed."""
        changed = False
        # Sweeps and not one walk: what a rewrite makes may be what it looks for.
        for _ in range(_MOST_SWEEPS):
            if not self._sweep(flow, trace):
                break
            changed = True
        return changed

    def _sweep(self, flow: Flow, trace: Trace) -> bool:
        changed = False
        for step in list(flow):
            if step.id not in flow.steps:
                continue
            before = _Count(flow, step)
            found = self.visit(step, flow)
            if isinstance(found, Fired):
                changed = True
                trace.add(before.event(self.name, found.note))
            elif isinstance(found, Missed):
                trace.add(Event(self.name, False, found.why, step.origins))
        return changed


_MOST_SWEEPS = 64


class _Count:
    """Steps before a rewrite, to say what it saved. Edits are few, so differences are counted."""

    def __init__(self, flow: Flow, step: Step) -> None:
        self.flow, self.step = flow, step
        flow.log = []

    def event(self, name: str, note: str) -> Event:
        """What is gone and was there before, against what is there and was not."""
        made = {s.id: s for s, alive in self.flow.log if alive}
        gone = [s for s, alive in self.flow.log if not alive and s.id not in made]
        new = [s for s in made.values() if s.id in self.flow.steps]
        origins = dict.fromkeys(o for s in (*new, *gone, self.step) for o in s.origins)
        macs, bytes = (
            sum(count(s) for s in gone) - sum(count(s) for s in new)
            for count in (self.flow.macs, self._bytes)
        )
        return Event(name, True, note, tuple(origins), macs, bytes, len(gone) - len(new))

    def _bytes(self, step: Step) -> int:
        return 2 * 4 * self.flow.values(step)


class Pipeline(tuple[Rewrite, ...]):
    """Rewrites in the order in which they run; ValueError if an ``after`` is not kept."""

    def __new__(cls, rewrites: Sequence[Rewrite]) -> Pipeline:
        seen: set[str] = set()
        names = {rewrite.name for rewrite in rewrites}
        for rewrite in rewrites:
            late = [name for name in rewrite.after if name in names and name not in seen]
            if late:
                raise ValueError(f"`{rewrite.name}` comes after `{late[0]}`")
            seen.add(rewrite.name)
        return super().__new__(cls, tuple(rewrites))

    def run(self, flow: Flow) -> Trace:
        """Rewrites the flow and says what happened."""
        trace = Trace()
        for rewrite in self:
            rewrite.run(flow, trace)
        return trace
