"""The ``inductor`` engine: the rewritten flow through ``torch.compile``, weights frozen."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.engines.apply import entering, function_of
from cnndsl.engines.base import Engine, EngineError, Job, Runner
from cnndsl.engines.derived import derived


class InductorEngine(Engine):
    """PyTorch's compiler, for one shape at a time; takes every operator. Slow to build."""

    name = "inductor"

    def absent(self) -> str | None:
        if not any(shutil.which(compiler) for compiler in ("c++", "g++", "clang++")):
            return "inductor needs a C++ compiler, and none was found (c++, g++, clang++)"
        return None

    def build(self, job: Job) -> Runner:
        module = _with_own_code(FlowModule)(job).eval()
        options: dict[str, Any] = {"freezing": True}
        compiled = torch.compile(module, dynamic=False, options=options)
        example = [torch.zeros(shape, dtype=job.dtype) for shape in job.shapes]

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            # One mode and one kind of tensor: it would compile once more for another.
            with torch.inference_mode(False), torch.no_grad():
                given = [entering(x.detach(), job.dtype) for x in inputs]
                given = [x.clone() if x.is_inference() else x for x in given]
                found: Sequence[Tensor] = compiled(*given)
                return found

        try:
            run(*example)  # compiles now, so that a failure is seen now
        except Exception as error:  # its errors have no common base
            raise EngineError(f"inductor: {str(error).splitlines()[0]}") from None
        return run


class FlowModule(nn.Module):
    """A flow whose steps are submodules, as a tracer wants them."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        weights = derived(job)
        self.functions: list[Any] = []
        for step in job.flow:
            if step.inputs:
                types = [source.type for source in step.inputs]
                function: Any = function_of(step.op, types, weights.get(step.id, {}))
                if isinstance(function, nn.Module):
                    self.add_module(f"s{step.id}", function)
                    function = f"s{step.id}"  # looked up each time, as it may be exchanged
                reads = tuple(source.id for source in step.inputs)
                self.functions.append((function, reads, step.id))
        self.inputs = tuple(step.id for step in job.flow.inputs)
        self.results = tuple(step.id for step in job.flow.results)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(self.inputs, inputs, strict=True))
        for function, reads, writes in self.functions:
            target = getattr(self, function) if isinstance(function, str) else function
            values[writes] = target(*[values[i] for i in reads])
        return tuple(values[i] for i in self.results)


def _with_own_code(base: type[FlowModule]) -> type[FlowModule]:
    """PyTorch keeps what it compiles by code object, and of eight for one it compiles no more,
    without an error: each network gets its own."""
    code = base.forward.__code__.replace()
    return type(base.__name__, (base,), {"forward": FunctionType(code, base.forward.__globals__)})
