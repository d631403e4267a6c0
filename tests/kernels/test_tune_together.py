"""Steps that are timed as one: where the sum of single times misleads, and what is believed.

Nothing here needs a GPU. PyTorch's operators run on the CPU, and each run advances a clock by
what the test says that it takes, which may depend on what ran before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cnndsl.engines.apply import Function
from cnndsl.kernels.plan import cost, measure
from cnndsl.kernels.plan import store as store_module
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.chunks import Search
from cnndsl.kernels.plan.measure import NowhereToKeepError, Tuner
from cnndsl.kernels.plan.network import Plan
from cnndsl.kernels.plan.outlook import Outlook
from cnndsl.kernels.plan.planner import problems
from cnndsl.kernels.plan.report import text, to_json
from cnndsl.kernels.plan.store import WRONG, Store
from cnndsl.kernels.plan.stretch import Stretch
from cnndsl.kernels.plan.vendor import ATEN, Aten, Vendor
from cnndsl.kernels.problem import Problem
from cnndsl.passes.flow import Flow
from tests.kernels.planning import H100, ROOMY, flow_from, planned

GPU = "NVIDIA H100"
BLOCK = (
    "[4, 6, 6] = conv(4, 1) -> for i in 1..2 do (id + (conv(4, 3) -> relu -> conv(4, 3)))"
    "-> conv(6, 1)"
)
DENSE = "[4, 6, 6] = conv(4, 1) -> for i in 1..3 do (id | bn -> relu -> conv(4, 3, bias=no)) -> gap"


@dataclass
class Clock:
    """``takes``: microseconds of a maker, given who made what it reads, "" if it is cold."""

    takes: Callable[[str, str, Problem], float]
    now: float = 0.0
    last: tuple[str, Tensor | None] = ("", None)
    ran: list[tuple[str, int]] = field(default_factory=list)

    def tick(self, name: str, problem: Problem, x: Tensor) -> None:
        before, made = self.last
        self.now += self.takes(name, before if x is made else "", problem)
        self.ran.append((name, problem.batch))

    def seconds(self, run: Callable[[], object]) -> float:
        started = self.now
        run()
        return (self.now - started) / 1e6


class Timed(Aten):
    """A maker whose every run takes what the clock says."""

    def __init__(self, name: str, clock: Clock, wrong: Callable[[Problem], bool]) -> None:
        self.own, self.clock, self.wrong = name, clock, wrong

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.own

    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        right = super().function(problem, weights)

        def ticking(*inputs: Tensor) -> Tensor:
            self.clock.tick(self.own, problem, inputs[0])
            y = right(*inputs)
            y = y * 1.5 if self.wrong(problem) else y
            self.clock.last = (self.own, y)
            return y

        return ticking


@dataclass
class Bench:
    """A GPU that is none: two makers, and a clock."""

    clock: Clock
    makers: tuple[Vendor, ...]
    store: Store
    said: list[str] = field(default_factory=list)

    def tuner(self, **rest: Any) -> Tuner:
        device = rest.pop("device", H100)
        return Tuner(
            device, self.store, self.said.append, on="cpu", record=lambda run: run,
            seconds=self.clock.seconds, **rest,
        )  # fmt: skip

    def plan(self, flow: Flow, batch: int, **rest: Any) -> Plan:
        return planned(
            flow, batch, torch.float32, measured=self.store, known=self.store.known, **rest
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    monkeypatch.setattr(cost, "taking", lambda *_: [])

    def made(
        takes: Callable[[str, str, Problem], float],
        wrong: Callable[[Problem], bool] = lambda problem: False,
    ) -> Bench:
        clock = Clock(takes)
        makers = (Timed("a", clock, lambda _: False), Timed("b", clock, wrong))
        monkeypatch.setattr(cost, "VENDORS", makers)
        for maker in makers:
            monkeypatch.setitem(cost.SHARES, maker.name, 0.7)
        return Bench(clock, makers, Store.of(GPU))

    return made


def alone_b_wins(name: str, before: str, problem: Problem) -> float:
    """Alone `b` is the faster one; behind itself it is not: it leaves nothing in the cache."""
    if name == "a":
        return 10.0
    return 30.0 if before == "b" else 9.0


def makers(found: Plan) -> list[str]:
    return [piece.way.maker.name for one in found.steps for piece in one.pieces]


# --- what is chosen -----------------------------------------------------------------------------


def test_steps_are_chosen_as_they_run_together(bench: Callable[..., Bench]) -> None:
    """By the sum of single times both convolutions of a block go to `b`: 18 µs. Together they
    take 39; `b` before `a` takes 19."""
    found, flow = bench(alone_b_wins), flow_from(BLOCK)
    assert found.tuner().tune(flow, 4, torch.float32)
    by_sums = planned(flow, 4, torch.float32, measured=found.store)
    assert makers(by_sums) == ["b"] * 6
    together = found.plan(flow, 4)
    _, *blocks, _ = together.regions
    assert [region.last - region.first for region in blocks] == [2, 2]
    assert all(region.measured for region in together.regions)
    assert sorted(makers(together)[1:3]) == sorted(makers(together)[3:5]) == ["a", "b"]
    assert [region.seconds for region in blocks] == [pytest.approx(19e-6)] * 2
    assert blocks[0].rivals[-1][1] == pytest.approx(39e-6)
    chooser = Chooser(H100, found.store, found.store.known)
    told = "\n".join(text(together, chooser))
    assert "2 x 2 steps as one, measured: 19.0 µs; 19.0 µs with" in told
    assert "12 of" not in told and "as measured" in told
    regions = to_json(together, chooser)["regions"]
    assert [(r["steps"], r["measured"]) for r in regions] == [(n, True) for n in (1, 2, 2, 1)]


def test_equal_steps_are_measured_once(bench: Callable[..., Bench]) -> None:
    """And what is known is not measured again, by another run."""
    found, flow = bench(alone_b_wins), flow_from(BLOCK)
    assert found.tuner().tune(flow, 4, torch.float32)
    assert sum("for 2 steps" in line for line in found.said) == 1
    before = len(found.clock.ran)
    assert found.tuner().tune(flow, 4, torch.float32)
    assert len(found.clock.ran) == before


@pytest.mark.parametrize("lines", [3, 8])
def test_the_end_of_the_time(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    """Nothing more is begun, alone or together; the same command goes on from there."""
    found, flow = bench(alone_b_wins), flow_from(BLOCK)
    tuner = found.tuner(until=5.0)
    monkeypatch.setattr(measure.time, "monotonic", lambda: 6.0 if len(found.said) >= lines else 0.0)
    assert not tuner.tune(flow, 4, torch.float32)
    assert len(found.said) == lines and not any("2 steps" in line for line in found.said)
    monkeypatch.setattr(measure.time, "monotonic", lambda: 0.0)
    assert tuner.tune(flow, 4, torch.float32)
    assert sum("1 steps" in line for line in found.said) == 2
    assert sum("2 steps" in line for line in found.said) == 1


# --- what is believed ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["gpu", "sources", "version", "batch", "damage"])
def test_what_does_not_hold_is_not_believed(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    found, flow, batch = bench(alone_b_wins), flow_from(BLOCK), 4
    assert found.tuner().tune(flow, batch, torch.float32)
    assert any(region.measured for region in found.plan(flow, batch).regions)
    if what == "gpu":
        found.store = Store.of("NVIDIA H200")
    elif what == "batch":
        batch = 2
    elif what == "sources":
        monkeypatch.setattr(store_module, "sources", lambda: "changed")
    elif what == "version":
        monkeypatch.setattr(store_module, "_version", lambda package: "0.0")
    else:
        for file in (tmp_path / "engines").iterdir():
            file.write_text(re.sub(r"\.0(?=[,}])", ".5", file.read_text()))
    assert not any(region.measured for region in found.plan(flow, batch).regions)


def test_wrong_numbers_are_refused(bench: Callable[..., Bench]) -> None:
    """`b` is the fastest for a sum with its residual, and wrong. Alone nobody would notice:
    a library is taken at its word."""
    with_residual = 2

    def wrong(problem: Problem) -> bool:
        return len(problem.inputs) == with_residual

    found = bench(lambda name, *_: 10.0 if name == "a" else 9.0, wrong)
    flow = flow_from(BLOCK)
    assert found.tuner().tune(flow, 4, torch.float32)
    assert makers(planned(flow, 4, torch.float32, measured=found.store)) == ["b"] * 6
    assert makers(found.plan(flow, 4)) == ["b", "b", "a", "b", "a", "b"]
    assert any("wrong numbers" in line for line in found.said)


def test_where_all_is_wrong_pytorch_computes(bench: Callable[..., Bench]) -> None:
    found, flow = bench(lambda *_: 10.0), flow_from(BLOCK)
    assert found.tuner().tune(flow, 4, torch.float32)
    outlook = Outlook(flow, 4, torch.float32, Chooser(H100, found.store, found.store.known))
    name = outlook.name(1, 3)
    found.store.keep(name, dict.fromkeys(found.store.known(name), math.inf))
    taken = Search(outlook, ()).whole(1, 3)
    assert not taken.region.measured
    assert all(piece.way.maker is ATEN for one in taken.steps for piece in one.pieces)


def test_where_every_way_is_wrong_pytorch_computes(bench: Callable[..., Bench]) -> None:
    flow = flow_from(BLOCK)
    nothing = planned(flow, 4, torch.float32, measured=lambda _, ways: dict.fromkeys(ways, WRONG))
    assert makers(nothing) == ["aten"] * len(nothing.steps)


def out_of_memory(run: Callable[[], object]) -> object:
    raise torch.OutOfMemoryError("it is full")


@pytest.mark.parametrize("where", ["record", "error_of"])
def test_what_found_no_memory_is_not_wrong(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Alone and together: it was not measured, so the same command tries it again."""
    found, flow = bench(alone_b_wins), flow_from(BLOCK)
    tuner = found.tuner()
    tuner.record = out_of_memory
    with monkeypatch.context() as context:
        if where == "error_of":
            context.setattr(measure, where, lambda way, *_: out_of_memory(lambda: way))
        assert tuner.tune(flow, 4, torch.float32)
    asked = problems(flow, 4, torch.float32)
    assert all("no memory" in line for line in found.said) and len(found.said) > len(asked)
    assert not any(found.store.known(str(problem)) for problem in asked)
    found.said.clear()
    assert found.tuner().tune(flow, 4, torch.float32)
    assert any("2 steps" in line for line in found.said)
    assert not any("no memory" in line for line in found.said)


