"""Families of operators, as rewrites speak of them. Each family is said here and nowhere else."""

from __future__ import annotations

from cnndsl.ops.activation import (
    ELU,
    GELU,
    Hardsigmoid,
    Hardswish,
    LeakyReLU,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Tanh,
)
from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.ops.merge import Add, Max, Mean, Mul
from cnndsl.ops.pool import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
)
from cnndsl.ops.regular import Dropout, Dropout2d, DropPath, Scale
from cnndsl.passes.ops import Affine

ACTIVATIONS = (ReLU, ReLU6, SiLU, Hardswish, Hardsigmoid, Sigmoid, Tanh, LeakyReLU, ELU, GELU)
"""Of one value each, the same for all channels, without weights."""
EPILOGUES = (*ACTIVATIONS, PReLU)
"""Of one value each: what a kernel can apply before it stores."""
ELEMENTWISE = (*EPILOGUES, Affine, Scale, Add, Mul, Mean, Max)
"""What looks at one point of its operands at a time."""
CONVOLUTIONS = (Conv, ConvTranspose, Linear)
"""What sums in registers, and so may go on with its values before they are stored."""
AVERAGE_POOLS = (AvgPool, AdaptiveAvgPool, GlobalAvgPool)
MAX_POOLS = (MaxPool, AdaptiveMaxPool, GlobalMaxPool)
NOISE = (Dropout, Dropout2d, DropPath)
"""Nothing in eval mode."""
