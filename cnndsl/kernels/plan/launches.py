"""A plan with its numbers: what is launched, on memory that was laid out before.

One run is a fixed list of launches, so that a CUDA graph can hold it: ``Graphed`` records one
for its shapes and replays it. Weights are packed once, when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from cnndsl.engines.apply import Function
from cnndsl.engines.base import EngineError, Job
from cnndsl.engines.derived import derived
from cnndsl.kernels.base import Kernel, Operands, run
from cnndsl.kernels.plan.choice import Chooser, Piece
from cnndsl.kernels.plan.device import present
from cnndsl.kernels.plan.memory import Slot, memory
from cnndsl.kernels.plan.network import Plan, Planned, Region
from cnndsl.kernels.plan.planner import plan
from cnndsl.kernels.plan.storage import Lies
from cnndsl.kernels.plan.store import Store
from cnndsl.kernels.plan.vendor import Vendor
from cnndsl.passes.flow import Step
from cnndsl.passes.ops import RUNNING, Chain

Weights = Mapping[int, Mapping[str, Tensor]]
"""By the id of a step and the names of its operator."""


class Part(NamedTuple):
    """A piece with its weights: as a kernel reads them, or within a vendor's function."""

    piece: Piece
    packed: Mapping[str, Tensor]
    function: Function | None


