"""The plan of a network: for each step what computes it, and how much of the batch at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from cnndsl.kernels.frame import Frame
from cnndsl.kernels.plan.choice import Piece
from cnndsl.kernels.plan.cost import NOTHING, Cost
from cnndsl.kernels.plan.device import Device
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow, Step


@dataclass(frozen=True)
class Planned:
    """A step and its parts, one after another; none where it is a view of a buffer."""

    step: Step
    pieces: tuple[Piece, ...]

    @property
    def cost(self) -> Cost:
        return sum((piece.cost for piece in self.pieces), NOTHING)

    def seconds(self, device: Device) -> float:
        return sum(piece.seconds(device) for piece in self.pieces)

    @property
    def frame(self) -> Frame | None:
        """How its first input must lie, if not as any other."""
        return self.pieces[0].frame if self.pieces else None


@dataclass(frozen=True, eq=False)
class Variant:
    """One way to run consecutive steps: planned for ``chunk`` samples at a time."""

    chunk: int
    steps: tuple[Planned, ...]

    @cached_property
    def name(self) -> str:
        """Among the ways of the same steps: every cut, and what computes each part."""
        parts = [
            [f"{piece.segment.first} {piece.way}" for piece in planned.pieces]
            for planned in self.steps
        ]
        return f"by {self.chunk}, {hashlib.sha256(str(parts).encode()).hexdigest()[:16]}"

    def __str__(self) -> str:
        return self.name


class Region(NamedTuple):
    """Steps ``first`` to ``last``, the latter left out, for ``chunk`` samples at a time.

    ``seconds``: of all chunks, what stays in the L2 cache read from there. ``measured``: whether
    they were timed as one; ``rivals``: what else was, and its seconds, the fastest first.
    """

    first: int
    last: int
    chunk: int
    seconds: float
    measured: bool = False
    rivals: tuple[tuple[Variant, float], ...] = ()


@dataclass(frozen=True)
class Plan:
    """``flow``: all its sizes are numbers; ``steps``: of the flow, inputs left out, each
    planned for its region's chunk."""

    flow: Flow
    batch: int
    dtype: torch.dtype
    device: Device
    buffers: Buffers
    steps: tuple[Planned, ...]
    regions: tuple[Region, ...]

    @property
    def kernels(self) -> int:
        """In one pass through the steps."""
        return sum(planned.cost.kernels for planned in self.steps)

    @property
    def launches(self) -> int:
        """Of the whole batch: a region of several chunks runs its kernels as often."""
        return sum(
            self.batch // region.chunk * planned.cost.kernels
            for region in self.regions
            for planned in self.steps[region.first : region.last]
        )

    @property
    def bytes(self) -> int:
        """What kernels read and write for the whole batch, from L2 or from memory; without what
        the launches of one hand on within L2."""
        return sum(
            self.batch // region.chunk * planned.cost.bytes
            for region in self.regions
            for planned in self.steps[region.first : region.last]
        )

    @property
    def seconds(self) -> float:
        """Of the whole batch, by what was measured and else by the roofline."""
        return sum(region.seconds for region in self.regions)
