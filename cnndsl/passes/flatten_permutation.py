"""The order in which `flatten` counts goes into the weights that read it."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.linear import Linear
from cnndsl.ops.reshape import Flatten
from cnndsl.ops.types import FeatureMap, number
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.weights.expr import Expr

_PLAIN = "chw"


@dataclass(frozen=True)
class FlattenPermutation(Rewrite):
    """``flatten(order=hwc) -> linear`` becomes ``flatten -> linear`` with its columns reordered.

        W P x = (W P) x,   P the permutation of the values

    Always pays: no values are moved at run time. Guard: every reader is a linear layer; any
    other sees the order. With one position all orders are the same.
    """

    name = "flatten-permutation"
    after = ("remove-identity",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Flatten) or step.op.order == _PLAIN:
            return None
        if not has_one_position(step) and not read_by_linear_only(step, flow):
            return Missed("a reader that is no linear layer sees the order of the values")
        plain = flow.add(Flatten(), step.inputs, origins=step.origins)
        if has_one_position(step):
            flow.replace(step, plain)
            return Fired("one position: every order is the same")
        for reader in list(step.users.values()):
            weights = {**reader.weights, "weight": _reordered(reader.weights["weight"], step)}
            flow.replace(reader, flow.add(reader.op, [plain], weights, reader.origins))
        return Fired("the order of the values is in the weights")


def has_one_position(step: Step) -> bool:
    x = step.inputs[0].type
    return isinstance(x, FeatureMap) and (x.height, x.width) == (1, 1)


def read_by_linear_only(step: Step, flow: Flow) -> bool:
    readers = step.users.values()
    return not flow.is_result(step) and all(isinstance(r.op, Linear) for r in readers)


def _reordered(weight: Expr, step: Step) -> Expr:
    """``[out, values in the old order]`` as ``[out, values in plain order]``."""
    op, x = step.op, step.inputs[0].type
    assert isinstance(op, Flatten) and isinstance(x, FeatureMap)
    sizes = {"c": step.inputs[0].channels, "h": number(x.height), "w": number(x.width)}
    split = weight.reshape(-1, *(sizes[axis] for axis in op.order))
    order = (0, *(1 + op.order.index(axis) for axis in _PLAIN))
    return split.permute(*order).reshape(*weight.shape)
