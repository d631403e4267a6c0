"""What an engine is: it takes a rewritten flow and numbers, and gives something that runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap, Type, Vector
from cnndsl.passes.base import Pipeline
from cnndsl.passes.flow import Flow

Runner = Callable[..., Sequence[Tensor]]
"""Takes one tensor per input of the flow and returns its results in order."""


class EngineError(RuntimeError):
    """An engine cannot run this flow; the text is one sentence for the user."""


class NotFinite(Exception):
    """An input holds NaN or infinity: engines may compute something else with it than PyTorch."""


@dataclass(frozen=True)
class Job:
    """What is to be run. ``flow`` is optimised already, with the engine's own ``fusion`` too.

    ``shapes``: the inputs' shapes, batch included; a runner of an engine that is ``dynamic``
    takes other shapes as well.
    """

    flow: Flow
    parameters: Mapping[str, Tensor]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype = torch.float32
    threads: int = field(default_factory=torch.get_num_threads)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """What H, W, … are for these shapes."""
        found = sizes_for(self.flow, self.shapes)
        if found is None:
            raise EngineError(f"inputs of shapes {self.shapes} do not fit this network")
        return found


class Engine(ABC):
    """Stateless; everything it makes is in the runner."""

    name: ClassVar[str]
    dynamic: ClassVar[bool] = False
    """Whether one runner takes every shape."""
    fusion: ClassVar[Pipeline | None] = None
    """Rewrites that this engine wants beyond those for all engines."""
    caution: ClassVar[float] = 1.0
    """How much of a steady engine's time it may take, to be chosen for one sample on several
    threads: less where it has been seen to be slower at times, as one whose threads read much of
    what others wrote."""
    looks: bool = False
    """Whether its runners raise NotFinite themselves."""

    @property
    def device(self) -> str:
        """The kind of device that parameters and inputs are to lie on."""
        return "cpu"

    def absent(self) -> str | None:
        """Why it cannot run on this machine, as a sentence; None if it can."""
        return None

    def refuses(self, job: Job) -> str | None:
        """Why it cannot run this job, as a sentence; None if it can."""
        return None

    @abstractmethod
    def build(self, job: Job) -> Runner:
        """Compiles; raises EngineError."""

    def streams(self, job: Job) -> Sequence[Runner]:
        """One runner for each of the job's threads, to be called side by side; [] if it cannot.

        Each computes on the thread that calls it, so that none waits for another within a layer.
        """
        return []


def sizes_for(flow: Flow, shapes: Sequence[tuple[int, ...]]) -> dict[str, int] | None:
    """What H, W, … are for inputs of these shapes (batch first); None if they do not fit."""
    sizes: dict[str, int] = {}
    for step, given in zip(flow.inputs, shapes, strict=True):
        if len(given) != (4 if isinstance(step.type, FeatureMap) else 2):
            return None
        wanted = _extents(step.type)
        for extent, size in zip(wanted, given[1:], strict=True):
            if isinstance(extent, Size):
                value = extent.least(size)
                if sizes.setdefault(extent.symbol, value) != value or extent.at(value) != size:
                    return None
            elif extent != size:
                return None
    return sizes


def _extents(type: Type) -> tuple[object, ...]:
    if isinstance(type, FeatureMap):
        return (type.channels, type.height, type.width)
    return (type.features,) if isinstance(type, Vector) else ()
