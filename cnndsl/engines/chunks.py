"""Depth first through the batch: a few samples at a time, so that their values stay in cache.

No number changes, because in eval mode no operator looks across samples. Whether it pays
depends on caches and network, so it is measured (``choose``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cnndsl.engines.base import Engine, Job, Runner
from cnndsl.passes.flow import Flow
from cnndsl.passes.ops import Chain

SIZES = (1, 2, 4, 8)
"""Samples per chunk that are tried."""


def sizes_for_batch(flow: Flow, batch: int) -> tuple[int, ...]:
    """Chunk sizes worth trying: those that divide the batch, if samples are independent."""
    if not _independent(flow):
        return ()
    return tuple(size for size in SIZES if size < batch and batch % size == 0)


def _independent(flow: Flow) -> bool:
    """Whether only operators run of which we know that they take sample by sample."""
    ops = [step.op for step in flow]
    links = [link.op for op in ops if isinstance(op, Chain) for link in op.links]
    return all(type(op).__module__.startswith("cnndsl.") for op in (*ops, *links))


def chunked(engine: Engine, job: Job, size: int) -> Runner:
    """A runner for the whole batch that takes ``size`` samples at a time."""
    runner = engine.build(replace(job, shapes=tuple((size, *s[1:]) for s in job.shapes)))

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        parts = [runner(*chunk) for chunk in zip(*(x.split(size) for x in inputs), strict=True)]
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    return run
