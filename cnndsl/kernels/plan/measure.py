"""Ways to compute a problem, and then several steps, checked and timed on the GPU that is here.

Times are taken under CUDA graphs, in interleaved rounds, with operands that do not stay in the
L2 cache from one run to the next. What gives wrong numbers, or does not run, is never used.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnndsl.engines.timing import in_rounds
from cnndsl.graph.cost import shape
from cnndsl.kernels.base import Kernel, Operands, laid, run
from cnndsl.kernels.plan.choice import GAIN, Chooser, Option
from cnndsl.kernels.plan.chunks import Search, regions
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.device import Device
from cnndsl.kernels.plan.launches import recorded
from cnndsl.kernels.plan.network import Region, Variant
from cnndsl.kernels.plan.outlook import Outlook
from cnndsl.kernels.plan.planner import problems, sizes
from cnndsl.kernels.plan.store import WRONG, Store
from cnndsl.kernels.plan.trial import CHECKED, Trial
from cnndsl.kernels.plan.vendor import Vendor
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.reference import backward_error, reference
from cnndsl.passes.flow import Flow

UNITS = 8.0
"""The largest backward error of a kernel, in units of float32 rounding behind half an ulp."""
SLACK, MOST = 4.0, 12
"""Timed is what the roofline puts within this factor of the best, and so many ways at most."""
ROUNDS, SETS = 5, 8
HOPE = 1.0
"""Chunks of the batch are measured where the model promises this share of the time or less."""
PROPOSALS = 4
"""So often what a measurement left over is looked at: a plan's chunks, until all are measured."""


class NowhereToKeepError(Exception):
    """There is no folder that only this user can write to."""


class Numbers(NamedTuple):
    """Inputs, weights by the chain's names, and where a result goes."""

    inputs: list[Tensor]
    weights: dict[str, Tensor]
    out: Tensor


