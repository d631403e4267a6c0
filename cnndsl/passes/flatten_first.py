"""A head on a single position is a head on a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnndsl.ops.activation import LogSoftmax, PReLU, Softmax
from cnndsl.ops.conv import Conv
from cnndsl.ops.linear import Linear
from cnndsl.ops.norm import LayerNorm
from cnndsl.ops.reshape import Flatten
from cnndsl.ops.types import FeatureMap
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import ACTIVATIONS
from cnndsl.passes.known import is_pointwise, matrix, read_only_by
from cnndsl.passes.ops import Affine

# On the channels of one position they do what they do on a vector.
_CHANNELWISE = (*ACTIVATIONS, Affine, LayerNorm, LogSoftmax, PReLU, Softmax)


@dataclass(frozen=True)
class FlattenFirst(Rewrite):
    """``gap -> conv(n, 1) -> flatten`` becomes ``gap -> flatten -> linear(n)``.

        (W x)[:, 0, 0] = W (x[:, 0, 0])

    Activations between move along. Pays when a 1x1 convolution becomes a linear layer: on one
    position that is a plain product of matrices, without the layouts of an image. Guards: the
    map has one position for every input size; nothing else reads a step on the way.
    """

    name = "flatten-first"
    after = ("norm-to-affine", "fold-affine", "sink-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Flatten) or not on_one_position(step):
            return None
        head = _head(step, flow)
        if not any(is_pointwise(link) for link in head):
            return None
        last = flow.add(Flatten(), head[0].inputs, origins=step.origins)
        for link in head:
            last = _on_vector(link, last, flow)
        flow.replace(step, last)
        return Fired("one position: linear layers instead of convolutions")


def on_one_position(step: Step) -> bool:
    x = step.inputs[0].type
    return isinstance(x, FeatureMap) and (x.height, x.width) == (1, 1)


def _head(step: Step, flow: Flow) -> Sequence[Step]:
    """The steps before the flatten that may as well stand behind it, first to last."""
    found: list[Step] = []
    top = step
    while on_one_position(top):
        (source,) = top.inputs
        if not movable(source, top, flow):
            break
        found.append(source)
        top = source
    # What stands before the first convolution gains nothing.
    while found and not is_pointwise(found[-1]):
        found.pop()
    return found[::-1]


def movable(source: Step, reader: Step, flow: Flow) -> bool:
    known = isinstance(source.op, _CHANNELWISE) or is_pointwise(source)
    return known and read_only_by(source, reader, flow) and on_one_position(source)


def _on_vector(link: Step, x: Step, flow: Flow) -> Step:
    if not is_pointwise(link):
        return flow.add(link.op, [x], link.weights, link.origins)
    assert isinstance(link.op, Conv | Linear)
    weights = {**link.weights, "weight": matrix(link)}
    return flow.add(Linear(link.op.out, link.op.bias), [x], weights, link.origins)
