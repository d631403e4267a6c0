"""A global average of a 1x1 convolution reads the convolution's input instead."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv
from cnndsl.ops.linear import Linear
from cnndsl.ops.pool import GlobalAvgPool
from cnndsl.ops.reshape import Flatten
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fold_affine import bias_of
from cnndsl.passes.known import is_pointwise, is_zero, matrix
from cnndsl.weights.expr import Expr, einsum


@dataclass(frozen=True)
class HoistGate(Rewrite):
    """The squeeze of squeeze and excitation reads the smaller tensor.

        h -> conv(W) -> (id * gap -> fc(V) -> ...)
        becomes   h -> (conv(W) * gap -> fc(V W) -> ...)

        V mean(W h + b) + c  =  (V W) mean(h) + (V b + c)

    So the gate is known before the convolution ends, and can be its epilogue. Pays when ``h``
    has fewer values than the convolution gives: the average reads less, and the first layer of
    the gate shrinks with it. Guards: the convolution is 1x1 with stride 1 and no padding (its
    average is linear in the input's); the average is read by one linear layer, which takes the
    product of the weights; nothing but a flatten stands between.
    """

    name = "hoist-gate"
    after = ("norm-to-affine", "fold-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, GlobalAvgPool):
            return None
        conv = step.inputs[0]
        if not isinstance(conv.op, Conv | Linear):
            return None
        if not averages_alike(conv):
            return Missed("the average of this convolution is not that of its input")
        if not reads_less(conv, flow):
            return Missed("does not pay: the convolution's input has no fewer values")
        path = _path(step, flow)
        if path is None:
            return Missed("no single linear layer reads the average")
        _rebuild(conv, path, flow)
        return Fired("the average reads the convolution's input, the smaller tensor")


def averages_alike(conv: Step) -> bool:
    """Whether mean(conv(h)) = conv(mean(h)): one matrix, applied at every position."""
    return is_pointwise(conv)


def reads_less(conv: Step, flow: Flow) -> bool:
    return flow.values(conv.inputs[0]) < flow.values(conv)


def _path(step: Step, flow: Flow) -> list[Step] | None:
    """The average, a flatten if there is one, and the linear layer that reads it alone."""
    path = [step]
    while (user := flow.only_user(path[-1])) is not None:
        path.append(user)
        if not isinstance(user.op, Flatten):
            break
    last = path[-1]
    return path if last is not step and takes_product(last) else None


def takes_product(layer: Step) -> bool:
    return isinstance(layer.op, Linear) or is_pointwise(layer)


def _rebuild(conv: Step, path: list[Step], flow: Flow) -> None:
    x = conv.inputs[0]
    for link in path[:-1]:
        x = flow.add(link.op, [x], origins=link.origins)
    layer = path[-1]
    weights = _product(layer, conv)
    op = layer.op.replace(bias=True)
    origins = (*conv.origins, *layer.origins)
    flow.replace(layer, flow.add(op, [x], weights, origins))


def _product(layer: Step, conv: Step) -> dict[str, Expr]:
    """Weight and bias of ``layer`` after ``conv``."""
    outer, inner = matrix(layer), matrix(conv)
    product = einsum("oc,ci->oi", outer, inner)
    ones = (1,) * (len(layer.weights["weight"].shape) - 2)
    bias = bias_of(layer)
    if not is_zero(bias_of(conv)):
        bias = bias + einsum("oc,c->o", outer, bias_of(conv))
    return {"weight": product.reshape(*product.shape, *ones), "bias": bias}
