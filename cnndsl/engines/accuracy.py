"""Whether an engine computes a flow as exactly as PyTorch does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job, Runner

SLACK = 1.25
"""How much larger than PyTorch's own error an engine's may be; both against float64."""


def agrees(runner: Runner, job: Job, inputs: Sequence[Tensor]) -> bool:
    """Whether the runner's error against float64 is at most ``SLACK`` times PyTorch's."""
    exact = Plain(job.flow, job.parameters, torch.float64)(*(x.double() for x in inputs))
    usual = Plain(job.flow, job.parameters, job.dtype)(*inputs)
    found = runner(*inputs)
    return all(
        error(got, true) <= SLACK * error(plain, true) + floor(true)
        for got, plain, true in zip(found, usual, exact, strict=True)
    )


def error(found: Tensor, true: Tensor) -> float:
    """The root of the mean squared difference."""
    return float((found.double() - true).square().mean().sqrt())


def floor(true: Tensor) -> float:
    """Differences below this are rounding of the result itself."""
    return float(torch.finfo(torch.float32).eps / 2 * true.square().mean().sqrt())
