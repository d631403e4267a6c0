"""What only strided readers of single pixels want is computed at those pixels only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.ops.activation import LogSoftmax, PReLU, Softmax
from cnndsl.ops.base import Op, Pair
from cnndsl.ops.conv import Conv
from cnndsl.ops.linear import Linear
from cnndsl.ops.merge import Add, Concat, Join, Max, Mean, Mul
from cnndsl.ops.norm import BatchNorm
from cnndsl.ops.pool import AvgPool, MaxPool
from cnndsl.ops.reshape import ChannelShuffle, PadChannels, Slice
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import edges_of, reads_one_position, size_of
from cnndsl.passes.flow import Flow, Step, is_map
from cnndsl.passes.kinds import ACTIVATIONS
from cnndsl.passes.ops import Affine

POSITIONWISE = (
    *ACTIVATIONS,
    *(PReLU, Softmax, LogSoftmax, Affine, BatchNorm, Linear),
    *(Add, Mean, Max, Mul, Join, Concat),
    *(Slice, ChannelShuffle, PadChannels),
)
"""What makes a pixel of the same pixel of its operands."""


class Plan(NamedTuple):
    """How a value is had at every ``stride``-th pixel only."""

    step: Step
    how: str  # "window": strides itself; "through": its operands do; "pool": behind it; "keep"
    operands: tuple[Plan, ...] = ()

    def walk(self) -> Iterator[Plan]:
        yield self
        for operand in self.operands:
            yield from operand.walk()


@dataclass(frozen=True)
class DeadPixels(Rewrite):
    """A stride moves up to where pixels are made.

    The first ResNet strides in the 1x1 convolutions that open a stage, so that three of four
    pixels of the block before are never looked at::

        h -> conv(c, 1) -> (+ x) -> relu = y          h -> conv(c, 1, stride=2)
        y -> conv(d, 1, stride=2)           becomes     -> (+ x -> maxpool(1, stride=2)) -> relu
        y -> conv(e, 1, stride=2)                       -> conv(d, 1) and conv(e, 1)

    and then, as h is read with a stride now, the 3x3 convolution before it strides as well.
    A window that steps by s, read at every t-th position, is the same window stepping by s*t,
    with the same padding before it. A pool with a window of one pixel just leaves pixels out.

    Pays when a convolution or a pool has fewer pixels to compute.

    Guards: every reader looks at single pixels with one and the same stride, without padding;
    the value is no output of the network. Convolutions and pools take the stride over if
    nobody else reads them and the size comes out the same for every size of the input.
    """

    name = "dead-pixels"
    after = ("fold-affine",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not step.inputs or not step.users or not is_map(step) or not self.is_inside(step, flow):
            return None
        stride = self.common_stride(step)
        if stride is None:
            return None
        plan = self.plan(step, stride, flow)
        if not _pays(plan):
            return None
        thin = _build(plan, stride, flow)
        for user in list(step.users.values()):
            flow.replace(user, _dense(user, thin, flow))
        return Fired(f"computed at every {'x'.join(map(str, stride))} pixels, as it is read")

    def is_inside(self, step: Step, flow: Flow) -> bool:
        """No output of the network, which would have to be computed beside the thinned one."""
        return not flow.is_result(step)

    def common_stride(self, step: Step) -> Pair | None:
        """The stride with which every reader picks single pixels; None if one does not."""
        strides = {_picks(user) for user in step.users.values()}
        (stride,) = strides if len(strides) == 1 else (None,)
        return stride

    def plan(self, step: Step, stride: Pair, flow: Flow, depth: int = 0) -> Plan:
        if isinstance(step.op, Conv | MaxPool | AvgPool) and self.fits(step, stride):
            return Plan(step, "window")
        # what can neither stride nor be looked through is thinned behind
        if not self.is_positionwise(step) or depth == _DEEPEST:
            return Plan(step, "pool")
        operands = []
        for x in step.inputs:
            if size_of(x) != size_of(step):
                operands.append(Plan(x, "keep"))
            elif x.inputs and self.is_private(x, step, flow):
                operands.append(self.plan(x, stride, flow, depth + 1))
            else:
                operands.append(Plan(x, "pool"))
        return Plan(step, "through", tuple(operands))

    def is_positionwise(self, step: Step) -> bool:
        """Whether a pixel is made of the same pixel of each operand, or of a gate's only one.

        An operand of the same size may say it in another way; it is not looked through.
        """
        first, *others = step.inputs
        sizes = {size_of(x) for x in others} - {size_of(step)}
        gates = {(1, 1)} if isinstance(step.op, Mul) else set()
        return (
            isinstance(step.op, POSITIONWISE) and size_of(first) == size_of(step) and sizes <= gates
        )

    def is_private(self, step: Step, reader: Step, flow: Flow) -> bool:
        """Nobody else reads it, so that it need not be computed twice."""
        return flow.only_user(step) is reader

    def fits(self, step: Step, stride: Pair) -> bool:
        """Whether a larger stride gives the size that leaving out pixels gives."""
        return _strided(step, stride).infer(step.inputs[0].type) == _pool(stride).infer(step.type)


_DEEPEST = 50  # steps looked through at most: a visit stays short


def _picks(reader: Step) -> Pair | None:
    """The stride of a reader of single pixels; None if it reads more, or all of them."""
    op = reader.op
    if isinstance(op, MaxPool | AvgPool):
        single = (op.kernel, op.padding) == ((1, 1), (0, 0))
    else:
        single = isinstance(op, Conv) and reads_one_position(reader)
    stride: Pair | None = getattr(op, "stride", None)
    return stride if single and stride != (1, 1) else None


def _pool(stride: Pair) -> MaxPool:
    return MaxPool((1, 1), stride)


def _strided(step: Step, stride: Pair) -> Op:
    down, right = step.op.stride  # type: ignore[attr-defined]
    op = step.op.replace(stride=(down * stride[0], right * stride[1]))
    # padding that depends on the stride ("same") stays what it was
    return op.replace(padding=edges_of(step)) if isinstance(op, Conv) else op


def _pays(plan: Plan) -> bool:
    return any(part.how == "window" for part in plan.walk())


def _build(plan: Plan, stride: Pair, flow: Flow, reader: Step | None = None) -> Step:
    step = plan.step
    if plan.how == "keep":
        return step
    if plan.how == "pool":
        # an input of the network comes from no step of the text, but its reader does
        origins = step.origins or (reader.origins if reader else ())
        return flow.add(_pool(stride), [step], origins=origins)
    if plan.how == "window":
        return flow.add(_strided(step, stride), step.inputs, step.weights, step.origins)
    operands = [_build(operand, stride, flow, step) for operand in plan.operands]
    return flow.add(step.op, operands, step.weights, step.origins)


def _dense(reader: Step, thin: Step, flow: Flow) -> Step:
    """The reader, which now reads every pixel of what is left."""
    if not isinstance(reader.op, Conv):
        return thin
    return flow.add(reader.op.replace(stride=(1, 1)), [thin], reader.weights, reader.origins)
