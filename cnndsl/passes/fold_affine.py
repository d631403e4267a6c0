"""A factor and a summand per channel go into the convolution or linear layer before them."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import Expr, full


@dataclass(frozen=True)
class FoldAffine(Rewrite):
    """``conv -> affine`` becomes ``conv`` with other weights.

        w * (W x + b) + c  =  (w W) x + (w b + c)

    Guard: the convolution has no other reader, else it would be computed twice. A folded
    weight that is not finite is noticed when the numbers are known (``engines``).
    """

    name = "fold-affine"
    after = ("norm-to-affine", "scale-to-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Affine):
            return None
        (conv,) = step.inputs
        if not isinstance(conv.op, Conv | ConvTranspose | Linear):
            return None
        if flow.only_user(conv) is not step:
            return Missed("the convolution has another reader, which needs it as it is")
        factor = step.weights["weight"]
        weights = {
            "weight": conv.weights["weight"] * _per_output(factor, conv),
            "bias": bias_of(conv) * factor + step.weights["bias"],
        }
        origins = (*conv.origins, *step.origins)
        new = flow.add(conv.op.replace(bias=True), conv.inputs, weights, origins)
        flow.replace(step, new)
        return Fired("folded into the weights before it")


def bias_of(step: Step) -> Expr:
    """The bias of a convolution or linear layer; zeros if it has none."""
    known = step.weights.get("bias")
    return known if known is not None else full((step.channels,), 0)


def _per_output(factor: Expr, conv: Step) -> Expr:
    """The factor in the form that multiplies the convolution's weight."""
    weight = conv.weights["weight"]
    if not isinstance(conv.op, ConvTranspose):
        return factor.rows(len(weight.shape))
    # [in, out/groups, kh, kw]: the inputs of one group share the outputs of that group.
    inputs, outputs, *_ = weight.shape
    groups = conv.op.groups
    spread = full((groups, inputs // groups, 1), 1) * factor.reshape(groups, 1, outputs)
    return spread.reshape(inputs, outputs, 1, 1)
