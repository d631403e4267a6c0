"""A global mean and the small products behind it become one chain."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv
from cnndsl.ops.linear import Linear
from cnndsl.ops.pool import GlobalAvgPool
from cnndsl.ops.reshape import Flatten
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.chains import feeds_only, fuse, holds, links_of, operands
from cnndsl.passes.flow import Flow, Step


@dataclass(frozen=True)
class Squeeze(Rewrite):
    """Squeeze and excitation, and heads: what is computed of the means of an image.

        gap -> conv -> relu -> conv -> sigmoid      (gap -> conv -> relu -> conv -> sigmoid)
        gap -> flatten -> linear                    (gap -> flatten -> linear)

    Pays on a GPU where launches cost more than what they compute; whether they do is for the
    kernels' planner to say, which may cut the chain again. A product of vectors has no other
    use for a kernel of convolutions.

    Guards: what is computed has one reader, the next; two products at most, as one program
    holds all numbers between them.
    """

    name = "squeeze"
    after = ("prologue",)
    most: int = 2

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        first = links_of(step)[0].op
        if not isinstance(first, Conv | Linear):
            return None
        value = operands(step, links_of(step)[0])[0]
        mean = value.inputs[0] if isinstance(value.op, Flatten) else value
        if not holds(mean, GlobalAvgPool) or holds(mean, Conv, Linear) >= self.most:
            return None
        if not self.one_reader(mean, value, step, flow):
            return Missed("its means have another reader")
        if value is not mean:
            value = fuse(flow, mean, value)
        fuse(flow, value, step)
        return Fired("computed where the means are")

    def one_reader(self, mean: Step, value: Step, step: Step, flow: Flow) -> bool:
        alone = value is mean or feeds_only(flow, mean, value)
        return alone and feeds_only(flow, value, step)
