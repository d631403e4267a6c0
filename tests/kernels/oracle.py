"""Whether a kernel computes a problem: every number right, and nothing touched beside them.

Operands lie in storages full of NaN, so whatever is read beside them shows in the result; the
result lies in one too, and everything beside it must be as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import cnndsl
from cnndsl.graph.cost import shape
from cnndsl.kernels.base import Config, Kernel, Operands, laid, run
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.reference import backward_error, reference
from cnndsl.passes.base import Pipeline
from cnndsl.passes.chains import feeds_only, fuse
from cnndsl.passes.flow import Flow
from cnndsl.passes.normalization import NormToAffine
from cnndsl.passes.pipeline import GPU
from tests.kernels.bounds import regions, within
from tests.passes.hook import unmeasured

UNITS = 8.0
"""The largest backward error, in units of float32 rounding."""
GUARD = 64
"""Numbers before and behind every tensor; NaN, so that reading one shows."""
DENSE, SLICE, PLANAR, ALIGNED = "dense", "slice", "planar", "aligned"
"""Channels last; a slice of the channels of a wider map; channels first; a slice that begins,
and whose pixels are apart, at multiples of 16 bytes."""
BESIDE = {DENSE: 0, SLICE: 5, ALIGNED: 8}
"""Channels on either side of a slice."""


def problem_of(text: str, batch: int = 2, dtype: torch.dtype = torch.float32) -> Problem:
    """All of ``net N: <text>`` as one chain, fused as for a GPU and beyond; no ``bn`` folded."""
    flow = Flow(cnndsl.loads(f"net N: {text}").net().graph)
    with unmeasured():  # the rewrites have their own tests
        Pipeline([NormToAffine()]).run(flow)
        GPU.run(flow)
    steps = [step for step in flow if step.inputs]
    while len(steps) > 1:
        assert feeds_only(flow, steps[0], steps[1]), f"{text} is no chain"
        fuse(flow, steps[0], steps[1])
        steps = [step for step in flow if step.inputs]
    (step,) = steps
    return Problem.of(step, {}, batch, dtype)


def accepted(
    kernel: Kernel,
    capability: int,
    text: str,
    batch: int = 2,
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """A problem that the kernel takes."""
    problem = problem_of(text, batch, dtype)
    assert kernel.refuses(problem, capability) is None
    return problem


class Drawn(NamedTuple):
    inputs: list[Tensor]
    weights: dict[str, Tensor]


def drawn(problem: Problem, seed: int = 0) -> Drawn:
    """Numbers around 1 of both signs; biases and what else acts on sums stays float32."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [
        torch.randn((problem.batch, *shape(type)), generator=generator).to(problem.dtype)
        for type in problem.inputs
    ]
    weights = {
        weight.name: torch.randn(weight.shape, generator=generator)
        for weight in problem.chain.weights(*problem.inputs)
    }
    rounded = {k: w.to(problem.dtype) if w.dim() > 1 else w for k, w in weights.items()}
    return Drawn(inputs, rounded)


def guarded(size: Sequence[int], dtype: torch.dtype, layout: str = DENSE) -> tuple[Tensor, Tensor]:
    """An empty tensor and the storage that it lies in, all NaN, as one vector."""
    if len(size) != 4:
        beside = BESIDE.get(layout, 0) if len(size) == 2 else 0
        wide = (*size[:-1], size[-1] + beside)
        storage, whole = _storage(wide, dtype)
        return whole[..., : size[-1]], storage
    n, c, h, w = size
    if layout == PLANAR:
        storage, whole = _storage((n, c, h, w), dtype)
        return whole, storage
    beside = BESIDE[layout]
    storage, whole = _storage((n, h, w, c + 2 * beside), dtype)
    return whole.permute(0, 3, 1, 2)[:, beside : beside + c], storage


def _storage(size: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    count = int(torch.Size(size).numel())
    storage = torch.full((count + 2 * GUARD,), torch.nan, dtype=dtype)
    return storage, storage[GUARD : GUARD + count].view(*size)


def placed(x: Tensor, layout: str = DENSE) -> Tensor:
    """The same numbers among NaN."""
    found, _ = guarded(tuple(x.shape), x.dtype, layout)
    return found.copy_(x)


def check(
    kernel: Kernel,
    problem: Problem,
    config: Config,
    layout: str = DENSE,
    seed: int = 0,
    units: float = UNITS,
    nan: int | None = None,
    size: float = 1.0,
) -> None:
    """AssertionError unless the kernel computes the problem, and touches nothing else.

    ``nan``: which number of input 0 is NaN; the result is then NaN where it must be and only
    there. ``size``: how large the inputs' numbers are.
    """
    given = drawn(problem, seed)
    for x in given.inputs:
        x.mul_(size)
    if nan is not None:
        given.inputs[0].view(-1)[nan] = torch.nan
    value, scale = reference(problem, *given)
    packed = {k: placed(w) for k, w in kernel.pack(problem, given.weights).items()}
    whole = (problem.batch, *shape(problem.output))
    out, storage = guarded(whole, problem.dtype, DENSE if layout == PLANAR else layout)
    inputs = [placed(x, layout) for x in laid(kernel, problem, given.inputs)]
    launches = kernel.launches(problem, config, Operands(inputs, packed, out))
    with within(regions(launches, [*inputs, *packed.values(), out])):
        run(launches)
    error = backward_error(out, value, scale)
    assert error.numel() == 0 or float(error.max()) <= units, (
        f"{problem}, {config}, {layout}: {float(error.max()):.1f} units off"
    )
    out.fill_(torch.nan)
    assert bool(storage.isnan().all()), f"{problem}, {config}, {layout}: wrote beside the result"
