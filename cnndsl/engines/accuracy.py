"""Whether an engine computes a flow as exactly as PyTorch does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import exp, inf, isfinite, isnan, log
from statistics import fmean
from time import perf_counter

import torch
from torch import Tensor

from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job, Runner
from cnndsl.engines.chunks import independent

SLACK = 1.25
"""How much larger than PyTorch's own error an engine's may be; both against float64."""
SAMPLES = 8
"""How many are looked at: on one alone errors differ by chance, up to threefold in deep nets."""
FEW, PATIENCE = 3, 10.0
"""After so many samples and seconds no further input is computed."""


def agrees(runner: Runner, job: Job, inputs: Sequence[Tensor]) -> bool:
    """Whether the runner's error against float64 is at most ``SLACK`` times PyTorch's."""
    return Standard(job, [inputs]).is_met_by(runner)


class Standard:
    """How exactly PyTorch computes a flow for some inputs, as a measure for engines.

    Of a large batch only some samples are computed, and of several inputs those that
    ``PATIENCE`` is enough for: in float64, or in bfloat16 on a processor without arithmetic for it,
    a sample of VGG-16 takes seconds.
    """

    def __init__(self, job: Job, inputs: Sequence[Sequence[Tensor]]) -> None:
        self.job, self.inputs = job, inputs

    @cached_property
    def cases(self) -> list[tuple[Sequence[Tensor], list[tuple[Tensor, Tensor]]]]:
        """Inputs, and for each result what PyTorch and what float64 make of their ``sample``."""
        job = self.job
        exact = Plain(job.flow, job.parameters, torch.float64)
        usual = Plain(job.flow, job.parameters, job.dtype)
        found = []
        begun, seen = perf_counter(), 0
        for inputs in self.inputs:
            some = list(map(self._sample, inputs))
            results = zip(usual(*some), exact(*(x.double() for x in some)), strict=True)
            found.append((inputs, list(results)))
            seen += len(some[0])
            if seen >= FEW and perf_counter() - begun > PATIENCE:
                break
        return found

    def _sample(self, x: Tensor) -> Tensor:
        """Samples from the first to the last; all, where they may depend on each other."""
        if len(x) <= SAMPLES or not independent(self.job.flow):
            return x
        return x[torch.linspace(0, len(x) - 1, SAMPLES).long()]

    def is_met_by(self, runner: Runner, slack: float = SLACK) -> bool:
        """Whether its error is at most ``slack`` times PyTorch's."""
        return self.error_of(runner, slack) <= slack

    def error_of(self, runner: Runner, slack: float = SLACK) -> float:
        """How many times as large as PyTorch's a sample's error usually is, of each result and its
        border: the largest of these. ``slack``: what is to be told apart.

        Not a batch's: in deep networks with gates samples' errors are up to a hundredfold apart,
        and a batch's is that of its worst two or three. By it PyTorch is 1.9 times as wrong on 16
        samples of SE-ResNet-50 taken one by one as taken together; by this mean, 1.3 times.
        """
        seen = [
            [
                one
                for got, (plain, true) in zip(runner(*inputs), results, strict=True)
                for one in _excess(self._sample(got), plain, true, slack)
            ]
            for inputs, results in self.cases
        ]
        means = (fmean(found) for found in zip(*seen, strict=True))
        return max((inf if isnan(mean) else exp(mean) for mean in means), default=0.0)


def samples(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype) -> list[list[Tensor]]:
    """Random inputs, so many that at least ``SAMPLES`` are in them."""
    generator = torch.Generator().manual_seed(0)
    return [
        [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
        for _ in range(-(-SAMPLES // shapes[0][0]))
    ]


def _excess(found: Tensor, plain: Tensor, true: Tensor, slack: float) -> Iterator[float]:
    """The logarithm of one error over the other, the mean over samples: everywhere, and on the
    border. Below the floor all errors are equal."""
    for part in (_whole, _border) if _has_border(true) else (_whole,):
        samples = zip(part(found), part(plain), part(true), strict=True)
        yield fmean(_log_ratio(*sample, slack=slack) for sample in samples)


def _log_ratio(found: Tensor, plain: Tensor, true: Tensor, *, slack: float) -> float:
    least = floor(true) / slack + torch.finfo(torch.float64).tiny
    mine, usual = error(found, true), error(plain, true)
    return log(max(mine, least) / max(usual, least)) if isfinite(usual) else inf


def _whole(y: Tensor) -> Tensor:
    return y


def _has_border(y: Tensor) -> bool:
    return y.dim() == 4 and min(y.shape[2:]) > 2


def _border(y: Tensor) -> Tensor:
    """The outermost pixels: what padding gets wrong, it gets wrong there."""
    return torch.cat([y[:, :, 0], y[:, :, -1], y[:, :, :, 0], y[:, :, :, -1]], dim=2)


def error(found: Tensor, true: Tensor) -> float:
    """The root of the mean squared difference."""
    return float((found.double() - true).square().mean().sqrt())


def floor(true: Tensor) -> float:
    """Differences below this, a unit in the last place, are no reason to prefer one to another."""
    return float(torch.finfo(torch.float32).eps * true.square().mean().sqrt())
