"""Two convolutions with nothing between them are one, if that is less work."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.graph.cost import concrete
from cnndsl.ops.base import Op
from cnndsl.ops.conv import Conv
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import NO_EDGES, edges_of, keeps_positions
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fold_affine import bias_of
from cnndsl.weights.expr import Expr, einsum


@dataclass(frozen=True)
class ComposeConvolutions(Rewrite):
    """A 1x1 convolution goes into the one before or behind it.

        conv(m, 1) -> conv(c, k)   becomes   conv(c, k)
        conv(m, k) -> conv(c, 1)   becomes   conv(c, k)

        W (V x + b) + d  =  (W V) x + (W b + d)

    Pays when multiply-accumulates fall: not for a bottleneck, whose few channels in the middle
    are the point.

    Guards: groups of 1; the first has no other reader; one of the two is 1x1 without stride
    and padding. If that is the first, and it has a bias, the second pads nothing: it would see
    zeros around the map and not the bias.
    """

    name = "compose-convolutions"
    after = ("fold-affine",)
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Conv):
            return None
        (first,) = step.inputs
        if not isinstance(first.op, Conv) or not self.is_dense(first, step):
            return None
        if not (keeps_positions(first) or keeps_positions(step)):
            return None
        op = _op(first, step)
        if _saved(op, first, step, flow) <= 0:
            return None
        if not self.may_go(first, step, flow):
            return Missed("the convolution before it has another reader")
        if not self.sees_bias(first, step):
            return Missed("padding is zero, and not the bias of the convolution before it")
        new = flow.add(op, first.inputs, _weights(first, step), (*first.origins, *step.origins))
        flow.replace(step, new)
        return Fired("two convolutions as one")

    def is_dense(self, first: Step, second: Step) -> bool:
        """Every filter of both reads every channel."""
        return first.op.groups == second.op.groups == 1  # type: ignore[attr-defined, no-any-return]

    def may_go(self, first: Step, second: Step, flow: Flow) -> bool:
        """Nobody else reads the first."""
        return flow.only_user(first) is second

    def sees_bias(self, first: Step, second: Step) -> bool:
        """Whether the second sees the first's bias at every pixel of its windows."""
        return "bias" not in first.weights or edges_of(second) == NO_EDGES


def _op(first: Step, second: Step) -> Op:
    """The window is that of the one that is not 1x1, and so are stride and padding."""
    windowed = second if keeps_positions(first) else first
    bias = "bias" in first.weights or "bias" in second.weights
    return windowed.op.replace(out=second.channels, bias=bias)


def _saved(op: Op, first: Step, second: Step, flow: Flow) -> int:
    """Multiply-accumulates saved."""
    x, y = (concrete(step.type, flow.sizes) for step in (first.inputs[0], second))
    return flow.macs(first) + flow.macs(second) - op.macs(x, y)


def _weights(first: Step, second: Step) -> dict[str, Expr]:
    inner, outer = first.weights["weight"], second.weights["weight"]
    if keeps_positions(first):
        inner = inner.reshape(*inner.shape[:2])
        weights = {"weight": einsum("omhw,mc->ochw", outer, inner)}
    else:
        flat = outer.reshape(*outer.shape[:2])
        weights = {"weight": einsum("om,mchw->ochw", flat, inner)}
    if "bias" in first.weights:
        carried = einsum("omhw,m->o", outer, first.weights["bias"])
        weights["bias"] = carried + bias_of(second)
    elif "bias" in second.weights:
        weights["bias"] = second.weights["bias"]
    return weights
