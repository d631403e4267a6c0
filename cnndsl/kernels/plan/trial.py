"""Steps of a network as they would run in it, with drawn numbers: to be checked and timed.

Timed alone, each operator begins with a cold cache and the choice of it is at times the wrong
one (pytorch#180811): what runs before it decides what it finds in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from cnndsl.engines.accuracy import Standard, samples
from cnndsl.engines.apply import entering
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.graph.cost import concrete, shape
from cnndsl.kernels.plan.launches import Launches
from cnndsl.kernels.plan.network import Variant
from cnndsl.kernels.plan.outlook import Outlook
from cnndsl.kernels.plan.stretch import Stretch
from cnndsl.passes.flow import Flow

CHECKED = 8
"""Samples on which numbers are checked, from all over the batch; float64 on a GPU is slow."""


class Trial:
    """Steps ``first`` to ``last`` of a flow, the latter left out, on one device."""

    def __init__(self, outlook: Outlook, first: int, last: int, device: str) -> None:
        self.outlook, self.first, self.device = outlook, first, device
        self.stretch = Stretch.of(outlook.flow, first, last)
        alone = self.stretch.alone(outlook.flow)
        count = min(outlook.batch, CHECKED)
        sizes = [shape(concrete(step.type, outlook.flow.sizes)) for step in self.stretch.enters]
        shapes = tuple((count, *size) for size in sizes)
        self.job = Job(alone, drawn_parameters(alone, device), shapes, outlook.dtype)
        self.picked = torch.linspace(0, outlook.batch - 1, count, device=device).long()
        self._standard: Standard | None = None

    @cached_property
    def weights(self) -> dict[int, dict[str, Tensor]]:
        """By the step's id."""
        return derived(self.job)

    def launches(self, variant: Variant, seed: int = 0) -> Launches:
        """On memory and weights of its own, with drawn numbers where it reads."""
        plan, region = self.outlook.plan(variant, self.first)
        found = Launches(plan, self.weights, self.device, only=region)
        self._enter(found, None, seed)
        return found

    def run(self, variant: Variant, sets: int) -> Callable[[], object]:
        """Runs it on each of so many sets of numbers, one after another.

        Where a sum lies over its residual, the next run begins with what this one left there.
        """
        launches = [self.launches(variant, seed) for seed in range(sets)]
        return lambda: [one.run() for one in launches]

    def is_right(self, variant: Variant) -> bool:
        """Whether its error against float64 is no larger than that of PyTorch's operators."""
        launches = self.launches(variant)

        def runner(*inputs: Tensor) -> list[Tensor]:
            launches.arena.fill_(0xFF)  # NaN: what is read before it is written shows
            self._enter(launches, inputs)
            launches.run()
            return [launches.value(step)[self.picked].clone() for step in self.stretch.leaves]

        if self._standard is None:
            self._standard = self._as_exact_as(launches)
        return self._standard.is_met_by(runner)

    def _as_exact_as(self, launches: Launches) -> Standard:
        """The same for all variants."""
        cases = []
        for inputs in samples(self.job.shapes, self.outlook.dtype):
            self._enter(launches, [x.to(self.device) for x in inputs])
            # As they lie in memory: a map may be a part of another.
            cases.append([launches.value(s)[self.picked].clone() for s in self.stretch.enters])
        return Standard(self.job, cases)

    def _enter(self, launches: Launches, inputs: Sequence[Tensor] | None, seed: int = 0) -> None:
        """Random numbers in all samples, these inputs in those that are looked at."""
        generator = torch.Generator(self.device).manual_seed(seed)
        for number, step in enumerate(self.stretch.enters):
            size = (self.outlook.batch, *self.job.shapes[number][1:])
            drawn = torch.randn(size, generator=generator, device=self.device)
            drawn = entering(drawn, self.outlook.dtype)
            if inputs is not None:
                drawn[self.picked] = inputs[number]
            launches.hold(step, drawn)


def drawn_parameters(flow: Flow, device: str) -> dict[str, Tensor]:
    """Such that values neither vanish nor grow from step to step."""
    generator = torch.Generator(device).manual_seed(0)
    found = {}
    for name, size in sorted(flow.parameter_shapes().items()):
        drawn = torch.randn(size, generator=generator, device=device)
        if len(size) > 1:
            found[name] = drawn * math.sqrt(2 / max(1, math.prod(size[1:])))
        elif name.endswith(("bias", "running_mean")):
            found[name] = drawn / 8
        else:
            found[name] = 1 + drawn.clamp(-3, 3) / 8
    return found
