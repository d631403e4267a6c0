"""The ``triton`` engine: kernels of our own where they fit, PyTorch's operators elsewhere.

Activations are channels last. A kernel writes its result into its slice of the concatenation
that reads it, so concatenations cost nothing; weights are packed once, when a runner is built.
Without a GPU the same kernels run in Triton's interpreter, slowly, to be tested.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from cnndsl.engines.apply import Function, entering, function_of, releases
from cnndsl.engines.base import Engine, EngineError, Job, Runner
from cnndsl.engines.derived import derived
from cnndsl.engines.slices import view
from cnndsl.graph.cost import shape
from cnndsl.passes.buffers import Buffers, Place
from cnndsl.passes.flow import Step
from cnndsl.passes.ops import RUNNING
from cnndsl.passes.pipeline import GPU

if TYPE_CHECKING:
    from cnndsl.kernels.base import Config, Kernel
    from cnndsl.kernels.problem import Problem
    from cnndsl.kernels.segments import Segment

Size = tuple[int, ...]
INTERPRETED = 90
"""The capability whose kernels the interpreter runs: it knows no device, and takes all."""


class TritonEngine(Engine):
    """Compiles for one shape; needs a GPU, or the interpreter."""

    name = "triton"
    fusion = GPU

    @property
    def device(self) -> str:
        return "cpu" if is_interpreted() else "cuda"

    def absent(self) -> str | None:
        reason = missing()
        if reason is not None:
            return reason
        if is_interpreted() or torch.cuda.is_available():
            return None
        return "there is no GPU here (TRITON_INTERPRET=1 runs the kernels on the CPU, slowly)"

    def refuses(self, job: Job) -> str | None:
        if is_interpreted() and job.dtype == torch.bfloat16:
            return "Triton's interpreter multiplies bfloat16 wrongly (triton#11584)"
        return None

    def build(self, job: Job) -> Runner:
        if is_interpreted():
            return Program(job, self.device)
        from cnndsl.kernels.plan.launches import graphed

        return graphed(job)


def missing() -> str | None:
    """Why there is no Triton; None if there is."""
    if find_spec("triton") is None:
        return "triton is not installed: pip install triton (there are builds for Linux)"
    return None


def is_interpreted() -> bool:
    """Whether Triton runs kernels on the CPU; it asks once, when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def capability() -> int:
    """The device's, times ten."""
    if is_interpreted():
        return INTERPRETED
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


class Program:
    """Steps as calls; a value is let go after its last reader."""

    def __init__(self, job: Job, device: str) -> None:
        self.dtype, self.device = job.dtype, device
        # What acts on sums stays float32; filters are rounded when they are packed.
        flow, weights = job.flow, derived(replace(job, dtype=torch.float32))
        self.plan = Buffers.of(flow)
        self.inputs = [step.id for step in flow.inputs]
        self.results = [step.id for step in flow.results]
        steps = [step for step in flow if step.inputs]
        release = releases(steps, flow.results)
        self.calls = []
        for step in steps:
            parts: tuple[Part, ...] = ()
            if step.id not in self.plan.views:
                own = {k: w.to(device) for k, w in weights.get(step.id, {}).items()}
                parts = lower(step, own, job)
            reads = tuple(source.id for source in step.inputs)
            self.calls.append(Call(parts, reads, step.id, release[step.id]))

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        values: dict[int, Tensor] = {}
        memory = Memory(self.plan, self.dtype, self.device)
        for i, x in zip(self.inputs, inputs, strict=True):
            values[i] = entering(x.to(self.device), self.dtype)
            memory.spread(values[i], self.plan.writes.get(i, ()))
        for call in self.calls:
            place = self.plan.views.get(call.writes)
            if place is not None:
                values[call.writes] = memory.view(place)
                # It may itself be a part of another concatenation.
                memory.spread(values[call.writes], self.plan.writes.get(call.writes, ()))
            else:
                values[call.writes] = self._run(call, [values[i] for i in call.reads], memory)
            for i in call.release:
                del values[i]
        return [values[i] for i in self.results]

    def _run(self, call: Call, inputs: Sequence[Tensor], memory: Memory) -> Tensor:
        """The call's value; the last kernel writes it into the first buffer that wants it."""
        places = self.plan.writes.get(call.writes, ())
        running: Any = None
        for part in call.parts:
            operands = [running if slot == RUNNING else inputs[slot] for slot in part.slots]
            if isinstance(part, OnTorch):
                running = part(operands)
            elif part is call.parts[-1] and places:
                running = part(operands, memory.slice(places[0], part.size))
                places = places[1:]
            else:
                running = part(operands, memory.empty(part.size))
        memory.spread(running, places)
        return running  # type: ignore[no-any-return]


