"""Which values are never negative, by looking at how they are made."""

from __future__ import annotations

from cnndsl.ops.activation import Hardsigmoid, ReLU, ReLU6, Sigmoid, Softmax
from cnndsl.ops.base import Op
from cnndsl.ops.merge import Add, Concat, Join, Max, Mean, Mul
from cnndsl.ops.pool import MaxPool
from cnndsl.ops.regular import Scale
from cnndsl.ops.reshape import (
    ChannelShuffle,
    Crop,
    Flatten,
    Pad,
    PadChannels,
    PixelShuffle,
    Slice,
    Upsample,
)
from cnndsl.passes.flow import Step
from cnndsl.passes.kinds import AVERAGE_POOLS, MAX_POOLS, NOISE

MOST_STEPS = 64

# Never negative, whatever they read.
_ALWAYS = (ReLU, ReLU6, Sigmoid, Hardsigmoid, Softmax)
_MOVES = (ChannelShuffle, Crop, Flatten, Pad, PadChannels, PixelShuffle, Slice, Upsample)
_JOINS = (Add, Concat, Join, Mean, Mul)
_KEEPING = (*AVERAGE_POOLS, *MAX_POOLS, *_MOVES, *NOISE, *_JOINS, Scale)


def nonnegative(step: Step) -> bool:
    """Whether every value of ``step`` is at least 0 or NaN, for all weights and inputs.

    False also means "not known". Looks at no more than ``MOST_STEPS`` steps.
    """
    waiting, seen = [step], set[int]()
    while waiting:
        top = waiting.pop()
        if top.id in seen or isinstance(top.op, _ALWAYS):
            continue
        seen.add(top.id)
        if len(seen) > MOST_STEPS:
            return False
        if isinstance(top.op, Max):
            # One operand that is never negative is enough for the largest.
            if any(isinstance(source.op, _ALWAYS) for source in top.inputs):
                continue
        elif not _keeps(top.op):
            return False
        waiting.extend(top.inputs)
    return True


def _keeps(op: Op) -> bool:
    """Whether it makes nothing negative out of nothing negative."""
    if isinstance(op, MaxPool):
        return not sees_only_padding(op)
    if isinstance(op, Pad):
        return op.value >= 0
    if isinstance(op, Scale):
        return isinstance(op.by, float) and op.by >= 0
    return isinstance(op, _KEEPING)


def sees_only_padding(op: MaxPool) -> bool:
    """Whether a window may lie between two paddings and see nothing else: its value is -inf.

    Without dilation `padding <= kernel/2` forbids it; a dilated window may step over a map
    that is small enough.
    """
    return op.padding != (0, 0) and op.dilation != (1, 1)
