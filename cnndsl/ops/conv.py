"""Convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnndsl.ops.axis import Transposed, Window, same_upper
from cnndsl.ops.base import Op, RuleError, param
from cnndsl.ops.types import Extent, FeatureMap, Unknown, Weight, number, spread
from cnndsl.ops.values import Edges, Pair, Value, edges, not_negative, positive

if TYPE_CHECKING:
    from torch import nn

SAME_UPPER = "same_upper"


def _padding(value: Value) -> Edges | str:
    return SAME_UPPER if value == SAME_UPPER else edges(value)


def _padding_check(value: Edges | str) -> str | None:
    return None if value == SAME_UPPER else not_negative(value)


def _half(op: Conv) -> Edges:
    """Keeps the size at stride 1; only an odd kernel has a middle."""
    for size in op.kernel:
        if size % 2 == 0:
            raise RuleError(
                f"`conv` with an even kernel needs `padding`: ({size}-1)/2 is not whole",
                param="padding",
                rule="missing",
                help="`padding=0` pads nothing, `padding=same_upper` gives ceil(H/stride)",
            )
    height, width = (d * (k - 1) // 2 for k, d in zip(op.kernel, op.dilation, strict=True))
    return Edges(height, height, width, width)


def check_groups(groups: int, channels: int | Unknown, what: str) -> None:
    """RuleError unless ``groups`` divides ``channels``; an unknown number passes."""
    if isinstance(channels, Unknown) or channels % groups == 0:
        return
    quotient, rest = divmod(channels, groups)
    raise RuleError(
        f"groups={groups} does not divide {channels} {what} channels "
        f"({channels} / {groups} = {quotient} remainder {rest})",
        param="groups",
        rule="groups",
    )


class Conv(Op, name="conv", on=FeatureMap, auto_bias=True):
    """2-D convolution (cross-correlation) with learned filters.

    ``[C, H, W] -> [out, floor((H + 2*padding - dilation*(kernel-1) - 1)/stride) + 1, …]``.
    PyTorch: ``Conv2d``; ``same_upper`` is TensorFlow's SAME, of size ceil(H/stride).
    """

    out: int = param(doc="number of filters", check=positive)
    kernel: Pair = param(doc="window size", check=positive)
    stride: Pair = param(default=(1, 1), doc="step between windows", check=positive)
    padding: Edges | str = param(
        default=None,
        derive=_half,
        doc="zeros around the input; for an odd kernel dilation*(kernel-1)/2 unless said",
        choices=(SAME_UPPER,),
        coerce=_padding,
        check=_padding_check,
    )
    dilation: Pair = param(default=(1, 1), doc="step inside a window", check=positive)
    groups: int = param(default=1, doc="independent groups of channels", check=positive)
    bias: bool | None = param(default=None, doc="adds a learned number per filter")

    def validate(self) -> None:
        check_groups(self.groups, self.out, "output")

    def edges(self, x: FeatureMap) -> Edges:
        """The padding in numbers for this input."""
        if isinstance(self.padding, Edges):
            return self.padding
        return Edges(*self._same(0, x.height), *self._same(1, x.width))

    def _same(self, axis: int, size: Extent) -> tuple[int, int]:
        if isinstance(size, Unknown):
            return 0, 0  # never looked at
        k, s, d = self.kernel[axis], self.stride[axis], self.dilation[axis]
        found = same_upper(size, k, s, d)
        if found is None:
            raise RuleError(
                f"`padding=same_upper` with stride {s} depends on the size, and {size} is symbolic",
                param="padding",
                rule="symbolic",
                help="give the padding in numbers, or fix the size with --at H=224,W=224",
            )
        return found

    def axes(self, x: FeatureMap) -> tuple[Window, Window]:
        top, bottom, left, right = self.edges(x)
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        return Window(kh, sh, top, bottom, dh), Window(kw, sw, left, right, dw)

    def shape(self, x: FeatureMap) -> FeatureMap:
        check_groups(self.groups, x.channels, "input")
        return self.resized(x, self.out)

    def weights(self, x: FeatureMap) -> tuple[Weight, ...]:
        weight = Weight("weight", (self.out, number(x.channels) // self.groups, *self.kernel))
        return (weight,) if self.bias is False else (weight, Weight("bias", (self.out,)))

    def macs(self, x: FeatureMap, y: FeatureMap) -> int:
        per_output = number(x.channels) // self.groups * self.kernel[0] * self.kernel[1]
        return self.out * per_output * spread(y)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        from cnndsl.ops.modules import PaddedConv2d

        edges = self.edges(x)
        args: dict[str, Any] = {
            "in_channels": number(x.channels),
            "out_channels": self.out,
            "kernel_size": self.kernel,
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
            "bias": self.bias is not False,
        }
        if edges.symmetric:
            return nn.Conv2d(padding=(edges.top, edges.left), **args)
        return PaddedConv2d(edges=edges.torch_order, **args)


class ConvTranspose(Op, name="conv_transpose", on=FeatureMap, auto_bias=True):
    """Transposed convolution: the gradient of ``conv`` with respect to its input.

    ``[C, H, W] -> [out, (H-1)*stride - 2*padding + dilation*(kernel-1) + output_padding + 1, …]``.
    PyTorch: ``ConvTranspose2d``.
    """

    out: int = param(doc="number of output channels", check=positive)
    kernel: Pair = param(doc="window size", check=positive)
    stride: Pair = param(default=(1, 1), doc="step between windows", check=positive)
    padding: Pair = param(default=(0, 0), doc="rows and columns cut off", check=not_negative)
    output_padding: Pair = param(
        default=(0, 0), doc="rows and columns added at the end", check=not_negative
    )
    groups: int = param(default=1, doc="independent groups of channels", check=positive)
    bias: bool | None = param(default=None, doc="adds a learned number per filter")
    dilation: Pair = param(default=(1, 1), doc="step inside a window", check=positive)

    def validate(self) -> None:
        check_groups(self.groups, self.out, "output")
        for extra, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if extra >= max(s, d):
                raise RuleError(
                    f"`output_padding` is below stride or dilation: {extra} >= max({s}, {d})",
                    param="output_padding",
                )

    def axes(self, x: FeatureMap) -> tuple[Transposed, Transposed]:
        columns = (self.kernel, self.stride, self.padding, self.output_padding, self.dilation)
        height, width = zip(*columns, strict=True)
        return Transposed(*height), Transposed(*width)

    def shape(self, x: FeatureMap) -> FeatureMap:
        check_groups(self.groups, x.channels, "input")
        return self.resized(x, self.out)

    def weights(self, x: FeatureMap) -> tuple[Weight, ...]:
        weight = Weight("weight", (number(x.channels), self.out // self.groups, *self.kernel))
        return (weight,) if self.bias is False else (weight, Weight("bias", (self.out,)))

    def macs(self, x: FeatureMap, y: FeatureMap) -> int:
        per_input = self.out // self.groups * self.kernel[0] * self.kernel[1]
        return number(x.channels) * per_input * spread(x)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.ConvTranspose2d(
            number(x.channels),
            self.out,
            self.kernel,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.bias is not False,
            self.dilation,
        )
