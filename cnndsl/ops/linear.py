"""Fully connected layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnndsl.ops.base import Op, param
from cnndsl.ops.types import FeatureMap, Vector, Weight, channels_of, number, spread, with_channels
from cnndsl.ops.values import positive

if TYPE_CHECKING:
    from torch import nn


class Linear(Op, name="linear", auto_bias=True):
    """A learned affine map of the features, or of the channels at each position.

    ``[C] -> [out]``; ``[C, H, W] -> [out, H, W]``, with the same ``(out, C)`` weight.
    PyTorch: ``Linear``.
    """

    out: int = param(doc="number of output features", check=positive)
    bias: bool | None = param(default=None, doc="adds a learned number per feature")

    def shape(self, x: FeatureMap | Vector) -> FeatureMap | Vector:
        return with_channels(x, self.out)

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        weight = Weight("weight", (self.out, number(channels_of(x))))
        return (weight,) if self.bias is False else (weight, Weight("bias", (self.out,)))

    def macs(self, x: FeatureMap | Vector, y: FeatureMap | Vector) -> int:
        return self.out * number(channels_of(x)) * spread(y)

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        from cnndsl.ops.modules import ChannelLinear

        kind = ChannelLinear if isinstance(x, FeatureMap) else nn.Linear
        return kind(number(channels_of(x)), self.out, self.bias is not False)
