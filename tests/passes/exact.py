"""Which values of a flow are exact in float64 in whatever order they are added up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cnndsl.graph.cost import concrete
from cnndsl.ops import activation, conv, linear, merge, norm, pool, regular, reshape
from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine, Chain
from tests.passes.values import Values

_LARGEST, _SMALLEST = 2.0**36, 2.0**-14
_ALWAYS = (
    conv.Conv, conv.ConvTranspose, linear.Linear, Affine, activation.ReLU, activation.ReLU6,
    activation.PReLU, merge.Add, merge.Max, merge.Mul, merge.Concat, pool.MaxPool,
    pool.AdaptiveMaxPool, pool.GlobalMaxPool, reshape.PixelShuffle, reshape.ChannelShuffle,
    reshape.Crop, reshape.Pad, reshape.PadChannels, reshape.Slice, reshape.Flatten,
    regular.Dropout, regular.Dropout2d, regular.DropPath, regular.Scale,
)  # fmt: skip


def exact_steps(flow: Flow, found: Mapping[int, Tensor], values: Values) -> set[int]:
    """Steps all of whose sums, from the inputs on, are of few bits."""
    exact = {step.id for step in flow.inputs}
    for step in flow:
        if step.inputs and all(s.id in exact for s in step.inputs):
            types = [concrete(s.type, values.drawn.sizes) for s in step.inputs]
            if _divides_evenly(step.op, types) and _few_bits(step, found, values):
                exact.add(step.id)
    return exact


def _few_bits(step: Step, found: Mapping[int, Tensor], values: Values) -> bool:
    weights = values.weights(step.weights).values()
    numbers = [found[step.id], *(found[s.id] for s in step.inputs), *weights]
    largest = [float(v.abs().max()) for v in numbers]
    total = max(largest[1:]) * max((float(w.abs().sum()) for w in weights), default=1.0)
    return max(*largest, total) < _LARGEST and all(
        torch.equal(scaled, scaled.round()) for v in numbers for scaled in (v / _SMALLEST,)
    )


def _divides_evenly(op: Op, types: Sequence[Type]) -> bool:
    """Whether nothing is divided, but by powers of two."""
    if isinstance(op, Chain):
        return all(
            _divides_evenly(link.op, operands)
            for link, operands in zip(op.links, op.types(*types), strict=True)
        )
    if isinstance(op, merge.Mean | merge.Join):
        return _is_power(len(types))
    if isinstance(op, norm.BatchNorm):
        return op.eps == 0
    return isinstance(op, _ALWAYS) or (isinstance(types[0], FeatureMap) and _even(op, types[0]))


def _even(op: Op, x: FeatureMap) -> bool:
    size = (x.height, x.width)
    if isinstance(op, pool.AvgPool):
        whole = op.count_include_pad or not any(op.padding)
        return whole and not op.ceil and _is_power(math.prod(op.kernel))
    if isinstance(op, pool.GlobalAvgPool):
        return _is_power(math.prod(size))  # type: ignore[arg-type]
    if isinstance(op, pool.AdaptiveAvgPool):
        even = all(s % k == 0 for s, k in zip(size, op.output, strict=True))  # type: ignore[operator]
        return even and _is_power(math.prod(s // k for s, k in zip(size, op.output, strict=True)))  # type: ignore[operator,misc]
    return isinstance(op, reshape.Upsample) and op.mode == "nearest"


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0