def test_times_that_nothing_keeps_are_not_taken(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    found = bench(alone_b_wins)
    (tmp_path / "engines").write_text("no folder")
    with pytest.raises(NowhereToKeepError, match="no safe place"):
        found.tuner().tune(flow_from(BLOCK), 4, torch.float32)
    assert len({batch for _, batch in found.clock.ran}) == 1 and not found.said


# --- chunks of the batch --------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "chunks"), [(0.5, True), (0.99, False)])
def test_chunks_are_timed_beside_the_whole(
    bench: Callable[..., Bench], share: float, chunks: bool
) -> None:
    """The model promises much of a large cache; what was measured decides."""

    def takes(name: str, before: str, problem: Problem) -> float:
        alone = 10.0 if name == "a" else 10.5
        return problem.batch * alone * (share if before and problem.batch < 16 else 1.0)

    flow = flow_from(BLOCK)
    device = replace(ROOMY, bandwidth=ROOMY.bandwidth / 10**4)
    found = bench(takes)
    assert min(r.chunk for r in planned(flow, 16, torch.float32, device=device).regions) == 8
    assert found.tuner(device=device).tune(flow, 16, torch.float32)
    plan = found.plan(flow, 16, device=device)
    assert any(name == "a" and batch == 8 for name, batch in found.clock.ran)
    assert (min(region.chunk for region in plan.regions) == 8) is chunks
    assert all(region.measured for region in plan.regions if region.chunk == 8)


def test_chunks_are_a_share_of_what_the_parts_take(bench: Callable[..., Bench]) -> None:
    """A part that is timed alone begins with a cold cache, and so did all that are added up. If
    the whole was wrong, nothing is known of its share."""

    def takes(name: str, before: str, problem: Problem) -> float:
        share = 0.5 if problem.batch < 16 else 1.0
        return problem.batch * (10.0 if name == "a" else 10.5) * (share if before else 2.0)

    flow = flow_from(BLOCK)
    device = replace(ROOMY, bandwidth=ROOMY.bandwidth / 10**4)
    found = bench(takes)
    assert found.tuner(device=device).tune(flow, 16, torch.float32)
    outlook = Outlook(flow, 16, torch.float32, Chooser(device, found.store, found.store.known))
    region = next(r for r in found.plan(flow, 16, device=device).regions if r.chunk == 8)
    first, last = region.first, region.last
    search = Search(outlook, (8,))
    known, whole = outlook.known(first, last), search.together(first, last)
    parts = [
        search.whole(*ends).region.seconds
        for ends in search.ends
        if first <= ends[0] and ends[1] <= last
    ]
    chunked = min(known[variant.name] for variant in search.chunked(first, last, 8))
    assert sum(parts) > 1.1 * known[whole.name]
    assert region.seconds == pytest.approx(chunked / known[whole.name] * sum(parts))
    found.store.keep(outlook.name(first, last), {whole: math.inf})
    assert all(r.chunk == 16 for r in found.plan(flow, 16, device=device).regions)


# --- a stretch of a flow --------------------------------------------------------------------------


def ends_of(flow: Flow) -> list[tuple[int, int]]:
    return Search(Outlook(flow, 2, torch.float32, Chooser(H100)), ()).ends


@pytest.mark.parametrize("net", [BLOCK, DENSE])
def test_steps_alone_mean_the_same(net: str) -> None:
    """Cut out at every narrow place and run one after another: the network."""
    from cnndsl.engines.apply import Plain
    from cnndsl.kernels.plan.trial import drawn_parameters

    flow = flow_from(net)
    parameters = drawn_parameters(flow, "cpu")
    x = torch.randn(2, 4, 6, 6)
    (wanted,) = Plain(flow, parameters)(x)
    values = {flow.inputs[0].id: x}
    for first, last in ends_of(flow):
        stretch = Stretch.of(flow, first, last)
        inputs = [values[step.id] for step in stretch.enters]
        results = Plain(stretch.alone(flow), parameters)(*inputs)
        values |= {step.id: y for step, y in zip(stretch.leaves, results, strict=True)}
    assert torch.equal(values[flow.results[0].id], wanted)
    assert wanted.abs().max() < 100


def test_names_are_of_the_structure() -> None:
    """Equal blocks share one; another batch, size or dtype, and a map that lies in a wider one,
    do not."""
    flow = flow_from(BLOCK)
    chooser = Chooser(H100)
    outlook = Outlook(flow, 2, torch.float32, chooser)
    assert outlook.name(1, 3) == outlook.name(3, 5) != outlook.name(2, 4)
    dense = Outlook(flow_from(DENSE), 2, torch.float32, chooser)
    names = {
        outlook.name(1, 3),
        Outlook(flow, 4, torch.float32, chooser).name(1, 3),
        Outlook(flow, 2, torch.half, chooser).name(1, 3),
        Outlook(flow_from(BLOCK.replace("6, 6", "7, 7")), 2, torch.float32, chooser).name(1, 3),
        *(dense.name(first, last) for first, last in ends_of(dense.flow)),
    }
    assert len(names) == 4 + len(ends_of(dense.flow))
    alone, slice = (
        Outlook(
            flow_from(f"[4, 6, 6] = conv(4, 1) -> {block} -> conv(4, 1)"), 2, torch.half, chooser
        )
        for block in ("conv(4, 3)", "(id | conv(4, 3))")
    )
    assert alone.steps[1].op == slice.steps[1].op
    assert alone.name(1, 2) != slice.name(1, 2)  # some channels of a wider map
