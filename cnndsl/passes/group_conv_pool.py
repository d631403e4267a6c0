"""A convolution whose map is only pooled never stores that map."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Add
from cnndsl.ops.pool import MaxPool
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.chains import feeds_only, fuse, holds
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import EPILOGUES


@dataclass(frozen=True)
class GroupConvPool(Rewrite):
    """Convolution, activation and max-pool as one kernel, the pool's activation too.

        (conv -> relu) -> maxpool       (conv -> relu -> maxpool)
        conv -> maxpool -> relu         (conv -> maxpool -> relu)

    Pays when the pool halves the map at least and its windows overlap by one row at most: a tile of
    results needs a border of the convolution that its neighbour computes too. 3x3/2 and 2x2/2
    do; 3x3/1 does not.

    Guards: the pool is the only reader of the map, else it is stored anyhow; no residual, for
    which the kernel has no operand; one convolution, undilated windows.
    """

    name = "group-conv-pool"
    after = ("fuse-epilogue",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if isinstance(step.op, EPILOGUES):
            return self._activation(step, flow)
        if not isinstance(step.op, MaxPool):
            return None
        (value,) = step.inputs
        if holds(value, Conv) != 1 or holds(value, MaxPool):
            return None
        if not self.one_reader(value, step, flow):
            return Missed("the map before the pool has another reader")
        if not self.has_operands(value):
            return Missed("the kernel has no operand for a residual")
        if not self.pays(step, flow):
            return Missed("it does not pay: the windows of the pool overlap too much")
        fuse(flow, value, step)
        return Fired("the map is pooled where it is computed")

    def _activation(self, step: Step, flow: Flow) -> Fired | None:
        (value,) = step.inputs
        pooled = holds(value, Conv) == 1 and holds(value, MaxPool) == 1
        if not pooled or not feeds_only(flow, value, step):
            return None
        fuse(flow, value, step)
        return Fired("the activation runs in the kernel before it")

    def one_reader(self, value: Step, step: Step, flow: Flow) -> bool:
        return feeds_only(flow, value, step)

    def has_operands(self, value: Step) -> bool:
        return not holds(value, Add)

    def pays(self, pool: Step, flow: Flow) -> bool:
        op = pool.op
        assert isinstance(op, MaxPool)
        overlap = max(k - s for k, s in zip(op.kernel, op.stride, strict=True))
        fewer = 2 * flow.values(pool) <= flow.values(pool.inputs[0])
        return fewer and overlap <= 1 and op.dilation == (1, 1)
