"""The numbers of a job: every step's weights, evaluated in float64 and rounded once."""

from __future__ import annotations

import torch
from torch import Tensor

from cnndsl.engines.base import EngineError, Job
from cnndsl.weights.evaluate import Evaluator

Tensors = dict[int, dict[str, Tensor]]


def derived(job: Job) -> Tensors:
    """For each step id its weights by name.

    Biases stay float32 in half precision: they are added in the accumulator, where an engine can.
    Raises EngineError where a number is not finite: folding may overflow where the plain module
    does not.
    """
    value = Evaluator(job.parameters)
    found: Tensors = {}
    for step in job.flow:
        if step.weights:
            found[step.id] = {
                name: _rounded(value(expr), job.dtype, name, step.origins[0].path)
                for name, expr in step.weights.items()
            }
    return found


def _rounded(exact: Tensor, dtype: torch.dtype, name: str, where: str) -> Tensor:
    if dtype.itemsize < 4 and name.rpartition(".")[2] == "bias":
        dtype = torch.float32
    rounded = exact.to(dtype)
    # A sum is finite exactly when no term is infinite or NaN, or the sum itself overflows.
    if not rounded.sum(dtype=torch.float64).isfinite():
        raise EngineError(f"`{where}`: {name} is not finite in {str(dtype).partition('.')[2]}")
    return rounded.to(memory_format=torch.channels_last) if rounded.dim() == 4 else rounded
