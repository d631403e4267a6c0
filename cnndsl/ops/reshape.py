"""Operators that move, cut, repeat or add values without computing new ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING, Any

from cnndsl.ops.axis import Scaled, Shifted
from cnndsl.ops.base import Op, RuleError, param
from cnndsl.ops.conv import check_groups
from cnndsl.ops.sizes import Dim
from cnndsl.ops.types import UNKNOWN, FeatureMap, Unknown, Vector, channels_of, with_channels
from cnndsl.ops.values import Edges, Pair, not_negative, positive

if TYPE_CHECKING:
    from torch import nn


class Upsample(Op, name="upsample", on=FeatureMap):
    """Enlarges by a whole factor, repeating or interpolating.

    ``[C, H, W] -> [C, scale*H, scale*W]``. PyTorch: ``Upsample``.
    """

    scale: Pair = param(doc="factor of height and width", check=positive)
    mode: str = param(default="nearest", doc="how", choices=("nearest", "bilinear"))
    align_corners: bool = param(default=False, doc="bilinear: corner pixels keep their values")

    def validate(self) -> None:
        if self.align_corners and self.mode == "nearest":
            raise RuleError("`align_corners` needs `mode=bilinear`", param="align_corners")

    def axes(self, x: FeatureMap) -> tuple[Scaled, Scaled]:
        return Scaled(self.scale[0]), Scaled(self.scale[1])

    def shape(self, x: FeatureMap) -> FeatureMap:
        return self.resized(x, x.channels)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        factors = (float(self.scale[0]), float(self.scale[1]))
        corners = self.align_corners if self.mode == "bilinear" else None
        return nn.Upsample(scale_factor=factors, mode=self.mode, align_corners=corners)


class PixelShuffle(Op, name="pixel_shuffle", on=FeatureMap):
    """Turns groups of channels into positions.

    ``[C, H, W] -> [C / factor^2, factor*H, factor*W]``.
    Shi et al. 2016, arXiv:1609.05158. PyTorch: ``PixelShuffle``.
    """

    factor: int = param(doc="factor of height and width", check=positive)

    def axes(self, x: FeatureMap) -> tuple[Scaled, Scaled]:
        return Scaled(self.factor), Scaled(self.factor)

    def shape(self, x: FeatureMap) -> FeatureMap:
        if isinstance(x.channels, Unknown):
            return self.resized(x, UNKNOWN)
        channels, rest = divmod(x.channels, self.factor**2)
        if rest:
            raise RuleError(
                f"factor*factor = {self.factor**2} does not divide {x.channels} channels "
                f"({x.channels} / {self.factor**2} = {channels} remainder {rest})",
                param="factor",
                rule="channels",
            )
        return self.resized(x, channels)

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        return nn.PixelShuffle(self.factor)


class ChannelShuffle(Op, name="channel_shuffle", on=FeatureMap, module="ChannelShuffle"):
    """Interleaves groups of channels. ``[C, H, W] -> [C, H, W]``.

    Zhang et al. 2017 (ShuffleNet), arXiv:1707.01083. PyTorch: ``ChannelShuffle``.
    """

    groups: int = param(doc="number of groups", check=positive)

    def shape(self, x: FeatureMap) -> FeatureMap:
        check_groups(self.groups, x.channels, "input")
        return x


class Crop(Op, name="crop", on=FeatureMap):
    """Cuts rows and columns off. ``[C, H, W] -> [C, H - top - bottom, W - left - right]``."""

    amount: Edges = param(doc="rows and columns cut off", check=not_negative)

    def axes(self, x: FeatureMap) -> tuple[Shifted, Shifted]:
        top, bottom, left, right = self.amount
        return Shifted(-top, -bottom), Shifted(-left, -right)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return self.resized(x, x.channels)

    def torch(self, x: FeatureMap) -> Callable[..., Any]:
        from cnndsl.ops.modules import crop

        return partial(crop, amount=tuple(self.amount))


class Pad(Op, name="pad", on=FeatureMap):
    """Adds rows and columns. ``[C, H, W] -> [C, H + top + bottom, W + left + right]``.

    PyTorch: ``ConstantPad2d``, ``ReflectionPad2d``, ``ReplicationPad2d``.
    """

    amount: Edges = param(doc="rows and columns added", check=not_negative)
    mode: str = param(
        default="constant", doc="what is added", choices=("constant", "reflect", "replicate")
    )
    value: float = param(default=0.0, doc="the constant")

    def validate(self) -> None:
        if self.value != 0 and self.mode != "constant":
            raise RuleError("`value` needs `mode=constant`", param="value")

    def axes(self, x: FeatureMap) -> tuple[Shifted, Shifted]:
        top, bottom, left, right = self.amount
        return Shifted(top, bottom), Shifted(left, right)

    def shape(self, x: FeatureMap) -> FeatureMap:
        return self.resized(x, x.channels)

    def needs(self, x: FeatureMap) -> tuple[tuple[Dim, int], ...]:
        """A mirror image without its edge has one row less than the input."""
        if self.mode != "reflect":
            return ()
        top, bottom, left, right = self.amount
        sides = ((x.height, max(top, bottom) + 1), (x.width, max(left, right) + 1))
        return tuple((size, least) for size, least in sides if not isinstance(size, Unknown))

    def torch(self, x: FeatureMap) -> nn.Module:
        from torch import nn

        order = self.amount.torch_order
        if self.mode == "constant":
            return nn.ConstantPad2d(order, self.value)
        return nn.ReflectionPad2d(order) if self.mode == "reflect" else nn.ReplicationPad2d(order)


class PadChannels(Op, name="pad_channels", on=FeatureMap):
    """Adds channels of zeros, behind unless said. ``[C, H, W] -> [out, H, W]``.

    He et al. 2015, arXiv:1512.03385: the parameter-free shortcut, option A.
    """

    out: int = param(doc="number of channels then", check=positive)
    before: int = param(default=0, doc="how many of the new ones come first", check=not_negative)

    def shape(self, x: FeatureMap) -> FeatureMap:
        if not isinstance(x.channels, Unknown) and x.channels + self.before > self.out:
            raise RuleError(
                f"`pad_channels` only adds: {x.channels} + {self.before} before > out={self.out}",
                param="out",
                rule="channels",
            )
        return FeatureMap(self.out, x.height, x.width)

    def torch(self, x: FeatureMap) -> Callable[..., Any]:
        from cnndsl.ops.modules import pad_channels

        return partial(pad_channels, out=self.out, before=self.before)


class Slice(Op, name="slice"):
    """The channels from ``start`` up to, not including, ``stop``.

    ``[C, H, W] -> [stop - start, H, W]``, ``[C] -> [stop - start]``.
    """

    start: int = param(doc="the first channel, counted from 0", check=not_negative)
    stop: int = param(doc="the channel after the last", check=positive)

    def validate(self) -> None:
        if self.start >= self.stop:
            message = f"`slice` is empty: start {self.start} is not below stop {self.stop}"
            raise RuleError(message, param="stop")

    def shape(self, x: FeatureMap | Vector) -> FeatureMap | Vector:
        channels = channels_of(x)
        if not isinstance(channels, Unknown) and self.stop > channels:
            message = f"`slice` ends at channel {self.stop}, the input has {channels}"
            raise RuleError(message, param="stop", rule="channels")
        return with_channels(x, self.stop - self.start)

    def torch(self, x: FeatureMap | Vector) -> Callable[..., Any]:
        from cnndsl.ops.modules import slice_channels

        return partial(slice_channels, start=self.start, stop=self.stop)


class Split(Op, name="split"):
    """Equal slices of the channels, each on a wire of its own.

    ``[C, H, W] -> [C / parts, H, W]`` on every wire. PyTorch: ``chunk``.
    """

    parts: int = param(doc="number of wires", check=positive)

    def shape(self, x: FeatureMap | Vector) -> FeatureMap | Vector:
        """The type of every piece."""
        channels = channels_of(x)
        if isinstance(channels, Unknown):
            return with_channels(x, UNKNOWN)
        each, rest = divmod(channels, self.parts)
        if rest:
            raise RuleError(
                f"parts={self.parts} does not divide {channels} channels "
                f"({channels} / {self.parts} = {each} remainder {rest})",
                param="parts",
                rule="channels",
            )
        return with_channels(x, each)

    def pieces(self, x: FeatureMap | Vector) -> tuple[Op, ...]:
        each = channels_of(self.shape(x))
        if isinstance(each, Unknown):
            return ()
        return tuple(Slice(i * each, (i + 1) * each) for i in range(self.parts))


_AXES = "chw"
_ORDERS = tuple("".join(order) for order in permutations(_AXES))


class Flatten(Op, name="flatten", on=FeatureMap):
    """All values in a row. ``[C, H, W] -> [C*H*W]``. PyTorch: ``Flatten``.

    Weights trained elsewhere may count the values in another order: ``hwc`` (TensorFlow) puts
    the channels of one position together, ``whc`` does so column by column.
    """

    order: str = param(default=_AXES, doc="the axes, the slowest to change first", choices=_ORDERS)

    def shape(self, x: FeatureMap) -> Vector:
        known = 1
        for size in (x.height, x.width, x.channels):
            if isinstance(size, Unknown):
                return Vector(UNKNOWN)
            if not isinstance(size, int):
                raise RuleError(
                    f"`flatten` gives a vector whose length depends on the size of {x}",
                    rule="symbolic",
                    help="use `gap`, or `adaptive_avgpool(k)`, before `flatten`, "
                    "or fix the size with --at H=224,W=224",
                )
            known *= size
        return Vector(known)

    def torch(self, x: FeatureMap) -> Callable[..., Any]:
        from torch import nn

        from cnndsl.ops.modules import flatten

        if self.order == _AXES:
            return nn.Flatten()
        return partial(flatten, order=tuple(1 + _AXES.index(axis) for axis in self.order))
