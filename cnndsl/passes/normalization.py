"""Batch normalisation in eval mode is a factor and a summand per channel."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.norm import BatchNorm
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import full


@dataclass(frozen=True)
class NormToAffine(Rewrite):
    """``x -> bn`` becomes ``x -> affine``.

        bn(x) = (x - mean) / sqrt(var + eps) * weight + bias
              = x * w + (bias - mean * w),   w = weight / sqrt(var + eps)

    Always pays: it is what lets the factor be folded. No guard: a flow is eval mode.
    """

    name = "norm-to-affine"
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        op = step.op
        if not isinstance(op, BatchNorm):
            return None
        mean, variance = step.weights["running_mean"], step.weights["running_var"]
        one, zero = full(mean.shape, 1), full(mean.shape, 0)
        weight = step.weights.get("weight", one) / (variance + op.eps).sqrt()
        bias = step.weights.get("bias", zero) - mean * weight
        new = flow.add(Affine(), step.inputs, {"weight": weight, "bias": bias}, step.origins)
        flow.replace(step, new)
        return Fired("batch normalisation as a factor and a summand")
