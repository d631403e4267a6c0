"""What may be chosen for the steps of one flow: alone, and as they follow each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache

import torch

from cnndsl.kernels.plan.choice import Chooser, Ends, Piece, nothing_known
from cnndsl.kernels.plan.network import Plan, Planned, Region, Variant
from cnndsl.kernels.plan.storage import Storages
from cnndsl.kernels.plan.stretch import Names
from cnndsl.kernels.problem import Problem
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow, Step

VARIANTS = 6
"""So many of the same steps for as many samples at a time are looked at."""

Asked = tuple[Problem, Ends]
"""What a step computes, and what surrounds it."""


class Outlook:
    """``flow``: as ``planner.rewritten`` gives it."""

    def __init__(self, flow: Flow, batch: int, dtype: torch.dtype, chooser: Chooser) -> None:
        self.flow, self.batch, self.dtype, self.chooser = flow, batch, dtype, chooser
        self.device = chooser.device
        self.buffers = Buffers.of(flow)
        self.storages = Storages.of(flow, self.buffers)
        self.steps = [step for step in flow if step.inputs]
        self._names = Names(flow, batch, dtype, self.storages)
        self.planned = cache(self._planned)
        self.name = cache(self._names.name)

    def known(self, first: int, last: int) -> Mapping[str, float]:
        """Seconds of these steps by the variant's name, as far as they were measured."""
        if self.chooser.known is nothing_known:
            return {}  # a name takes longer than the rest
        return self.chooser.known(self.name(first, last))

    def _planned(self, chunk: int) -> tuple[Planned, ...]:
        """Every step for so many samples at a time, each at its cheapest on its own."""
        return tuple(
            Planned(step, () if asked is None else self.chooser.pieces(*asked))
            for step in self.steps
            for asked in (self._asked(step, chunk),)
        )

    def _asked(self, step: Step, chunk: int) -> Asked | None:
        """None for a view."""
        if step.id in self.buffers.views:
            return None
        problem = Problem.of(step, self.flow.sizes, chunk, self.dtype)
        places = len(self.buffers.writes.get(step.id, ()))
        return problem, Ends(places, self._from_outside(step, problem))

    def _from_outside(self, step: Step, problem: Problem) -> bool:
        """Whether nothing but the first link of this step reads what its first input is, and that
        comes from outside."""
        x = step.inputs[0]
        read = [slot for link in problem.links for slot in link.slots]
        alone = [*x.users] == [step.id] and step.inputs.count(x) == 1 == read.count(0)
        return alone and not x.inputs and read[0] == 0

    def variants(self, first: int, last: int, chunk: int) -> list[Variant]:
        """The most promising by what is known of each step on its own, the best first.

        Equal steps are computed alike.
        """
        asked = [self._asked(step, chunk) for step in self.steps[first:last]]
        found: list[tuple[float, dict[Asked, tuple[Piece, ...]]]] = [(0.0, {})]
        for one, count in Counter(filter(None, asked)).items():
            longer = (
                (seconds + count * self.chooser.seconds(pieces), {**taken, one: pieces})
                for seconds, taken in found
                for pieces in self.chooser.alternatives(*one)
            )
            found = sorted(longer, key=lambda pair: pair[0])[:VARIANTS]
        return [self._variant(first, chunk, asked, taken) for _, taken in found]

    def plain(self, first: int, last: int) -> Variant:
        """The whole batch by PyTorch's operators."""
        asked = [self._asked(step, self.batch) for step in self.steps[first:last]]
        taken = {one: self.chooser.plain(*one) for one in asked if one is not None}
        return self._variant(first, self.batch, asked, taken)

    def _variant(
        self, first: int, chunk: int, asked: list[Asked | None],
        taken: Mapping[Asked, tuple[Piece, ...]],
    ) -> Variant:  # fmt: skip
        steps = (
            Planned(self.steps[position], () if one is None else taken[one])
            for position, one in enumerate(asked, first)
        )
        return Variant(chunk, tuple(steps))

    def plan(self, variant: Variant, first: int) -> tuple[Plan, Region]:
        """The whole network, with these steps run as the variant says; and their region."""
        last, count = first + len(variant.steps), len(self.steps)
        alone = self.planned(self.batch)
        own = Region(first, last, variant.chunk, 0.0)
        around = (Region(0, first, self.batch, 0.0), own, Region(last, count, self.batch, 0.0))
        steps = (*alone[:first], *variant.steps, *alone[last:])
        regions = tuple(region for region in around if region.first < region.last)
        return self.whole(steps, regions), own

    def whole(self, steps: tuple[Planned, ...], regions: tuple[Region, ...]) -> Plan:
        return Plan(self.flow, self.batch, self.dtype, self.device, self.buffers, steps, regions)
