"""A rewritten flow as a module of ``cnndsl::chain`` operators, to be compiled or exported.

What no kernel takes runs on PyTorch's own operators. Exported on the CPU it is checked on the
CPU; moved to a GPU the same program runs our kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from cnndsl.engines.apply import function_of
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.kernels.library import WITHOUT_GPU, chain, weight_names
from cnndsl.kernels.problem import Problem, as_chains
from cnndsl.kernels.segments import Segment, segments
from cnndsl.kernels.spelling import spelled
from cnndsl.kernels.table import taking
from cnndsl.passes.flow import Step
from cnndsl.passes.ops import RUNNING, weights_of_link


class Lowered(nn.Module):
    """``forward`` takes one tensor per input of the flow and returns its results as a tuple.

    Kernels are chosen at the job's shapes; other shapes run too. Weights are evaluated and rounded
    once; not packed, which is left to whoever compiles it. Raises EngineError where a weight is
    not finite.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        weights = derived(job)
        self.inputs = [step.id for step in job.flow.inputs]
        self.results = [step.id for step in job.flow.results]
        self.calls = [(_reads(step), step.id) for step in job.flow if step.inputs]
        self.steps = nn.ModuleList(
            _Step(step, job, weights.get(step.id, {})) for step in job.flow if step.inputs
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(self.inputs, inputs, strict=True))
        for (reads, writes), step in zip(self.calls, self.steps, strict=True):
            values[writes] = step(*(values[i] for i in reads))
        return tuple(values[i] for i in self.results)


def _reads(step: Step) -> list[int]:
    return [source.id for source in step.inputs]


class _Step(nn.Module):
    """Parts one after another, each as long as one kernel takes."""

    def __init__(self, step: Step, job: Job, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        whole = Problem.of(step, job.sizes, job.shapes[0][0], job.dtype)
        own = as_chains(step.op, weights)
        cuts = list(segments(whole, _is_taken))
        self.slots = [cut.slots for cut in cuts]
        self.parts = nn.ModuleList(_part(cut, cut.weights(own)) for cut in cuts)

    def forward(self, *inputs: Tensor) -> Tensor:
        running: Any = None
        for slots, part in zip(self.slots, self.parts, strict=True):
            running = part(*(running if slot == RUNNING else inputs[slot] for slot in slots))
        return running  # type: ignore[no-any-return]


def _is_taken(problem: Problem) -> bool:
    return bool(taking(problem, WITHOUT_GPU))


def _part(cut: Segment, weights: Mapping[str, Tensor]) -> nn.Module:
    if _is_taken(cut.problem):
        return _Chain(cut.problem, weights)
    return _Plain(cut.problem, weights)


class _Chain(nn.Module):
    """One problem as one operator."""

    def __init__(self, problem: Problem, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.problem = spelled(problem)
        self.names = [f"weight{k}" for k, _ in enumerate(weight_names(problem))]
        for name, key in zip(self.names, weight_names(problem), strict=True):
            self.register_buffer(name, weights[key])

    def forward(self, *inputs: Tensor) -> Tensor:
        weights: Sequence[Tensor] = [getattr(self, name) for name in self.names]
        return chain(list(inputs), weights, self.problem)  # type: ignore[no-any-return]


class _Plain(nn.Module):
    """A problem of one link, as all are that no kernel takes, by PyTorch's own operator."""

    def __init__(self, problem: Problem, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        (link,), (types,) = problem.links, problem.operands
        self.slots = link.slots
        # A layer is a submodule: its weights are seen, and a tracer's twin may exchange it.
        self.function = function_of(link.op, types, weights_of_link(weights, 0))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*(inputs[slot] for slot in self.slots))
