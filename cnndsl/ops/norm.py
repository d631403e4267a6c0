"""Normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnndsl.ops.base import Op, param
from cnndsl.ops.conv import check_groups
from cnndsl.ops.types import FeatureMap, Vector, Weight, channels_of, number
from cnndsl.ops.values import fraction, not_negative, positive

if TYPE_CHECKING:
    from torch import nn


def _affine(x: FeatureMap | Vector) -> tuple[Weight, Weight]:
    channels = (number(channels_of(x)),)
    return Weight("weight", channels), Weight("bias", channels)


class BatchNorm(Op, name="bn", norm=True):
    """Normalises each channel over the batch and all positions.

    ``[C, H, W] -> [C, H, W]``, ``[C] -> [C]``.
    Ioffe and Szegedy 2015, arXiv:1502.03167. PyTorch: ``BatchNorm2d``, ``BatchNorm1d``.
    """

    eps: float = param(default=1e-5, doc="added to the variance", check=not_negative)
    momentum: float = param(
        default=0.1, doc="weight of a new batch in the running statistics", check=fraction
    )
    affine: bool = param(default=True, doc="has a learned scale and shift per channel")

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        channels = (number(channels_of(x)),)
        return (
            *(_affine(x) if self.affine else ()),
            Weight("running_mean", channels, buffer=True),
            Weight("running_var", channels, buffer=True),
            Weight("num_batches_tracked", (), buffer=True),
        )

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        kind = nn.BatchNorm2d if isinstance(x, FeatureMap) else nn.BatchNorm1d
        return kind(number(channels_of(x)), self.eps, self.momentum, self.affine)


class GroupNorm(Op, name="group_norm", norm=True):
    """Normalises each group of channels over its positions, sample by sample.

    ``[C, H, W] -> [C, H, W]``, ``[C] -> [C]``.
    Wu and He 2018, arXiv:1803.08494. PyTorch: ``GroupNorm``.
    """

    groups: int = param(doc="number of groups", check=positive)
    eps: float = param(default=1e-5, doc="added to the variance", check=not_negative)

    def shape(self, x: FeatureMap | Vector) -> FeatureMap | Vector:
        check_groups(self.groups, channels_of(x), "input")
        return x

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        return _affine(x)

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        return nn.GroupNorm(self.groups, number(channels_of(x)), self.eps)


class LayerNorm(Op, name="layer_norm", norm=True):
    """Normalises over the channels at each position, or over the features of a vector.

    ``[C, H, W] -> [C, H, W]``, ``[C] -> [C]``.
    Ba et al. 2016, arXiv:1607.06450, as in ConvNeXt. PyTorch: ``LayerNorm``, channels last.
    """

    eps: float = param(default=1e-5, doc="added to the variance", check=not_negative)

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        return _affine(x)

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        from cnndsl.ops.modules import ChannelNorm

        kind = ChannelNorm if isinstance(x, FeatureMap) else nn.LayerNorm
        return kind(number(channels_of(x)), self.eps)


class LocalResponseNorm(Op, name="lrn", on=FeatureMap, module="LocalResponseNorm"):
    """Divides by the energy of ``size`` neighbouring channels at the same position.

    ``[C, H, W] -> [C, H, W]``.
    Krizhevsky et al. 2012 (AlexNet). PyTorch: ``LocalResponseNorm``.
    """

    size: int = param(doc="number of neighbouring channels", check=positive)
    alpha: float = param(default=1e-4, doc="factor of the energy")
    beta: float = param(default=0.75, doc="exponent")
    k: float = param(default=1.0, doc="added before the exponent")
