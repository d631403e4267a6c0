"""Joins: several operands of one size become one value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnndsl.ops.base import Op, RuleError, param
from cnndsl.ops.types import (
    UNKNOWN,
    Channels,
    Extent,
    FeatureMap,
    Unknown,
    Vector,
    channels_of,
    with_channels,
)
from cnndsl.ops.values import fraction, probability

if TYPE_CHECKING:
    from torch import nn

Operand = FeatureMap | Vector


def _differ(a: Channels | Extent, b: Channels | Extent) -> bool:
    return not (isinstance(a, Unknown) or isinstance(b, Unknown) or a == b)


def _known(values: list[Channels]) -> Channels:
    return next((value for value in values if not isinstance(value, Unknown)), UNKNOWN)


class Joining(Op, join=True):
    """What joins have in common. Whoever calls has settled that the sizes agree."""

    def shape(self, *xs: Operand) -> Operand:
        """Operands of one kind and equally many channels; the output is like each."""
        self.check_kinds(xs)
        first = channels_of(xs[0])
        for index, x in enumerate(xs):
            if _differ(first, channels_of(x)):
                message = f"`{self.name}` joins equal channels: {first} and {channels_of(x)}"
                raise RuleError(message, operand=index, rule="channels")
        return with_channels(xs[0], _known([channels_of(x) for x in xs]))

    def check_kinds(self, xs: tuple[Operand, ...]) -> None:
        for index, x in enumerate(xs):
            if type(x) is not type(xs[0]):
                message = f"`{self.name}` joins one kind of operand: {xs[0]} and {x} differ"
                raise RuleError(message, operand=index, rule="kind")

    def torch(self, *xs: Operand) -> Callable[..., Any]:
        """The function of this name among the modules."""
        from cnndsl.ops import modules

        function: Callable[..., Any] = getattr(modules, self.name)
        return function


class Add(Joining, name="add"):
    """The sum of the operands. ``[C, H, W], … -> [C, H, W]``."""


class Mean(Joining, name="mean"):
    """The mean of the operands. ``[C, H, W], … -> [C, H, W]``."""


class Max(Joining, name="max"):
    """The largest of the operands, value by value. ``[C, H, W], … -> [C, H, W]``."""


class Concat(Joining, name="concat"):
    """The operands' channels one after another. ``[A, H, W], [B, H, W] -> [A + B, H, W]``."""

    def shape(self, *xs: Operand) -> Operand:
        self.check_kinds(xs)
        total = 0
        for x in xs:
            channels = channels_of(x)
            if isinstance(channels, Unknown):
                return with_channels(xs[0], UNKNOWN)
            total += channels
        return with_channels(xs[0], total)


class Mul(Joining, name="mul"):
    """The product: a gate. ``[C, H, W], [C, H, W] or [C, 1, 1] -> [C, H, W]``.

    Hu et al. 2017 (squeeze and excitation), arXiv:1709.01507.
    """

    def shape(self, *xs: Operand) -> Operand:
        y = super().shape(*xs)
        for index, x in enumerate(xs):
            if isinstance(x, FeatureMap) and isinstance(y, FeatureMap) and not _gates(x, y):
                message = f"`mul` needs an operand like {y}, or [{y.channels}, 1, 1]; got {x}"
                raise RuleError(message, operand=index, rule="space")
        return y


def _gates(x: FeatureMap, y: FeatureMap) -> bool:
    if (x.height, x.width) == (1, 1):
        return True
    # Two symbolic sizes were compared by the caller, who may know more about the symbols.
    pairs = ((x.height, y.height), (x.width, y.width))
    return not any(_differ(a, b) and int in (type(a), type(b)) for a, b in pairs)


class Join(Joining, name="join"):
    """FractalNet's join: the mean of the columns, some of them dropped in training.

    ``[C, H, W], … -> [C, H, W]``; operands are ordered deepest column first. A share of the
    forwards keeps one column, drawn once for the whole net; in the others each operand is
    dropped with probability ``drop``, never all. Larsson et al. 2016, arXiv:1605.07648.
    """

    drop: float = param(
        default=0.0, doc="share of dropped operands; 0 is a plain mean", check=probability
    )
    share: float = param(default=0.5, doc="share of forwards with a single column", check=fraction)

    def torch(self, *xs: Operand) -> nn.Module:
        from cnndsl.ops.modules import Join

        return Join(len(xs), self.drop, self.share)