class Memory:
    """The buffers of one run, each made when its first part is written."""

    def __init__(self, plan: Buffers, dtype: torch.dtype, device: str) -> None:
        self.widths, self.dtype, self.device = plan.channels, dtype, device
        self.buffers: dict[int, Tensor] = {}

    def empty(self, size: Size) -> Tensor:
        """Channels last, of ``[N, C, H, W]`` or ``[N, C]``."""
        layout = torch.channels_last if len(size) == 4 else torch.contiguous_format
        return torch.empty(size, dtype=self.dtype, device=self.device, memory_format=layout)

    def slice(self, place: Place, size: Size) -> Tensor:
        """Where a part of this size belongs."""
        if place.buffer not in self.buffers:
            self.buffers[place.buffer] = self.empty((size[0], self.widths[place.buffer], *size[2:]))
        return self.view(place)

    def view(self, place: Place) -> Tensor:
        return view(self.buffers[place.buffer], place)

    def spread(self, value: Tensor, places: Sequence[Place]) -> None:
        """Copies it to where it is wanted."""
        for place in places:
            self.slice(place, tuple(value.shape)).copy_(value)


# --- steps ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OnKernel:
    """A part that a kernel of ours computes into ``out``."""

    kernel: Kernel
    config: Config
    problem: Problem
    packed: Mapping[str, Tensor]
    slots: tuple[int, ...]

    @property
    def size(self) -> Size:
        """``[N, C, H, W]`` or ``[N, C]`` of its result."""
        return (self.problem.batch, *shape(self.problem.output))

    def __call__(self, inputs: Sequence[Tensor], out: Tensor) -> Tensor:
        from cnndsl.kernels.base import Operands, run

        run(self.kernel.launches(self.problem, self.config, Operands(inputs, self.packed, out)))
        return out


@dataclass(frozen=True)
class OnTorch:
    """A part that PyTorch computes."""

    problem: Problem
    function: Function
    slots: tuple[int, ...]

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        return self.function(*inputs)


Part = OnKernel | OnTorch


class Call(NamedTuple):
    """A step: its ``parts`` one after another; none for a concatenation that is a view."""

    parts: tuple[Part, ...]
    reads: tuple[int, ...]
    writes: int
    release: tuple[int, ...]


def lower(step: Step, weights: Mapping[str, Tensor], job: Job) -> tuple[Part, ...]:
    """The step as parts, each as much as one kernel takes."""
    from cnndsl.kernels.problem import Problem, as_chains
    from cnndsl.kernels.segments import segments
    from cnndsl.kernels.table import taking

    whole = Problem.of(step, job.sizes, job.shapes[0][0], job.dtype)
    own = as_chains(step.op, weights)
    target = capability()
    cuts = segments(whole, lambda part: bool(taking(part, target)))
    return tuple(_part(cut, cut.weights(own), target) for cut in cuts)


def _part(cut: Segment, weights: Mapping[str, Tensor], target: int) -> Part:
    from cnndsl.kernels.table import taking

    problem = cut.problem
    weights = {name: _stored(w, problem.dtype) for name, w in weights.items()}
    for kernel in taking(problem, target):
        config = kernel.configs(problem, target)[0]
        return OnKernel(kernel, config, problem, kernel.pack(problem, weights), cut.slots)
    rounded = {name: w.to(problem.dtype) for name, w in weights.items()}
    return OnTorch(problem, function_of(problem.chain, problem.inputs, rounded), cut.slots)


def _stored(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Filters in the dtype of the maps, for products; one number per channel as it is."""
    if weight.dim() == 1:
        return weight
    rounded = weight.to(dtype)
    if not rounded.isfinite().all():
        raise EngineError(f"a folded filter is not finite in {str(dtype).partition('.')[2]}")
    return rounded
