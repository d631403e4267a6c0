"""Activations. The input's type is the output's type; most are one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnndsl.ops.base import Op, RuleError, param
from cnndsl.ops.types import FeatureMap, Unknown, Vector, Weight, channels_of
from cnndsl.ops.values import positive

if TYPE_CHECKING:
    from torch import nn


class ReLU(Op, name="relu", module="ReLU"):
    """max(x, 0). ``[C, H, W] -> [C, H, W]``. PyTorch: ``ReLU``."""


class ReLU6(Op, name="relu6", module="ReLU6"):
    """min(max(x, 0), 6). ``[C, H, W] -> [C, H, W]``. PyTorch: ``ReLU6``."""


class SiLU(Op, name="silu", module="SiLU"):
    """x * sigmoid(x), also known as swish. ``[C, H, W] -> [C, H, W]``. PyTorch: ``SiLU``."""


class Hardswish(Op, name="hardswish", module="Hardswish"):
    """x * hardsigmoid(x). ``[C, H, W] -> [C, H, W]``. PyTorch: ``Hardswish``."""


class Hardsigmoid(Op, name="hardsigmoid", module="Hardsigmoid"):
    """relu6(x + 3) / 6. ``[C, H, W] -> [C, H, W]``. PyTorch: ``Hardsigmoid``."""


class Sigmoid(Op, name="sigmoid", module="Sigmoid"):
    """1 / (1 + exp(-x)). ``[C, H, W] -> [C, H, W]``. PyTorch: ``Sigmoid``."""


class Tanh(Op, name="tanh", module="Tanh"):
    """Hyperbolic tangent. ``[C, H, W] -> [C, H, W]``. PyTorch: ``Tanh``."""


class LeakyReLU(Op, name="leaky_relu", module="LeakyReLU"):
    """x above 0, else negative_slope * x. ``[C, H, W] -> [C, H, W]``. PyTorch: ``LeakyReLU``."""

    negative_slope: float = param(default=0.01, doc="slope below 0")


class ELU(Op, name="elu", module="ELU"):
    """x above 0, else alpha * (exp(x) - 1). ``[C, H, W] -> [C, H, W]``. PyTorch: ``ELU``."""

    alpha: float = param(default=1.0, doc="the value approached below 0, negated")


class GELU(Op, name="gelu", module="GELU"):
    """x times the normal distribution at x. ``[C, H, W] -> [C, H, W]``. PyTorch: ``GELU``."""

    approximate: str = param(default="none", doc="exact, or through tanh", choices=("none", "tanh"))


class PReLU(Op, name="prelu"):
    """Leaky relu with a learned slope, one for all channels or one each.

    ``[C, H, W] -> [C, H, W]``. He et al. 2015, arXiv:1502.01852. PyTorch: ``PReLU``.
    """

    num_parameters: int = param(default=1, doc="1, or the number of channels", check=positive)
    init: float = param(default=0.25, doc="the slope to start from")

    def shape(self, x: FeatureMap | Vector) -> FeatureMap | Vector:
        channels = channels_of(x)
        if not isinstance(channels, Unknown) and self.num_parameters not in (1, channels):
            raise RuleError(
                f"`num_parameters` is 1 or the number of channels, {channels}; "
                f"got {self.num_parameters}",
                param="num_parameters",
                rule="channels",
            )
        return x

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        return (Weight("weight", (self.num_parameters,)),)

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        return nn.PReLU(self.num_parameters, self.init)


class Softmax(Op, name="softmax"):
    """exp(x) over its sum across the channels. ``[C, H, W] -> [C, H, W]``. PyTorch: ``Softmax``."""

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        return nn.Softmax(dim=1)


class LogSoftmax(Op, name="log_softmax"):
    """The logarithm of ``softmax``. ``[C, H, W] -> [C, H, W]``. PyTorch: ``LogSoftmax``."""

    def torch(self, x: FeatureMap | Vector) -> nn.Module:
        from torch import nn

        return nn.LogSoftmax(dim=1)
