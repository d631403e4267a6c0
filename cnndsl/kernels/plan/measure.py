"""Ways to compute a problem, checked and timed on the GPU that is here.

Times are taken under CUDA graphs, in interleaved rounds, with operands that do not stay in the
L2 cache from one run to the next. What gives wrong numbers, or does not run, is never used.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from cnndsl.graph.cost import shape
from cnndsl.kernels.base import Kernel, Operands, run
from cnndsl.kernels.plan.choice import Chooser, Option
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.device import Device
from cnndsl.kernels.plan.launches import recorded
from cnndsl.kernels.plan.planner import problems
from cnndsl.kernels.plan.store import WRONG, Store
from cnndsl.kernels.plan.vendor import Vendor
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.reference import backward_error, reference
from cnndsl.passes.flow import Flow

Name = TypeVar("Name")

UNITS = 8.0
"""The largest backward error of a kernel, in units of float32 rounding behind half an ulp."""
CHECKED = 8
"""Samples on which numbers are checked; float64 on a GPU is slow."""
SLACK, MOST = 4.0, 12
"""Timed is what the roofline puts within this factor of the best, and so many ways at most."""
ROUNDS, SETS = 5, 8


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
        function = way.maker.function(problem, sets[0].weights)
        return lambda: [function(*numbers.inputs) for numbers in sets][-1]
    kernel, config = way.maker, way.config
    assert isinstance(kernel, Kernel) and config is not None
    packed = kernel.pack(problem, sets[0].weights)
    operands = (Operands(numbers.inputs, packed, numbers.out) for numbers in sets)
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


def interleaved(
    graphs: Mapping[Name, torch.cuda.CUDAGraph],
    rounds: int,
    seconds: Callable[[torch.cuda.CUDAGraph], float] = replayed,
) -> dict[Name, list[float]]:
    """Seconds of each, one figure a round, in rounds A B C A B C; a first round warms up."""
    times: dict[Name, list[float]] = {name: [] for name in graphs}
    for number in range(rounds + 1):
        for name, graph in graphs.items():
            found = seconds(graph)
            if number:
                times[name].append(found)
    return times


def promising(options: Sequence[Option], device: Device) -> list[Way]:
    """Those worth a measurement, the best guess first."""
    ranked = sorted(options, key=lambda option: option.seconds(device))
    most = SLACK * ranked[0].seconds(device)
    return [option.way for option in ranked if option.seconds(device) <= most][:MOST]


@dataclass
class Tuner:
    """Measures what a network may need and keeps it. ``say`` is told a line per problem."""

    device: Device
    store: Store
    say: Callable[[str], None]
    until: float = math.inf
    """When to begin nothing more, by ``time.monotonic``."""
    on: str = "cuda"

    def tune(self, flow: Flow, batch: int, dtype: torch.dtype) -> bool:
        """Whether everything was measured before the time was up. ``flow``: as for a plan."""
        guess = Chooser(self.device)
        for problem in problems(flow, batch, dtype):
            if time.monotonic() > self.until:
                return False
            times = self._times(problem, guess)
            if times:
                self.store.keep(problem, times)
                best = min(times, key=lambda way: times[way])
                self.say(f"{1e6 * times[best]:9.1f} µs  {best}  for {problem}")
        return True

    def _times(self, problem: Problem, guess: Chooser) -> dict[Way, float]:
        """Of the ways worth it that are not known; infinite for what is wrong."""
        worth = promising(guess.options(problem), self.device)
        known = self.store(problem, worth)
        fresh = [way for way in worth if way not in known]
        if not fresh:
            return {}
        right = [way for way in fresh if self._is_right(way, problem)]
        found = dict.fromkeys(fresh, WRONG)
        count = min(SETS, 1 + 2 * self.device.l2 // max(problem.bytes, 1))
        sets = [drawn(problem, seed) for seed in range(count)]
        graphs = dict(self._graphs(right, problem, sets))
        for way, seconds in interleaved(graphs, ROUNDS).items():
            found[way] = statistics.median(seconds) / count
        return found

    def _graphs(
        self, ways: Sequence[Way], problem: Problem, sets: Sequence[Numbers]
    ) -> Iterator[tuple[Way, torch.cuda.CUDAGraph]]:
        for way in ways:
            try:
                yield way, recorded(runs(way, problem, sets))
            except Exception as reason:  # of Triton, CUDA or a library: it is not to be used
                self.say(f"           {way} fails for {problem}: {_first_line(reason)}")

    def _is_right(self, way: Way, problem: Problem) -> bool:
        try:
            error = error_of(way, problem, self.on)
        except Exception as reason:
            self.say(f"           {way} fails for {problem}: {_first_line(reason)}")
            return False
        if way.ours and not error <= UNITS:
            self.say(f"           {way} is {error:.1f} units off for {problem}")
            return False
        return True


def _first_line(problem: Exception) -> str:
    return (str(problem) or type(problem).__name__).splitlines()[0]
