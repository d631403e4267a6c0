"""Steps that give back what they are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnndsl.ops.activation import ELU, LeakyReLU, ReLU, ReLU6
from cnndsl.ops.base import Op
from cnndsl.ops.merge import Add, Concat, Join, Max, Mean, Mul
from cnndsl.ops.pool import AvgPool, MaxPool
from cnndsl.ops.regular import Scale
from cnndsl.ops.reshape import ChannelShuffle, Crop, Pad, PadChannels, PixelShuffle, Slice, Upsample
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import AVERAGE_POOLS, MAX_POOLS, NOISE
from cnndsl.passes.nonnegative import nonnegative


@dataclass(frozen=True)
class RemoveIdentity(Rewrite):
    """``x -> identity -> f`` becomes ``x -> f``, and ``join`` becomes ``mean``.

        dropout(x) = droppath(x) = x                     in eval mode
        join(a, b) = mean(a, b),  add(x) = mean(x) = x
        relu(x) = x                                      for x >= 0
        max(x, x) = mean(x, x) = x
        maxpool(1)(x) = crop(0)(x) = slice(all)(x) = gap([C, 1, 1]) = scale(1)(x) = x

    Always pays. Guards: sizes stay, and where that does not settle it, the parameters say so;
    the bilinear enlargement by 1 is left alone, for it makes NaN of infinity; an
    activation is the identity only on values that are never negative (``nonnegative``).
    """

    name = "remove-identity"

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        does_nothing = _IDENTITY.get(type(step.op))
        if does_nothing is not None and keeps_type(step) and does_nothing(step):
            flow.replace(step, step.inputs[0])
            return Fired(f"`{step.op.text()}` changes nothing in eval mode")
        return _join_is_mean(step, flow) if isinstance(step.op, Join) else None


def _join_is_mean(step: Step, flow: Flow) -> Fired | None:
    if Mean().infer(*(source.type for source in step.inputs)) != step.type:
        return None
    flow.replace(step, flow.add(Mean(), step.inputs, origins=step.origins))
    return Fired("a join drops nothing in eval mode: it is a mean")


# When each may do nothing, given that the type stays.


def keeps_type(step: Step) -> bool:
    """Same channels, same sizes (a join may say a size in another way, which is left alone)."""
    return step.inputs[0].type == step.type


def _always(step: Step) -> bool:
    return True


def _one_by_one(step: Step) -> bool:
    """A window of one position, at every position."""
    op = step.op
    assert isinstance(op, MaxPool | AvgPool)
    return op.kernel == (1, 1) and op.stride == (1, 1)


def _repeats(step: Step) -> bool:
    """Bilinear by 1 computes 1 * x + 0 * x, which is NaN where x is infinite."""
    op = step.op
    assert isinstance(op, Upsample)
    return op.mode == "nearest"


def _one_group(step: Step) -> bool:
    op = step.op
    assert isinstance(op, ChannelShuffle)
    return op.groups in (1, step.channels)


def _times_one(step: Step) -> bool:
    op = step.op
    assert isinstance(op, Scale)
    return op.by == 1


def _one_operand(step: Step) -> bool:
    return len(step.inputs) == 1


def _equal_operands(step: Step) -> bool:
    """The largest, or the mean, of one value and itself."""
    return all(source is step.inputs[0] for source in step.inputs)


def _never_negative(step: Step) -> bool:
    return nonnegative(step.inputs[0])


def _at_most_six(step: Step) -> bool:
    return isinstance(step.inputs[0].op, ReLU6)


_IDENTITY: dict[type[Op], Callable[[Step], bool]] = {
    **dict.fromkeys((*NOISE, *AVERAGE_POOLS, *MAX_POOLS), _always),
    **dict.fromkeys((Crop, Pad, PadChannels, PixelShuffle, Slice), _always),
    Upsample: _repeats,
    MaxPool: _one_by_one,
    AvgPool: _one_by_one,
    ChannelShuffle: _one_group,
    Scale: _times_one,
    Add: _one_operand,
    Mul: _one_operand,
    Concat: _one_operand,
    Join: _one_operand,
    Max: _equal_operands,
    Mean: _equal_operands,
    ReLU: _never_negative,
    LeakyReLU: _never_negative,
    ELU: _never_negative,
    ReLU6: _at_most_six,
}
