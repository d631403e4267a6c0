"""From a rewritten network to its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from cnndsl.engines.chunks import sizes_for_batch
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.chunks import SIZES, regions
from cnndsl.kernels.plan.network import Plan
from cnndsl.kernels.plan.outlook import Outlook
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.segments import segment
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.pipeline import ALGEBRA, GPU


def rewritten(flow: Flow, sizes: Mapping[str, int]) -> Flow:
    """A copy for inputs of these sizes, rewritten and fused for a GPU."""
    found = flow.at(sizes)
    ALGEBRA.run(found)
    GPU.run(found)
    return found


def plan(
    flow: Flow, batch: int, dtype: torch.dtype, chooser: Chooser,
    chunks: Sequence[int] | None = None,
) -> Plan:  # fmt: skip
    """The cheapest that is known. ``flow`` is as ``rewritten`` gives it.

    ``chunks``: how many samples at a time may be tried, by default what divides the batch; ()
    for the whole batch alone.
    """
    outlook = Outlook(flow, batch, dtype, chooser)
    found = regions(outlook, sizes(flow, batch) if chunks is None else chunks)
    steps = tuple(step for taken in found for step in taken.steps)
    return outlook.whole(steps, tuple(taken.region for taken in found))


def sizes(flow: Flow, batch: int) -> Sequence[int]:
    """How many samples at a time may be tried."""
    return sizes_for_batch(flow, batch, SIZES)


def problems(
    flow: Flow, batch: int, dtype: torch.dtype, steps: Sequence[Step] | None = None
) -> list[Problem]:
    """Every part that a plan of these steps, by default all, may consist of, each once."""
    views = Buffers.of(flow).views
    wholes = [
        Problem.of(step, flow.sizes, batch, dtype)
        for step in (flow if steps is None else steps)
        if step.inputs and step.id not in views
    ]
    parts = (
        segment(whole, first, last).problem
        for whole in dict.fromkeys(wholes)
        for last in range(1, len(whole.links) + 1)
        for first in range(last)
    )
    return [*dict.fromkeys(parts)]
