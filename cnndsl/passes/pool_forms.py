"""One form for pools that say the same."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.base import Op
from cnndsl.ops.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
)
from cnndsl.ops.types import FeatureMap
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import AVERAGE_POOLS


@dataclass(frozen=True)
class PoolForms(Rewrite):
    """A pool becomes the plainest one with the same windows.

        adaptive_avgpool(1)           -> gap
        adaptive_avgpool(7) on 14x14  -> avgpool(2)
        avgpool(7) on 7x7             -> gap
        avgpool(2, ceil=yes) on 8x8   -> avgpool(2)

    and so for maxima. Pays: rewrites and engines know the plain forms. Guards: sizes that are
    numbers for every input, not only at the reference size; divisible ones, else adaptive
    windows differ in size; a window that is the whole map, without padding; as many windows
    without ``ceil`` as with it.
    """

    name = "pool-forms"
    after = ("remove-identity",)
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        op = step.op
        if not isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool | AvgPool | MaxPool):
            return None
        plain = _plain(step)
        if plain is None:
            return None
        flow.replace(step, flow.add(plain, step.inputs, origins=step.origins))
        return Fired(f"`{op.text()}` here is `{plain.text()}`")


def _plain(step: Step) -> Op | None:
    op, x = step.op, step.inputs[0].type
    average = isinstance(op, AVERAGE_POOLS)
    assert isinstance(x, FeatureMap)
    if isinstance(op, AvgPool | MaxPool):
        if not sees_whole_map(op, x):
            return _floored(op, x)
        return GlobalAvgPool() if average else GlobalMaxPool()
    assert isinstance(op, AdaptiveAvgPool | AdaptiveMaxPool)
    if op.output == (1, 1):
        return GlobalAvgPool() if average else GlobalMaxPool()
    height, width = (_part(s, o) for s, o in zip((x.height, x.width), op.output, strict=True))
    if height is None or width is None:
        return None
    return AvgPool((height, width)) if average else MaxPool((height, width))


def _floored(op: AvgPool | MaxPool, x: FeatureMap) -> Op | None:
    """The pool without ``ceil``, if that gives windows of the same number on both axes."""
    plain = op.replace(ceil=False)
    return plain if op.ceil and as_many(plain, op, x) else None


def as_many(plain: Op, op: Op, x: FeatureMap) -> bool:
    return plain.shape(x) == op.shape(x)


def sees_whole_map(op: AvgPool | MaxPool, x: FeatureMap) -> bool:
    """Whether its one window is the map, for every input size."""
    dilated = isinstance(op, MaxPool) and op.dilation != (1, 1)
    return op.kernel == (x.height, x.width) and op.padding == (0, 0) and not dilated


def _part(size: object, parts: int) -> int | None:
    """The size of equal windows without overlap; None if there are none."""
    if not isinstance(size, int) or not divides(parts, size):
        return None
    return size // parts


def divides(parts: int, size: int) -> bool:
    return size % parts == 0
