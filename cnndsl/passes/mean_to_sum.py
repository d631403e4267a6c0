"""The mean of several columns without a division."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.merge import Add, Mean
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.homogeneous import absorbs, multiplied


@dataclass(frozen=True)
class MeanToSum(Rewrite):
    """``mean(conv a -> relu, conv b -> relu)`` becomes ``add`` of smaller convolutions.

        (relu(A x) + relu(B y)) / 2  =  relu(A/2 x) + relu(B/2 y)

    Pays: the division goes, and what is left is a residual sum that a convolution adds to as
    it writes (FractalNet's join becomes a running sum). Guards: every operand comes from
    weights through steps that keep a positive factor (``homogeneous``), and nothing else reads
    a step on the way; otherwise one operand would have to be multiplied at run time.
    """

    name = "mean-to-sum"
    after = ("remove-identity", "norm-to-affine", "fold-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Mean):
            return None
        if not is_same_type(step):
            return None
        if not all(absorbs(source, step, flow) for source in step.inputs):
            return Missed("an operand has no weights, or has readers, that could take the factor")
        factor = 1 / len(step.inputs)
        operands = [multiplied(source, factor, flow) for source in step.inputs]
        flow.replace(step, flow.add(Add(), operands, origins=step.origins))
        return Fired("a sum; the division is in the weights")


def is_same_type(step: Step) -> bool:
    """Whether the sum says its sizes as the mean does, which may have settled on another way."""
    return Add().infer(*(source.type for source in step.inputs)) == step.type
