"""Plans for tests: networks by name, and a GPU that is nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

import cnndsl
from cnndsl.kernels.plan.choice import Chooser, Known, Measured, nothing_known, nothing_measured
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.device import Device, device_of
from cnndsl.kernels.plan.network import Plan
from cnndsl.kernels.plan.planner import plan, rewritten
from cnndsl.kernels.plan.store import WRONG
from cnndsl.kernels.problem import Problem
from cnndsl.passes.flow import Flow
from tests.passes.hook import unmeasured

EXAMPLES = Path(__file__).parents[2] / "examples"
H100 = device_of(90)
ROOMY = replace(H100, name="roomy", l2=10**12, bandwidth=H100.bandwidth / 100, interval=0.0)
"""Slow memory behind a large cache, and launches for nothing: chunks pay."""


@cache
def flow_of(file: str, net: str | None = None, size: int = 224) -> Flow:
    """An example, rewritten and fused for a GPU."""
    return flow_for(cnndsl.load(EXAMPLES / f"{file}.cnn").net(net), size)


def flow_from(text: str) -> Flow:
    return flow_for(cnndsl.loads(f"net N: {text}").net())


def flow_for(net: cnndsl.Compilation, size: int = 224) -> Flow:
    with unmeasured():  # the rewrites have their own tests
        return rewritten(Flow(net.graph), net.facts.reference(size))


def planned(
    flow: Flow,
    batch: int = 1,
    dtype: torch.dtype = torch.bfloat16,
    device: Device = H100,
    measured: Measured = nothing_measured,
    known: Known = nothing_known,
    **rest: Any,
) -> Plan:
    return plan(flow, batch, dtype, Chooser(device, measured, known), **rest)


def ours_only(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
    """As if the libraries of others were wrong wherever a kernel of ours takes the problem."""
    there = any(way.ours for way in ways)
    return {way: WRONG for way in ways if there and not way.ours}
