"""Pooling. A pool's stride is its kernel unless said, its padding 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnndsl.ops.axis import Window
from cnndsl.ops.base import Op, RuleError, param
from cnndsl.ops.types import FeatureMap
from cnndsl.ops.values import Pair, Value, above_zero, not_negative, positive

if TYPE_CHECKING:
    from torch import nn


def _kernel(op: Value) -> Pair:
    kernel: Pair = op.kernel
    return kernel


def _windows(
    kernel: Pair, stride: Pair, padding: Pair = (0, 0), dilation: Pair = (1, 1), ceil: bool = False
) -> tuple[Window, Window]:
    (height, width), (down, right), (rows, columns) = kernel, stride, padding
    return (
        Window(height, down, rows, rows, dilation[0], ceil),
        Window(width, right, columns, columns, dilation[1], ceil),
    )


def _check_padding(padding: Pair, kernel: Pair) -> None:
    """PyTorch's rule, dilated or not: no window may lie in the padding alone."""
    for p, k in zip(padding, kernel, strict=True):
        if 2 * p > k:
            raise RuleError(f"`padding` is at most half the kernel: {p} > {k}/2", param="padding")


class MaxPool(Op, name="maxpool", on=FeatureMap):
    """The largest value in each window.

    ``[C, H, W] -> [C, floor((H + 2*padding - dilation*(kernel-1) - 1)/stride) + 1, …]``.
    PyTorch: ``MaxPool2d``.
    """

    kernel: Pair = param(doc="window size", check=positive)
    stride: Pair = param(default=None, derive=_kernel, doc="step between windows", check=positive)
    padding: Pair = param(default=(0, 0), doc="border that never wins", check=not_negative)
    dilation: Pair = param(default=(1, 1), doc="step inside a window", check=positive)
    ceil: bool = param(default=False, doc="rounds the size up: a last, partial window")

    def validate(self) -> None:
        _check_padding(self.padding, self.kernel)

    def axes(self, x: FeatureMap) -> tuple[Window, Window]:
        return _windows(self.kernel, self.stride, self.padding, self.dilation, self.ceil)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return self.resized(x, x.channels)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.MaxPool2d(
            self.kernel, self.stride, self.padding, self.dilation, ceil_mode=self.ceil
        )


class AvgPool(Op, name="avgpool", on=FeatureMap):
    """The average of each window.

    ``[C, H, W] -> [C, floor((H + 2*padding - kernel)/stride) + 1, …]``.
    PyTorch: ``AvgPool2d``.
    """

    kernel: Pair = param(doc="window size", check=positive)
    stride: Pair = param(default=None, derive=_kernel, doc="step between windows", check=positive)
    padding: Pair = param(default=(0, 0), doc="zeros around the input", check=not_negative)
    ceil: bool = param(default=False, doc="rounds the size up: a last, partial window")
    count_include_pad: bool = param(default=True, doc="padding counts in the average")

    def validate(self) -> None:
        _check_padding(self.padding, self.kernel)

    def axes(self, x: FeatureMap) -> tuple[Window, Window]:
        return _windows(self.kernel, self.stride, self.padding, ceil=self.ceil)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return self.resized(x, x.channels)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.AvgPool2d(
            self.kernel, self.stride, self.padding, self.ceil, self.count_include_pad
        )


class LPPool(Op, name="lppool", on=FeatureMap):
    """The p-norm of each window: the sum of x^p, to the power 1/p (for p even, or x >= 0).

    ``[C, H, W] -> [C, floor((H - kernel)/stride) + 1, …]``. PyTorch: ``LPPool2d``.
    """

    p: float = param(doc="the norm's exponent", check=above_zero)
    kernel: Pair = param(doc="window size", check=positive)
    stride: Pair = param(default=None, derive=_kernel, doc="step between windows", check=positive)
    ceil: bool = param(
        default=False, doc="rounds the size up: a last, partial window, scaled to a whole one"
    )

    def axes(self, x: FeatureMap) -> tuple[Window, Window]:
        return _windows(self.kernel, self.stride, ceil=self.ceil)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return self.resized(x, x.channels)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.LPPool2d(self.p, self.kernel, self.stride, self.ceil)


class AdaptiveAvgPool(Op, name="adaptive_avgpool", on=FeatureMap):
    """Averages over as many windows as the output has positions, of near-equal size.

    ``[C, H, W] -> [C, *output]`` for every H and W. PyTorch: ``AdaptiveAvgPool2d``.
    """

    output: Pair = param(doc="output size", check=positive)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return FeatureMap(x.channels, *self.output)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.AdaptiveAvgPool2d(self.output)


class AdaptiveMaxPool(Op, name="adaptive_maxpool", on=FeatureMap):
    """Maxima over as many windows as the output has positions, of near-equal size.

    ``[C, H, W] -> [C, *output]`` for every H and W. PyTorch: ``AdaptiveMaxPool2d``.
    """

    output: Pair = param(doc="output size", check=positive)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return FeatureMap(x.channels, *self.output)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.AdaptiveMaxPool2d(self.output)


class GlobalAvgPool(Op, name="gap", on=FeatureMap):
    """The average of each channel. ``[C, H, W] -> [C, 1, 1]``.

    Lin et al. 2013, arXiv:1312.4400. PyTorch: ``AdaptiveAvgPool2d(1)``.
    """

    def shape(self, x: FeatureMap) -> FeatureMap:
        return FeatureMap(x.channels, 1, 1)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.AdaptiveAvgPool2d(1)


class GlobalMaxPool(Op, name="gmp", on=FeatureMap):
    """The maximum of each channel. ``[C, H, W] -> [C, 1, 1]``.

    PyTorch: ``AdaptiveMaxPool2d(1)``.
    """

    def shape(self, x: FeatureMap) -> FeatureMap:
        return FeatureMap(x.channels, 1, 1)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.AdaptiveMaxPool2d(1)
