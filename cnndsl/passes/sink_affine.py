"""A factor and a summand per channel move to where there are fewer values."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from cnndsl.ops.linear import Linear
from cnndsl.ops.pool import AvgPool
from cnndsl.ops.reshape import Flatten
from cnndsl.ops.types import FeatureMap, number
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import AVERAGE_POOLS
from cnndsl.passes.known import is_zero
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import Expr, full


@dataclass(frozen=True)
class SinkAffine(Rewrite):
    """``affine -> gap`` becomes ``gap -> affine``; ``affine -> flatten -> linear`` becomes
    ``flatten -> affine -> linear``.

        mean(w x + b) = w mean(x) + b

    Pays when the pool gives fewer values than it reads, or when a linear layer comes next,
    which takes the affine into its weights. Guards: the affine has no other reader; every
    average is over values of the map, or the summand is 0: a zero of the padding that counts
    gets no summand.
    """

    name = "sink-affine"
    after = ("norm-to-affine", "scale-to-affine", "fold-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Affine):
            return None
        user = flow.only_user(step)
        if user is None or not (_shrinks(step, user, flow) or _ends_in_linear(user)):
            return None
        if not averages_map_only(step, user):
            return Missed("the zeros around the map count in the average and get no summand")
        moved = flow.add(user.op, step.inputs, origins=user.origins)
        weights = {name: _along(expr, user) for name, expr in step.weights.items()}
        flow.replace(user, flow.add(Affine(), [moved], weights, step.origins))
        return Fired(f"after `{user.op.text()}`")


def _shrinks(step: Step, user: Step, flow: Flow) -> bool:
    if not isinstance(user.op, AVERAGE_POOLS):
        return False
    return flow.values(user) < flow.values(step)


def _ends_in_linear(user: Step) -> bool:
    readers = user.users.values()
    return (
        isinstance(user.op, Flatten)
        and bool(readers)
        and all(isinstance(reader.op, Linear) for reader in readers)
    )


def averages_map_only(step: Step, user: Step) -> bool:
    """Whether a summand before the pool is the same summand after it."""
    op = user.op
    if not isinstance(op, AvgPool) or is_zero(step.weights["bias"]):
        return True
    return op.padding == (0, 0) or not op.count_include_pad


def _along(expr: Expr, user: Step) -> Expr:
    """One number per channel, in the order of what ``user`` gives."""
    if not isinstance(user.op, Flatten):
        return expr
    (channels,) = expr.shape
    slower, faster = _around(user)
    repeated = full((slower, channels, faster), 1) * expr.reshape(1, channels, 1)
    return repeated.reshape(user.channels)


def _around(user: Step) -> tuple[int, int]:
    """Positions that change more slowly, and faster, than the channels."""
    op, x = user.op, user.inputs[0].type
    assert isinstance(op, Flatten) and isinstance(x, FeatureMap)
    sizes = {"h": number(x.height), "w": number(x.width)}
    before, after = op.order.split("c")
    return prod(sizes[axis] for axis in before), prod(sizes[axis] for axis in after)
