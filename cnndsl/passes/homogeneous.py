"""Moving a positive factor from behind a value into the weights that make it."""

from __future__ import annotations

from cnndsl.ops.activation import LeakyReLU, PReLU, ReLU
from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.ops.merge import Add, Concat, Max, Mean
from cnndsl.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from cnndsl.ops.reshape import ChannelShuffle, Crop, Flatten, PadChannels, Slice
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.known import read_only_by
from cnndsl.passes.ops import Affine

MOST_STEPS = 16

# Linear in their weights and summands: a factor goes into all of them.
_SUMS = (Conv, ConvTranspose, Linear, Affine)
# f(c x) = c f(x) for every c > 0, taken over all operands at once.
_HOMOGENEOUS = (
    Add,
    AvgPool,
    ChannelShuffle,
    Concat,
    Crop,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    LeakyReLU,
    Max,
    MaxPool,
    Mean,
    PReLU,
    PadChannels,
    ReLU,
    Slice,
)


def absorbs(step: Step, reader: Step, flow: Flow) -> bool:
    """Whether ``step`` can be made a positive multiple of itself by changing weights alone."""
    waiting, seen = [(step, reader)], 0
    while waiting:
        top, user = waiting.pop()
        seen += 1
        if seen > MOST_STEPS or not read_only_by(top, user, flow):
            return False
        if isinstance(top.op, _SUMS):
            continue
        if not top.inputs or not is_homogeneous(top):
            return False
        waiting.extend((source, top) for source in top.inputs)
    return True


def is_homogeneous(step: Step) -> bool:
    return isinstance(step.op, _HOMOGENEOUS) and _infers_alike(step)


def _infers_alike(step: Step) -> bool:
    """A join may have settled on a size that its operands say in another way."""
    return not step.op.join or step.op.infer(*(s.type for s in step.inputs)) == step.type


def multiplied(step: Step, factor: float, flow: Flow) -> Step:
    """``factor * step`` as new steps; ``absorbs`` has said yes, so the depth is bounded."""
    if isinstance(step.op, _SUMS):
        weights = {name: expr * factor for name, expr in step.weights.items()}
        return flow.add(step.op, step.inputs, weights, step.origins)
    inputs = [multiplied(source, factor, flow) for source in step.inputs]
    return flow.add(step.op, inputs, step.weights, step.origins)
