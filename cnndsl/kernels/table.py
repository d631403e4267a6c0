"""The kernels there are. A new kernel is one line here; the first that takes a problem gets it."""

from __future__ import annotations

from collections.abc import Sequence

from cnndsl.kernels.base import Kernel
from cnndsl.kernels.conv import Convolution
from cnndsl.kernels.conv_tma import BoxConvolution
from cnndsl.kernels.depthwise import Depthwise
from cnndsl.kernels.depthwise_pointwise import DepthwisePointwise
from cnndsl.kernels.elementwise import Elementwise
from cnndsl.kernels.gemm import Gemm
from cnndsl.kernels.global_pool import GlobalPool
from cnndsl.kernels.grouped import Grouped
from cnndsl.kernels.lrn import ResponseNorm
from cnndsl.kernels.pool import Pool
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.prologue import Activated
from cnndsl.kernels.softmax import ExponentNorm
from cnndsl.kernels.squeeze import Squeeze
from cnndsl.kernels.stem import FramedStem, Stem
from cnndsl.kernels.upsample import Enlarge

KERNELS: tuple[Kernel, ...] = (
    DepthwisePointwise(),
    Depthwise(),
    Grouped(),
    Stem(),
    Activated(),
    Gemm(),
    BoxConvolution(),
    Convolution(),
    Squeeze(),
    Pool(),
    GlobalPool(),
    Enlarge(),
    Elementwise(),
    ResponseNorm(),
    ExponentNorm(),
)  # fmt: skip
FRAMED: tuple[Kernel, ...] = (FramedStem(),)
"""Only for what comes from outside, and is copied to within a frame."""


def taking(problem: Problem, capability: int, kernels: Sequence[Kernel] = KERNELS) -> list[Kernel]:
    """Those that take it, the one that is expected to be fastest first."""
    return [kernel for kernel in kernels if kernel.refuses(problem, capability) is None]
