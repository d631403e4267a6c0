"""An average and a 1x1 convolution change places: both are linear, on different axes."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.graph.cost import concrete
from cnndsl.ops.pool import AvgPool
from cnndsl.ops.types import spread
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import keeps_positions
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import ACTIVATIONS, AVERAGE_POOLS
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import full


@dataclass(frozen=True)
class AverageExchange(Rewrite):
    """The average goes before the convolution, or behind it, whichever is less work.

    Pool first (DenseNet's transitions; a 1x1 classifier before ``gap``)::

        conv(c, 1) -> avgpool(2)   becomes   avgpool(2) -> conv(c, 1)

    Convolution first (the pool branch of Inception), its bias behind the pool::

        avgpool(3, stride=1, padding=1) -> conv(c, 1)
            becomes   conv(c, 1, bias=no) -> avgpool(3, stride=1, padding=1) -> affine

    With P the average over positions and W the map of channels, P (W x + b) = W (P x) + b (P 1).
    P 1 is 1 where windows are divided by what they cover. Where padding counts it is less at
    the border, so there the bias must not be inside the pool; without padding even a partial
    last window (``ceil``) is divided by what it covers.

    Pays: pool first, when the pool has fewer positions, as multiply-accumulates fall by that
    factor. Convolution first, when multiply-accumulates do not rise and fewer values go
    through memory, counting a pass for what no longer follows a convolution directly. The
    convolution then reads what its siblings read, and can be merged with them.

    Guards: a 1x1 window without stride and padding; the first of the two has no other reader;
    the bias rule above. An activation between the two is in the way: it is not linear.
    """

    name = "average-exchange"
    after = ("fold-affine",)
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not step.inputs:
            return None
        (first, *_) = step.inputs
        if isinstance(step.op, AVERAGE_POOLS) and keeps_positions(first):
            return self._pool_first(first, step, flow)
        if isinstance(first.op, AVERAGE_POOLS) and keeps_positions(step):
            return self._conv_first(first, step, flow)
        return None

    def _pool_first(self, conv: Step, pool: Step, flow: Flow) -> Fired | Missed | None:
        factor = positions(conv, flow) / positions(pool, flow)
        if factor <= 1:
            return None
        if not self.may_move(conv, pool, flow):
            return Missed("the convolution has another reader, which needs it before the pool")
        if "bias" in conv.weights and not self.keeps_bias(pool):
            return Missed("padding counts in the average, which would thin the bias at the border")
        origins = (*pool.origins, *conv.origins)
        pooled = flow.add(pool.op, conv.inputs, origins=pool.origins)
        flow.replace(pool, flow.add(conv.op, [pooled], conv.weights, origins))
        return Fired(f"pooled first: {factor:.3g} times fewer multiply-accumulates")

    def _conv_first(self, pool: Step, conv: Step, flow: Flow) -> Fired | Missed | None:
        if positions(pool.inputs[0], flow) > positions(pool, flow):
            return None
        if not self.may_move(pool, conv, flow):
            return Missed("the pool has another reader")
        if not self.reads_less(pool, conv, flow):
            return Missed("convolving before the pool does not pay: the pool would read no less")
        origins = (*conv.origins, *pool.origins)
        inside = conv.op if self.keeps_bias(pool) else conv.op.replace(bias=False)
        weights = dict(conv.weights)
        bias = None if inside == conv.op else weights.pop("bias", None)
        mapped = flow.add(inside, pool.inputs, weights, conv.origins)
        new = flow.add(pool.op, [mapped], origins=origins)
        if bias is not None:
            new = flow.add(Affine(), [new], {"weight": full(bias.shape, 1), "bias": bias}, origins)
        flow.replace(conv, new)
        return Fired("convolved first: the pool works on fewer channels")

    def may_move(self, first: Step, second: Step, flow: Flow) -> bool:
        """Nobody but ``second`` reads ``first``; else it would be computed twice."""
        return flow.only_user(first) is second

    def keeps_bias(self, pool: Step) -> bool:
        """Whether the average of a constant is that constant, at the border too."""
        op = pool.op
        return not isinstance(op, AvgPool) or op.padding == (0, 0) or not op.count_include_pad

    def reads_less(self, pool: Step, conv: Step, flow: Flow) -> bool:
        """Whether fewer values are read and written with the convolution first."""
        many, few = flow.values(pool.inputs[0]), flow.values(conv)
        after = many + few + 2 * few
        if self._loses_fusion(pool, conv, flow):
            after += 2 * few
        return after < 2 * many + many + few

    def _loses_fusion(self, pool: Step, conv: Step, flow: Flow) -> bool:
        user = flow.only_user(conv)
        bias = "bias" in conv.weights and not self.keeps_bias(pool)
        return bias or (user is not None and isinstance(user.op, ACTIVATIONS))


def positions(step: Step, flow: Flow) -> int:
    """Height times width at the flow's sizes."""
    return spread(concrete(step.type, flow.sizes))  # type: ignore[arg-type]
