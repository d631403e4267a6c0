"""Operators from another package: one function, one with a learned weight, one with windows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from cnndsl.ops.axis import Window
from cnndsl.ops.base import Op, RuleError, above_zero, param, positive
from cnndsl.ops.types import UNKNOWN, FeatureMap, Unknown, Weight

if TYPE_CHECKING:
    from torch import Tensor


class Square(Op, name="square"):
    """x to the power of two, times a factor. ``[C, H, W] -> [C, H, W]``."""

    factor: float = param(default=1.0, doc="multiplies the square")

    def torch(self, *xs: Any) -> Callable[..., Any]:
        return partial(square, factor=self.factor)


class GeneralisedMean(Op, name="gem", on=FeatureMap):
    """The mean of |x|^p over all positions, to the power 1/p, with one learned p for all.

    ``[C, H, W] -> [C, 1, 1]``. Radenovic et al. 2017, arXiv:1711.02512.
    """

    p: float = param(default=3.0, doc="the exponent to start from", check=above_zero)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return FeatureMap(x.channels, 1, 1)

    def weights(self, x: FeatureMap) -> tuple[Weight, ...]:
        return (Weight("", (1,)),)

    def initial(self, x: FeatureMap) -> Tensor:
        """The exponent's first value."""
        import torch

        return torch.full((1,), self.p)

    def torch(self, *xs: Any) -> Callable[..., Any]:
        return generalised_mean


class Tiles(Op, name="tiles", on=FeatureMap):
    """Whole tiles of positions become channels; what is left at the end is cut off.

    ``[C, H, W] -> [C*size^2, floor(H/size), floor(W/size)]``.
    """

    size: int = param(doc="height and width of a tile", check=positive)
    most: int = param(default=256, doc="the largest number of channels allowed", check=positive)

    def axes(self, x: FeatureMap) -> tuple[Window, Window]:
        return Window(self.size, self.size), Window(self.size, self.size)

    def shape(self, x: FeatureMap) -> FeatureMap:
        if isinstance(x.channels, Unknown):
            return self.resized(x, UNKNOWN)
        channels = x.channels * self.size**2
        if channels > self.most:
            message = f"{x.channels} * {self.size}^2 = {channels} channels, most={self.most}"
            raise RuleError(message, param="size", rule="channels")
        return self.resized(x, channels)

    def torch(self, *xs: Any) -> Callable[..., Any]:
        return partial(tiles, size=self.size)


def square(x: Any, factor: float) -> Any:
    return x * x * factor


def generalised_mean(x: Tensor, p: Tensor) -> Tensor:
    return x.abs().clamp(min=1e-6).pow(p).mean((2, 3), keepdim=True).pow(1 / p)


def tiles(x: Tensor, size: int) -> Tensor:
    from torch.nn.functional import pixel_unshuffle

    height, width = (n // size * size for n in x.shape[2:])
    return pixel_unshuffle(x[:, :, :height, :width], size)