def drawn(problem: Problem, seed: int = 0, device: str = "cuda") -> Numbers:
    """Around 1 and of both signs; what acts on sums stays float32."""
    generator = torch.Generator(device).manual_seed(seed)

    def draw(size: Sequence[int]) -> Tensor:
        return torch.randn(tuple(size), generator=generator, device=device)

    def channels_last(x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

    inputs = [
        channels_last(draw((problem.batch, *shape(type))).to(problem.dtype))
        for type in problem.inputs
    ]
    weights = {w.name: draw(w.shape) for w in problem.chain.weights(*problem.inputs)}
    rounded = {k: w.to(problem.dtype) if w.dim() > 1 else w for k, w in weights.items()}
    out = torch.empty((problem.batch, *shape(problem.output)), dtype=problem.dtype, device=device)
    return Numbers(inputs, rounded, channels_last(out))


def runs(way: Way, problem: Problem, sets: Sequence[Numbers]) -> Callable[[], Tensor]:
    """Computes the problem on each set of operands, one after another; gives the last result."""
    if isinstance(way.maker, Vendor):
        functions = [way.maker.function(problem, numbers.weights) for numbers in sets]
        pairs = list(zip(functions, sets, strict=True))
        return lambda: [function(*numbers.inputs) for function, numbers in pairs][-1]
    kernel, config = way.maker, way.config
    assert isinstance(kernel, Kernel) and config is not None
    operands = (
        Operands(laid(kernel, problem, s.inputs), kernel.pack(problem, s.weights), s.out)
        for s in sets
    )
    launches = [one for each in operands for one in kernel.launches(problem, config, each)]

    def launched() -> Tensor:
        run(launches)
        return sets[-1].out

    return launched


def error_of(way: Way, problem: Problem, device: str = "cuda") -> float:
    """The largest backward error, in units of float32 rounding, behind half an ulp of storage."""
    small = replace(problem, batch=min(problem.batch, CHECKED))
    numbers = drawn(small, device=device)
    numbers.out.fill_(torch.nan)
    value, scale = reference(small, numbers.inputs, numbers.weights)
    error = backward_error(runs(way, small, [numbers])(), value, scale)
    return float(error.max()) if error.numel() else 0.0


# --- timing -------------------------------------------------------------------------------------


def replayed(graph: torch.cuda.CUDAGraph) -> float:
    """Seconds of one replay."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def promising(options: Sequence[Option], device: Device) -> list[Way]:
    """Those worth a measurement: the best of each maker, and what is guessed to be close."""
    ranked = sorted(options, key=lambda option: option.seconds(device))
    most = SLACK * ranked[0].seconds(device)
    close = [option.way for option in ranked if option.seconds(device) <= most]
    firsts: dict[object, Way] = {}
    for option in ranked:
        firsts.setdefault(option.way.maker, option.way)
    return [*dict.fromkeys((*firsts.values(), *close))][:MOST]


@dataclass
class Tuner:
    """Measures what a network may need and keeps it. ``say`` is told a line per problem."""

    device: Device
    store: Store
    say: Callable[[str], None]
    until: float = math.inf
    """When to begin nothing more, by ``time.monotonic``."""
    on: str = "cuda"
    record: Callable[[Callable[[], object]], Any] = recorded
    seconds: Callable[[Any], float] = replayed
    """Of one replay of what was recorded."""

    def tune(self, flow: Flow, batch: int, dtype: torch.dtype) -> bool:
        """Whether everything was measured before the time was up. ``flow``: as for a plan.

        First every problem alone, then the steps between places where a single value is alive,
        then what promises to be faster in chunks of the batch.
        """
        return self._alone(problems(flow, batch, dtype)) and self._together(flow, batch, dtype)

    def _alone(self, asked: Sequence[Problem]) -> bool:
        guess = Chooser(self.device)
        for problem in asked:
            if time.monotonic() > self.until:
                return False
            try:
                times = self._times(problem, guess)
            except torch.OutOfMemoryError:
                self.say(f"           no memory for {problem}: not measured")
                continue
            self._keep(problem, times, f" for {problem}")
        return True

    def _keep(self, asked: object, times: Mapping[Any, float], what: str) -> None:
        """Raises NowhereToKeepError: what is not remembered was measured in vain."""
        if not times:
            return
        if not self.store.keep(asked, times):
            raise NowhereToKeepError("there is no safe place to remember what was measured")
        best = min(times, key=lambda one: times[one])
        if times[best] < math.inf:
            self.say(f"{1e6 * times[best]:9.1f} µs  {best} {what}")

    def _together(self, flow: Flow, batch: int, dtype: torch.dtype) -> bool:
        """As ``_alone``, of steps that follow each other."""
        outlook = self._outlook(flow, batch, dtype)
        for first, last in Search(outlook, ()).ends:
            if not self._race(outlook, first, last, outlook.variants(first, last, batch)):
                return False
        hopes = _hopes(Outlook(flow, batch, dtype, Chooser(self.device)), HOPE)
        for _ in range(PROPOSALS):
            for region in hopes:
                if not self._chunks(flow, batch, dtype, region):
                    return False
            hopes = [r for r in _hopes(self._outlook(flow, batch, dtype), GAIN) if not r.measured]
        return True

    def _outlook(self, flow: Flow, batch: int, dtype: torch.dtype) -> Outlook:
        """With all that is known by now."""
        return Outlook(flow, batch, dtype, Chooser(self.device, self.store, self.store.known))

    def _chunks(self, flow: Flow, batch: int, dtype: torch.dtype, region: Region) -> bool:
        """Each step for so many samples alone, then chunks beside the whole batch."""
        first, last, chunk, *_ = region
        steps = [step for step in flow if step.inputs][first:last]
        if not self._alone(problems(flow, chunk, dtype, steps)):
            return False
        outlook = self._outlook(flow, batch, dtype)
        search = Search(outlook, sizes(flow, batch))
        tried = [search.together(first, last), *search.chunked(first, last, chunk)]
        return self._race(outlook, first, last, tried)

    def _race(self, outlook: Outlook, first: int, last: int, variants: Sequence[Variant]) -> bool:
        """Times variants beside each other, unless all are known; False if the time is up."""
        known = outlook.known(first, last)
        if len(variants) < 2 or all(variant.name in known for variant in variants):
            return True
        if time.monotonic() > self.until:
            return False
        try:
            times = self._raced(Trial(outlook, first, last, self.on), variants)
        except torch.OutOfMemoryError:
            self.say(f"           no memory for {last - first} steps at once: not measured")
            return True
        self._keep(outlook.name(first, last), times, f"samples, for {last - first} steps")
        return True

    def _raced(self, trial: Trial, variants: Sequence[Variant]) -> dict[Variant, float]:
        """Infinite for what is wrong, or does not run."""
        found, graphs = dict.fromkeys(variants, WRONG), {}
        steps = " ; ".join(step.op.text() for step in trial.stretch.steps)
        moved = sum(step.cost.bytes for step in variants[0].steps)
        count = min(SETS, 1 + 2 * self.device.l2 // max(moved, 1))
        for variant in variants:
            try:
                if trial.is_right(variant):
                    graphs[variant] = self.record(trial.run(variant, count))
                else:
                    self.say(f"           {variant} gives wrong numbers for {steps}")
            except torch.OutOfMemoryError:
                raise
            except Exception as reason:
                self.say(f"           {variant} fails for {steps}: {_first_line(reason)}")
        for variant, seconds in in_rounds(graphs, ROUNDS, self.seconds).items():
            found[variant] = statistics.median(seconds) / count
        return found

    def _times(self, problem: Problem, guess: Chooser) -> dict[Way, float]:
        """Of the ways worth it that are not known; infinite for what is wrong."""
        worth = promising(guess.options(problem, outside=True), self.device)
        known = self.store(problem, worth)
        fresh = [way for way in worth if way not in known]
        if not fresh:
            return {}
        right = [way for way in fresh if self._is_right(way, problem)]
        found = dict.fromkeys(fresh, WRONG)
        count = min(SETS, 1 + 2 * self.device.l2 // max(problem.bytes, 1))
        sets = [drawn(problem, seed, self.on) for seed in range(count)]
        graphs = dict(self._graphs(right, problem, sets))
        for way, seconds in in_rounds(graphs, ROUNDS, self.seconds).items():
            found[way] = statistics.median(seconds) / count
        return found

    def _graphs(
        self, ways: Sequence[Way], problem: Problem, sets: Sequence[Numbers]
    ) -> Iterator[tuple[Way, Any]]:
        for way in ways:
            try:
                yield way, self.record(runs(way, problem, sets))
            except torch.OutOfMemoryError:
                raise
            except Exception as reason:  # of Triton, CUDA or a library: it is not to be used
                self.say(f"           {way} fails for {problem}: {_first_line(reason)}")

    def _is_right(self, way: Way, problem: Problem) -> bool:
        try:
            error = error_of(way, problem, self.on)
        except torch.OutOfMemoryError:
            raise
        except Exception as reason:
            self.say(f"           {way} fails for {problem}: {_first_line(reason)}")
            return False
        if way.ours and not error <= UNITS:
            self.say(f"           {way} is {error:.1f} units off for {problem}")
            return False
        return True


def _hopes(outlook: Outlook, gain: float) -> list[Region]:
    """What a plan would run in chunks of the batch."""
    found = regions(outlook, sizes(outlook.flow, outlook.batch), gain)
    return [region for region, _ in found if region.chunk < outlook.batch]


def _first_line(problem: Exception) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0]
