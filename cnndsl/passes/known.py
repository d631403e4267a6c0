"""What rewrites ask about weights and readers more than once."""

from __future__ import annotations

from cnndsl.passes.convolutions import keeps_positions
from cnndsl.passes.flow import Flow, Step
from cnndsl.weights.expr import Expr


def is_zero(expr: Expr) -> bool:
    """Whether it is 0 everywhere whatever the parameters are; False also means "not known"."""
    while expr.kind in ("reshape", "permute", "slice", "pad"):
        (expr,) = expr.args
    return expr.kind == "full" and expr.options[0] == 0


def read_only_by(step: Step, reader: Step, flow: Flow) -> bool:
    """Whether nobody else needs the value as it is."""
    return flow.only_user(step) is reader


def is_pointwise(step: Step) -> bool:
    """Whether it is one matrix applied to the channels of each position, at every position."""
    return keeps_positions(step) and getattr(step.op, "groups", 1) == 1


def matrix(step: Step) -> Expr:
    """The weight of a pointwise convolution or linear layer as ``[out, in]``."""
    weight = step.weights["weight"]
    return weight.reshape(*weight.shape[:2])
