"""A factor, learned or constant, in the form in which it can be folded."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.regular import Scale
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import full


@dataclass(frozen=True)
class ScaleToAffine(Rewrite):
    """``x -> scale`` and ``x -> scale(0.17)`` become ``x -> affine``.

        scale(x) = x * w = x * w + 0

    Pays: it is what lets the factor be folded into the convolution before it. No guard; the
    summand is known to be 0, which later rewrites lean on.
    """

    name = "scale-to-affine"
    after = ("remove-identity",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        op = step.op
        if not isinstance(op, Scale):
            return None
        shape = (step.channels,)
        factor = full(shape, op.by) if isinstance(op.by, float) else step.weights[""]
        weights = {"weight": factor.reshape(*shape), "bias": full(shape, 0)}
        flow.replace(step, flow.add(Affine(), step.inputs, weights, step.origins))
        return Fired("scaling as a factor per channel")
