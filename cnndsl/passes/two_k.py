"""The sum of two 1x1 convolutions is one with two inputs."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Add, Concat
from cnndsl.ops.pool import MaxPool
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import is_one_size, reads_one_position
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fold_affine import bias_of
from cnndsl.weights.expr import concat


@dataclass(frozen=True)
class TwoK(Rewrite):
    """The projection shortcut of a residual block, in the block's last convolution::

        conv(c, 1)(h) + conv(c, 1, stride=2)(x)
            becomes   concat(h, maxpool(1, stride=2)(x)) -> conv(c, 1)

        W h + b + V x + d  =  [W V] [h; x] + (b + d)

    One matrix product over the channels of both (two K), so the sum needs no pass through
    memory. A pool with a window of one pixel only leaves pixels out.

    Pays where a kernel reads its two inputs in place; elsewhere the concatenation copies both,
    which costs more than the sum did. So it is off unless ``pays``.

    Guards: windows of one pixel without padding; groups of 1; the sum is the only reader of
    each. Strides may differ: each input is brought to the size of the sum.
    """

    pays: bool = False
    """Whether the engine's kernel reads its two inputs in place."""

    name = "two-k"
    after = ("fold-affine", "merge-siblings")

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Add) or not self.is_one_size(step):
            return None
        convs = [s for s in step.inputs if self.is_product(s) and self.may_go(s, step, flow)]
        if len(convs) < 2:
            return None
        if not self.pays:
            return Missed("one product over both inputs does not pay: they would be copied")
        rest = [s for s in step.inputs if s not in convs]
        new = _product(convs, step, flow)
        if rest:
            new = flow.add(step.op, [new, *rest], origins=(*new.origins, *step.origins))
        flow.replace(step, new)
        return Fired(f"{len(convs)} convolutions and their sum as one product")

    def is_one_size(self, join: Step) -> bool:
        """Whether the sum says its size as any of its operands."""
        return is_one_size(join)

    def is_product(self, step: Step) -> bool:
        """A map of channels, the same at each position that it reads."""
        return isinstance(step.op, Conv) and reads_one_position(step) and step.op.groups == 1

    def may_go(self, conv: Step, step: Step, flow: Flow) -> bool:
        """Nobody else reads the convolution's own value."""
        return flow.only_user(conv) is step


def _product(convs: list[Step], step: Step, flow: Flow) -> Step:
    inputs = [_thinned(conv, flow) for conv in convs]
    origins = [origin for conv in convs for origin in conv.origins]
    joined = flow.add(Concat(), inputs, origins=origins)
    weights = {"weight": concat([conv.weights["weight"] for conv in convs], 1)}
    if bias := any("bias" in conv.weights for conv in convs):
        total = bias_of(convs[0])
        for conv in convs[1:]:
            total = total + bias_of(conv)
        weights["bias"] = total
    op = convs[0].op.replace(stride=(1, 1), bias=bias)
    return flow.add(op, [joined], weights, (*origins, *step.origins))


def _thinned(conv: Step, flow: Flow) -> Step:
    """The pixels that the convolution reads."""
    (x,) = conv.inputs
    stride = conv.op.stride  # type: ignore[attr-defined]
    if stride == (1, 1):
        return x
    return flow.add(MaxPool((1, 1), stride), [x], origins=conv.origins)
