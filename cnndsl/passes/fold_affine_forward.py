"""A factor and a summand per channel go into the convolutions after them."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import edges_of
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fold_affine import bias_of
from cnndsl.passes.known import is_zero
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import Expr, einsum, full


@dataclass(frozen=True)
class FoldAffineForward(Rewrite):
    """``affine -> conv`` becomes ``conv`` with other weights.

        W (w x + b) + c  =  (W w) x + (W b + c),   W b summed over the window

    Pays when all readers take it in, for then the affine vanishes. Guards: every reader is a
    convolution or linear layer and the affine is no result; a window never sees zeros of the
    padding, which have no summand, or the summand is known to be 0. A transposed convolution
    sums fewer numbers at the edge, so it too needs the summand 0.
    """

    name = "fold-affine-forward"
    after = ("norm-to-affine", "scale-to-affine", "fold-affine", "merge-affines", "sink-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Affine):
            return None
        readers = list(step.users.values())
        if not any(_takes(reader) for reader in readers):
            return None
        if not read_by_sums_only(step, flow):
            return Missed("it has another reader, which needs it as it is")
        if not all(summand_is_constant(step, reader) for reader in readers):
            return Missed("the zeros around the map would need the summand too")
        for reader in readers:
            _fold(step, reader, flow)
        return Fired("folded into the weights after it")


def _takes(reader: Step) -> bool:
    return isinstance(reader.op, Conv | ConvTranspose | Linear)


def read_by_sums_only(step: Step, flow: Flow) -> bool:
    return not flow.is_result(step) and all(map(_takes, step.users.values()))


def summand_is_constant(step: Step, reader: Step) -> bool:
    """Whether the summand adds the same number at every position of the output."""
    if isinstance(reader.op, Linear) or is_zero(step.weights["bias"]):
        return True
    return isinstance(reader.op, Conv) and not any(edges_of(reader))


def _fold(step: Step, reader: Step, flow: Flow) -> None:
    weight, factor, summand = reader.weights["weight"], *_affine(step)
    weights = {"weight": weight * _per_input(factor, reader)}
    bias = bias_of(reader)
    if not is_zero(summand):
        bias = bias + _gathered(weight, summand, reader)
    weights["bias"] = bias
    op = reader.op.replace(bias=True)
    origins = (*step.origins, *reader.origins)
    flow.replace(reader, flow.add(op, step.inputs, weights, origins))


def _affine(step: Step) -> tuple[Expr, Expr]:
    return step.weights["weight"], step.weights["bias"]


def _groups(reader: Step) -> int:
    return reader.op.groups if isinstance(reader.op, Conv) else 1


def _per_input(factor: Expr, reader: Step) -> Expr:
    """The factor in the form that multiplies the reader's weight."""
    weight = reader.weights["weight"].shape
    if isinstance(reader.op, ConvTranspose):
        return factor.rows(len(weight))
    if _groups(reader) == 1:
        return factor.columns(len(weight))
    # A grouped weight names only the inputs of its own group.
    (outputs, inputs, *_), groups = weight, _groups(reader)
    spread = full((groups, outputs // groups, 1), 1) * factor.reshape(groups, 1, inputs)
    return spread.reshape(outputs, inputs, *(1 for _ in weight[2:]))


def _gathered(weight: Expr, summand: Expr, reader: Step) -> Expr:
    """What the summand adds to each output."""
    groups = _groups(reader)
    outputs, inputs = weight.shape[:2]
    grouped = weight.reshape(groups, outputs // groups, inputs, -1)
    return einsum("goik,gi->go", grouped, summand.reshape(groups, inputs)).reshape(outputs)
