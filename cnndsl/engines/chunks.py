"""Depth first through the batch: a few samples at a time, so that their values stay in cache.

No number changes, because in eval mode no operator looks across samples. Whether it pays
depends on caches and network, so it is measured (``choose``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import count
from threading import Event

import torch
from torch import Tensor

from cnndsl.engines.base import Engine, EngineError, Job, Runner
from cnndsl.ops.base import Op
from cnndsl.passes.flow import Flow
from cnndsl.passes.ops import Chain

SIZES = (1, 4)
"""Samples per chunk that are tried."""


def sizes_for_batch(flow: Flow, batch: int, sizes: Sequence[int] = SIZES) -> tuple[int, ...]:
    """Chunk sizes worth trying: those that divide the batch, if samples are independent."""
    if not independent(flow):
        return ()
    return tuple(size for size in sizes if size < batch and batch % size == 0)


def independent(flow: Flow) -> bool:
    """Whether only operators run of which we know that they take sample by sample."""
    ops = [step.op for step in flow]
    links = [link.op for op in ops if isinstance(op, Chain) for link in op.links]
    return all(map(is_ours, (*ops, *links)))


def is_ours(op: Op) -> bool:
    """Whether the operator is no package's, of which we know nothing but what it declares."""
    return type(op).__module__.startswith("cnndsl.")


def chunked(engine: Engine, job: Job, size: int, *, streams: bool = False) -> Runner:
    """A runner for the whole batch that takes ``size`` samples at a time.

    With ``streams`` each thread takes chunks of its own, and none waits for another within a
    layer. Raises EngineError.
    """
    part = replace(job, shapes=tuple((size, *s[1:]) for s in job.shapes))
    if not streams:
        runner = engine.build(part)
        return lambda *inputs: _joined([runner(*chunk) for chunk in _split(inputs, size)])
    runners = engine.streams(part)
    if len(runners) < 2:
        raise EngineError(f"{engine.name} has no streams here")
    return _Streams(runners, size)


class _Streams:
    """Runners that work off the chunks of a batch side by side."""

    def __init__(self, runners: Sequence[Runner], size: int) -> None:
        self.runners, self.size = runners, size
        self._process = -1

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        chunks = _split(inputs, self.size)
        found: list[Sequence[Tensor]] = [()] * len(chunks)
        left, failed = count(), Event()  # `next` is one step for all threads

        def work(runner: Runner) -> None:
            while not failed.is_set() and (number := next(left)) < len(chunks):
                try:
                    found[number] = runner(*chunks[number])
                except BaseException:
                    failed.set()
                    raise

        first, *others = self.runners
        others_at_work = [self._pool().submit(work, runner) for runner in others]
        try:
            work(first)
        finally:  # nobody is to work on when the caller has his answer, or an error
            wait(others_at_work)
        for future in others_at_work:
            future.result()
        return _joined(found)

    def _pool(self) -> ThreadPoolExecutor:
        if self._process != os.getpid():  # a fork has none of its parent's threads
            self._threads = ThreadPoolExecutor(len(self.runners) - 1)
            self._process = os.getpid()  # last: another thread may look at it
        return self._threads


def _split(inputs: Sequence[Tensor], size: int) -> list[tuple[Tensor, ...]]:
    return list(zip(*(x.split(size) for x in inputs), strict=True))


def _joined(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    return [torch.cat(values) for values in zip(*parts, strict=True)]
