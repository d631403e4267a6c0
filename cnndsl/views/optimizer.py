"""What the optimiser did to a network, by source line: what fired, what it saved, what it left.

Counted for one sample at the sizes for which the cost rules decide. MACs are those of
convolutions and linear layers; traffic is every value between two steps, written once and read
once, in float32; a kernel is one step of the rewritten graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cnndsl.diagnostics.display import counted, escape
from cnndsl.graph.model import Graph, Node
from cnndsl.passes.base import Event, Fired, Missed, Pipeline, Rewrite, Trace
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import CONVOLUTIONS
from cnndsl.passes.pipeline import ALGEBRA, FUSION, GPU, TILES, TILES_4X1, TILES_APART, WINOGRAD
from cnndsl.views.facts import at_text
from cnndsl.views.units import memory, scaled

SCHEMA = "cnndsl.optimizer/1"
FUSIONS: Mapping[str, Pipeline] = {
    "torch": FUSION,
    "onnxruntime-winograd": TILES_4X1,
    "onnxruntime-winograd-squares": TILES,
    "openvino-winograd": TILES_APART,
    "triton": GPU,
}
"""By engine, the rewrites that it wants beyond those for all; the others fuse for themselves."""
_WIDEST = 72  # columns of a source line that is shown


class Place(NamedTuple):
    """A line of a file; line 0 of "" where a graph was made without a text."""

    file: str
    line: int
    text: str


class Size(NamedTuple):
    """How large a rewritten graph is, for one sample."""

    macs: int
    kernels: int


class Alone(NamedTuple):
    """A convolution or linear layer that nothing was fused with, and why."""

    step: Step
    why: str

    @property
    def origins(self) -> Sequence[Node]:
        """The convolutions of the text, without what was folded into them."""
        own = [node for node in self.step.origins if isinstance(node.op, CONVOLUTIONS)]
        return own or self.step.origins


class Saved(NamedTuple):
    """Negative where a rewrite pays with one for another."""

    macs: int
    bytes: int
    kernels: int

    def __str__(self) -> str:
        parts = [
            (self.macs, scaled(abs(self.macs), "MAC")),
            (self.bytes, memory(abs(self.bytes))),
            (self.kernels, counted(abs(self.kernels), "kernel")),
        ]
        saves = ", ".join(text for value, text in parts if value > 0)
        costs = ", ".join(text for value, text in parts if value < 0)
        return "; ".join(f"{k} {v}" for k, v in (("saves", saves), ("costs", costs)) if v)


@dataclass(frozen=True)
class Explanation:
    """The report of one net. ``alone`` is None for an engine that fuses for itself."""

    graph: Graph
    engine: str
    sizes: Mapping[str, int]
    events: tuple[Event, ...]
    before: Size
    after: Size
    alone: tuple[Alone, ...] | None

    @property
    def saved(self) -> Saved:
        return _saved(self.events)

    @property
    def counts(self) -> dict[str, int]:
        """How often each rewrite fired, in the order in which they run."""
        found: dict[str, int] = {}
        for event in self.events:
            if event.fired:
                found[event.rewrite] = found.get(event.rewrite, 0) + 1
        return found

    def text(self) -> str:
        """For people: equal events of one line once, with their number."""
        lines = [self._head(), *self._by_line(), *self._left_alone(), *self._totals()]
        return "\n".join(escape(line) for line in lines)

    def to_json(self) -> dict[str, Any]:
        """Every event; ``cnndsl/schemas/optimizer-1.json`` describes it."""
        return {
            "schema": SCHEMA,
            "net": self.graph.name,
            "engine": self.engine,
            "at": dict(self.sizes),
            "macs": {"before": self.before.macs, "after": self.after.macs},
            "kernels": {"before": self.before.kernels, "after": self.after.kernels},
            "bytes_saved": self.saved.bytes,
            "rewrites": self.counts,
            "events": [_event_json(event) for event in self.events],
            "unfused": None if self.alone is None else [_alone_json(one) for one in self.alone],
        }

    # --- sections -------------------------------------------------------------------------

    def _head(self) -> str:
        at = at_text(self.graph, self.sizes)
        before, after, bytes = self.before, self.after, self.saved.bytes
        return (
            f"{self.graph.name}{f' at {at}' if at else ''}: {scaled(before.macs, 'MAC')} -> "
            f"{scaled(after.macs, 'MAC')}, {before.kernels} -> {after.kernels} kernels, "
            f"{memory(abs(bytes))} {'more' if bytes < 0 else 'less'} traffic"
        )

    def _by_line(self) -> Iterator[str]:
        places: dict[Place, dict[tuple[str, bool, str], list[Event]]] = {}
        for event in self.events:
            rows = places.setdefault(_place(event.origins), {})
            rows.setdefault((event.rewrite, event.fired, event.text), []).append(event)
        wide = max((len(event.rewrite) for event in self.events), default=0)
        for place in sorted(places):
            yield _heading(place)
            for (name, fired, said), events in places[place].items():
                saved = str(_saved(events))
                text = said if fired else f"not done: {said}"
                tail = f"; {saved}" if saved else ""
                where = _paths([event.origins for event in events])
                yield f"{len(events):>5} x {name:<{wide}}  {text}{tail}{where}"

    def _left_alone(self) -> Iterator[str]:
        if self.alone is None:
            yield f"what runs as one kernel: {_SILENT.get(self.engine, _OWN)}"
            return
        rows: dict[tuple[Place, str], list[Alone]] = {}
        for one in self.alone:
            rows.setdefault((_place(one.origins), one.why), []).append(one)
        if rows:
            yield "convolutions and linear layers that run alone:"
        for (place, why), those in sorted(rows.items(), key=lambda row: row[0]):
            where = _paths([one.origins for one in those])
            yield f"{len(those):>5} x {_at(place)}: {why}{where}"

    def _totals(self) -> Iterator[str]:
        fired = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        yield f"rewrites: {fired or 'none fired'}"
        yield "MACs and traffic of one sample in float32; a kernel is one step of the graph"


_OWN = "the engine fuses for itself and does not say"
_SILENT = {"auto": "known when the first run has chosen the engine"}


def explain(graph: Graph, engine: str = "torch") -> Explanation:
    """Rewrites a copy of the network as ``compile`` does and says what happened. Pure; no torch."""
    flow = Flow(graph)
    before = _size(flow)
    events = _told(ALGEBRA.run(flow))
    alone, fusion = None, FUSIONS.get(engine)
    if fusion in WINOGRAD:  # its engine fuses for itself, and compiles for one size
        flow = flow.at(flow.sizes)
        events += _told(fusion.run(flow))
    elif fusion is not None:
        events += fusion.run(flow).fired  # what did not join is told convolution by convolution
        alone = tuple(Alone(step, _why(step, flow, fusion)) for step in flow if _is_bare(step))
    return Explanation(graph, engine, flow.sizes, tuple(events), before, _size(flow), alone)


def _told(trace: Trace) -> list[Event]:
    return [*trace.fired, *trace.missed]


def _size(flow: Flow) -> Size:
    return Size(flow.total_macs(), len(flow) - len(flow.inputs))


def _is_bare(step: Step) -> bool:
    return isinstance(step.op, CONVOLUTIONS)


def _why(step: Step, flow: Flow, fusion: Sequence[Rewrite]) -> str:
    """Asked when all is done, so the reason is of the graph as it is."""
    for rewrite in fusion:
        found: Fired | Missed | None = rewrite.visit(step, flow)
        if isinstance(found, Missed):
            return found.why
    return "nothing that follows can join it"


# --- places ---------------------------------------------------------------------------------


def _place(origins: Sequence[Node]) -> Place:
    span = next((node.span for node in origins if node.span is not None), None)
    if span is None:
        return Place("", 0, "")
    return Place(span.source.name, span.line, span.source.line(span.line).strip())


def _at(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.line else "the inputs"


def _heading(place: Place) -> str:
    return f"{_at(place)}  {escape(place.text, _WIDEST)}".rstrip()


def _paths(groups: Sequence[Sequence[Node]]) -> str:
    """``  (layer1.0.conv1 … layer4.2.conv1)``: the first and the last."""
    firsts = [path for group in groups for path in _named(group)[:1]]
    ends = dict.fromkeys((*firsts[:1], *firsts[-1:]))
    return f"  ({' … '.join(ends)})" if ends else ""


def _named(origins: Sequence[Node]) -> list[str]:
    return list(dict.fromkeys(node.path for node in origins if node.path))


# --- numbers --------------------------------------------------------------------------------


def _saved(events: Sequence[Event]) -> Saved:
    return Saved(
        sum(event.macs for event in events),
        sum(event.bytes for event in events),
        sum(event.kernels for event in events),
    )


def _where_json(origins: Sequence[Node]) -> dict[str, Any]:
    place = _place(origins)
    return {"file": place.file or None, "line": place.line or None, "paths": _named(origins)}


def _event_json(event: Event) -> dict[str, Any]:
    saved = {"macs": event.macs, "bytes": event.bytes, "kernels": event.kernels}
    return {
        "rewrite": event.rewrite,
        "fired": event.fired,
        "text": event.text,
        **_where_json(event.origins),
        "saved": saved,
    }


def _alone_json(one: Alone) -> dict[str, Any]:
    return {"operator": one.step.op.text(), **_where_json(one.origins), "why": one.why}
