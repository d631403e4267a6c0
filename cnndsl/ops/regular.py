"""Regularisation: noise in training, nothing in evaluation; and scaling."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cnndsl.ops.base import Op, param
from cnndsl.ops.types import FeatureMap, Vector, Weight, channels_of, number
from cnndsl.ops.values import Value, probability, real, show

if TYPE_CHECKING:
    from torch import Tensor, nn

LEARNED = "learned"


class Dropout(Op, name="dropout", module="Dropout"):
    """Zeroes single values. ``[C, H, W] -> [C, H, W]``. PyTorch: ``Dropout``."""

    p: float = param(default=0.5, doc="share of zeroed values", check=probability)


class Dropout2d(Op, name="dropout2d", on=FeatureMap, module="Dropout2d"):
    """Zeroes whole channels. ``[C, H, W] -> [C, H, W]``. PyTorch: ``Dropout2d``."""

    p: float = param(default=0.5, doc="share of zeroed channels", check=probability)


class DropPath(Op, name="droppath"):
    """Zeroes everything, for each sample, for the batch, or together with all of the net.

    ``[C, H, W] -> [C, H, W]``; survivors are scaled by 1/(1-p).
    Huang et al. 2016 (stochastic depth), arXiv:1603.09382.
    """

    p: float = param(doc="share of dropped paths", check=probability)
    mode: str = param(
        default="row", doc="what shares one draw", choices=("row", "batch", "network")
    )

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from cnndsl.ops.modules import DropPath

        return DropPath(self.p, self.mode)


def _factor(value: Value) -> float | str:
    if isinstance(value, str) and value != LEARNED:
        raise ValueError(f"needs a number or `learned`, got {show(value)}")
    return value if isinstance(value, str) else real(value)


class Scale(Op, name="scale"):
    """Multiplies by a constant, or by a learned factor per channel.

    ``[C, H, W] -> [C, H, W]``, ``[C] -> [C]``. The learned factor sits at the operator's own
    path, ``(C, 1, 1)`` or ``(C,)``, as ConvNeXt's ``layer_scale`` (arXiv:2201.03545).
    """

    by: float | str = param(default=LEARNED, doc="the factor", choices=(LEARNED,), coerce=_factor)
    init: float = param(default=1.0, doc="the learned factor to start from")

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        return (Weight("", self._shape(x)),) if self.by == LEARNED else ()

    def initial(self, x: FeatureMap | Vector) -> Tensor:
        """The learned factor's first value."""
        import torch

        return torch.full(self._shape(x), self.init)

    def torch(self, x: FeatureMap | Vector) -> Callable[..., Any]:
        from cnndsl.ops.modules import scale

        return scale if isinstance(self.by, str) else partial(scale, weight=self.by)

    def _shape(self, x: FeatureMap | Vector) -> tuple[int, ...]:
        channels = number(channels_of(x))
        return (channels, 1, 1) if isinstance(x, FeatureMap) else (channels,)
