"""From a rewritten network to its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import torch

from cnndsl.engines.chunks import sizes_for_batch
from cnndsl.kernels.plan.choice import Chooser, Piece
from cnndsl.kernels.plan.chunks import SIZES, regions
from cnndsl.kernels.plan.network import Plan, Planned
from cnndsl.kernels.plan.storage import Storages
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.segments import segment
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow
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
    buffers = Buffers.of(flow)

    @cache
    def steps(chunk: int) -> list[Planned]:
        return planned_steps(flow, chunk, dtype, chooser, buffers)

    given = sizes_for_batch(flow, batch, SIZES) if chunks is None else chunks
    found = regions(batch, given, steps, Storages.of(flow, buffers), chooser.device)
    taken = (step for region in found for step in steps(region.chunk)[region.first : region.last])
    return Plan(flow, batch, dtype, chooser.device, buffers, tuple(taken), tuple(found))


def planned_steps(
    flow: Flow, batch: int, dtype: torch.dtype, chooser: Chooser, buffers: Buffers
) -> list[Planned]:
    """Each step on its own."""
    found = []
    for step in flow:
        if not step.inputs:
            continue
        pieces: tuple[Piece, ...] = ()
        if step.id not in buffers.views:
            problem = Problem.of(step, flow.sizes, batch, dtype)
            pieces = chooser.pieces(problem, len(buffers.writes.get(step.id, ())))
        found.append(Planned(step, pieces))
    return found


def problems(flow: Flow, batch: int, dtype: torch.dtype) -> list[Problem]:
    """Every part that a plan of this flow may consist of, each once."""
    views = Buffers.of(flow).views
    wholes = [
        Problem.of(step, flow.sizes, batch, dtype)
        for step in flow
        if step.inputs and step.id not in views
    ]
    parts = (
        segment(whole, first, last).problem
        for whole in dict.fromkeys(wholes)
        for last in range(1, len(whole.links) + 1)
        for first in range(last)
    )
    return [*dict.fromkeys(parts)]
