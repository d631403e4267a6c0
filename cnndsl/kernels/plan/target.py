"""A network's kernels, compiled for a GPU that need not be here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from cnndsl.kernels.aot import Compiled, compile_problem
from cnndsl.kernels.base import Kernel
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.device import Device
from cnndsl.kernels.plan.network import Plan
from cnndsl.kernels.plan.planner import plan
from cnndsl.kernels.problem import Problem
from cnndsl.passes.flow import Flow


class Built(NamedTuple):
    """One launch of one choice, compiled. ``file``: a name for its machine code."""

    problem: Problem
    way: Way
    file: str
    compiled: Compiled


@dataclass
class Refused:
    """Ways that were compiled and do not fit on the device, or do not compile."""

    ways: set[tuple[Problem, Way]] = field(default_factory=set)

    def __call__(self, problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
        return {way: math.inf for way in ways if (problem, way) in self.ways}


@dataclass(frozen=True)
class Cross:
    """A plan whose kernels all fit, and what they were compiled to."""

    plan: Plan
    chooser: Chooser
    built: tuple[Built, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """One entry for each launch."""
        return [_json(one) for one in self.built]


def cross_compile(flow: Flow, batch: int, dtype: torch.dtype, device: Device) -> Cross:
    """Plans, compiles, and plans again without what turned out not to fit, until all does.

    ``flow`` is as ``planner.rewritten`` gives it.
    """
    refused = Refused()
    known: dict[tuple[Problem, Way], list[Compiled] | None] = {}
    while True:
        chooser = Chooser(device, refused)
        found = plan(flow, batch, dtype, chooser)
        for problem, way in chosen(found):
            if (problem, way) not in known:
                known[problem, way] = _compiled(problem, way, device)
            if known[problem, way] is None:
                refused.ways.add((problem, way))
        if not any(known[choice] is None for choice in chosen(found)):
            return Cross(found, chooser, tuple(_built(found, known)))


def chosen(found: Plan) -> list[tuple[Problem, Way]]:
    """Each kernel of ours in the plan once, with its problem."""
    pieces = (piece for planned in found.steps for piece in planned.pieces)
    return [*dict.fromkeys((p.segment.problem, p.way) for p in pieces if p.way.ours)]


def _compiled(problem: Problem, way: Way, device: Device) -> list[Compiled] | None:
    """Every launch; None where one does not fit."""
    assert isinstance(way.maker, Kernel) and way.config is not None
    found = compile_problem(way.maker, problem, way.config, device.capability)
    return found if all(one.facts.fits(device.capability) for one in found) else None


def _built(found: Plan, known: dict[tuple[Problem, Way], list[Compiled] | None]) -> Iterator[Built]:
    for number, (problem, way) in enumerate(chosen(found)):
        launches = known[problem, way] or []
        for part, compiled in enumerate(launches):
            name = re.sub(r"\W+", "_", str(way)).lower()
            tail = f"_{part}" if len(launches) > 1 else ""
            yield Built(problem, way, f"{number:03}_{name}{tail}.cubin", compiled)


def _json(one: Built) -> dict[str, Any]:
    facts, config = one.compiled.facts, one.way.config
    assert config is not None
    return {
        "file": one.file,
        "kernel": one.way.maker.name,
        "problem": str(one.problem),
        "tiles": dict(config.tiles),
        "warps": config.warps,
        "stages": config.stages,
        "registers": facts.registers,
        "spilled_bytes": facts.spills,
        "shared_bytes": facts.shared,
        "instructions": {
            "wgmma": facts.wgmma, "mma": facts.mma, "bulk_copies": facts.bulk_copies,
        },
        "bytes": len(one.compiled.asm["cubin"]),
    }  # fmt: skip