class Launches:
    """One run of a plan on one device; its results hold until the next run.

    ``only``: of one of its regions; ``hold`` then takes the place of what runs before it.
    """

    def __init__(
        self, plan: Plan, weights: Weights, device: str, only: Region | None = None
    ) -> None:
        self.plan, self.memory, self.device = plan, memory(plan, only), device
        self.only, self.regions = only, plan.regions if only is None else (only,)
        self.arena = torch.empty(self.memory.bytes, dtype=torch.uint8, device=device)
        self.parts = {
            position: self._parts(plan.steps[position], weights)
            for region in self.regions
            for position in range(region.first, region.last)
        }
        self._theirs: dict[int, Tensor] = {}
        for source in self.memory.frames:
            self._clear(source)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        self.fill(inputs)
        self.run()
        return self.results()

    def fill(self, inputs: Sequence[Tensor]) -> None:
        """Copies the inputs to where the kernels read them, and as they want them, in one pass."""
        for step, x in zip(self.plan.flow.inputs, inputs, strict=True):
            self.value(step).copy_(x)

    def hold(self, step: Step, x: Tensor) -> None:
        """As if the step had given this."""
        storages = self.memory.storages
        if step.id in self.memory.frames:
            self._clear(step.id)
            self.value(step).copy_(x)
            return
        for lies in (storages.homes[step.id], *storages.writes[step.id]):
            if self.memory.slot(lies.storage):
                self._tensor(lies).copy_(x)
        if not self.memory.slot(storages.homes[step.id].storage):
            self._theirs[step.id] = x

    def results(self) -> list[Tensor]:
        """Copies of what was computed."""
        return [self.value(step).clone() for step in self.plan.flow.results]

    def _parts(self, planned: Planned, weights: Weights) -> list[Part]:
        own = _own(planned.step, weights)
        return [_part(piece, own, self.device) for piece in planned.pieces]

    @torch.no_grad()
    def run(self) -> None:
        """Every launch, in order."""
        for step in self.plan.flow.inputs if self.only is None else ():
            for lies in self.memory.storages.writes[step.id]:
                self._tensor(lies).copy_(self.value(step))
        for region in self.regions:
            for number in range(self.plan.batch // region.chunk):
                samples = slice(number * region.chunk, (number + 1) * region.chunk)
                for position in range(region.first, region.last):
                    self._run(position, samples)

    def _run(self, position: int, samples: slice) -> None:
        planned, parts = self.plan.steps[position], self.parts[position]
        if not parts:  # a view
            return
        inputs = [_chunk(self._read(source), samples) for source in planned.step.inputs]
        outs = [_chunk(out, samples) for out in self._outs(planned)]
        running = inputs[0]
        for index, part in enumerate(parts):
            slots = part.piece.segment.slots
            operands = [running if slot == RUNNING else inputs[slot] for slot in slots]
            if part.function is not None:
                running = part.function(*operands)
            elif part is parts[-1]:
                running = _launch(part, operands, outs.pop(0))
            else:
                between = self.memory.running[position, index]
                running = _launch(part, operands, self._whole(between))
        if not outs and parts[-1].piece.copies.kernels:
            running = running.clone(memory_format=torch.channels_last)  # a view with gaps
        for out in outs:
            out.copy_(running)
        self._theirs[planned.step.id] = running

    # --- where values lie ------------------------------------------------------------------------

    def _outs(self, planned: Planned) -> list[Tensor]:
        """Every place that the step's value belongs to; none where a vendor keeps it."""
        places = self.memory.storages.writes[planned.step.id]
        return [self._tensor(lies) for lies in places if self.memory.slot(lies.storage)]

    def value(self, step: Step) -> Tensor:
        """What the step gave, where it lies."""
        frame = self.memory.frames.get(step.id)
        return self._read(step) if frame is None else frame.inside(self._read(step))

    def _clear(self, source: int) -> None:
        """Zeros into the frame, which stays as it is from then on."""
        lies = self.memory.storages.homes[source]
        if self.memory.slot(lies.storage):
            self._tensor(lies).zero_()

    def _read(self, step: Step) -> Tensor:
        """``value``, in its frame if it has one."""
        lies = self.memory.storages.homes[step.id]
        return self._tensor(lies) if self.memory.slot(lies.storage) else self._theirs[step.id]

    def _tensor(self, lies: Lies) -> Tensor:
        slot = self.memory.slot(lies.storage)
        assert slot is not None
        return self._whole(slot).narrow(1, lies.offset, lies.channels)

    def _whole(self, slot: Slot) -> Tensor:
        """``[N, C, H, W]``, channels last, or ``[N, C]``."""
        bytes = self.arena[slot.offset : slot.offset + slot.block.bytes]
        channels, *pixels = slot.storage.size
        flat = bytes.view(self.plan.dtype).view(slot.samples, *pixels, channels)
        return flat.movedim(-1, 1)


def _chunk(x: Tensor, samples: slice) -> Tensor:
    """The samples of a chunk, out of the whole batch or of these alone."""
    return x if len(x) == samples.stop - samples.start else x[samples]


def _part(piece: Piece, own: Mapping[str, Tensor], device: str) -> Part:
    problem, maker = piece.segment.problem, piece.way.maker
    weights = {name: value.to(device) for name, value in piece.segment.weights(own).items()}
    if isinstance(maker, Vendor):
        return Part(piece, {}, maker.function(problem, weights))
    return Part(piece, maker.pack(problem, weights), None)


def _own(step: Step, weights: Weights) -> Mapping[str, Tensor]:
    """A step's weights under the names of its chain."""
    own = weights.get(step.id, {})
    return own if isinstance(step.op, Chain) else {f"0.{name}": w for name, w in own.items()}


def _launch(part: Part, inputs: Sequence[Tensor], out: Tensor) -> Tensor:
    kernel, config = part.piece.way.maker, part.piece.way.config
    assert isinstance(kernel, Kernel) and config is not None
    run(kernel.launches(part.piece.segment.problem, config, Operands(inputs, part.packed, out)))
    return out


class Graphed:
    """The launches as one CUDA graph, recorded once and replayed."""

    def __init__(self, launches: Launches) -> None:
        self.launches, self.graph = launches, recorded(launches.run)

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        self.launches.fill(inputs)
        self.graph.replay()
        return self.launches.results()


def recorded(run: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """What it launches, as a graph; what that reads and writes lives as long."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # compiles what is not compiled, and lets cuDNN choose
        for _ in range(WARM):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    graph.run = run  # type: ignore[attr-defined]
    return graph


WARM = 3
"""Runs before a graph is recorded."""


def graphed(job: Job) -> Graphed:
    """What this job runs on the GPU that is here, planned with what was measured on it.

    Raises EngineError for a dtype that no kernel computes in.
    """
    device, store = present(), Store.here()
    if job.dtype not in device.flops:
        raise EngineError(f"no kernel computes in {str(job.dtype).partition('.')[2]}")
    found = plan(job.flow, job.shapes[0][0], job.dtype, Chooser(device, store, store.known))
    return Graphed(Launches(found, derived(job), "cuda"))
