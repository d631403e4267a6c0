"""Tensors as the copy engine of an H100 (TMA, the tensor memory accelerator) addresses them.

It copies boxes out of a tensor of up to five axes into shared memory and back. What lies
outside of the tensor, before its start too, reads as zeros and is not written: borders need no
masks. The last axis is dense; the tensor begins, and all other axes go on, at multiples of 16
bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from cnndsl.kernels.base import Config
from cnndsl.kernels.layout import LARGEST, as_rows, place
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.window import ALIGNED

CAPABILITY = 90
"""The first devices that have it."""
WIDEST = 128
"""Bytes of a box's row that one bulk copy swizzles for the tensor cores."""

Box = tuple[int, ...]


def why_unaddressable(problem: Problem, capability: int, tf32: bool = False) -> str | None:
    """Why no kernel of boxes takes this problem: its device, numbers or sizes; None if one may.

    ``tf32``: whether float32 may be rounded to what tensor cores multiply.
    """
    channels, height, width = extents(problem.inputs[0])
    if capability < CAPABILITY:
        return "the device has no tensor memory accelerator"
    if problem.dtype == torch.float32 and not tf32:
        return "tensor cores do not multiply float32 exactly"
    if channels * problem.dtype.itemsize % ALIGNED:
        return f"its pixels of {channels} channels do not begin at multiples of {ALIGNED} bytes"
    if problem.batch * height * width > LARGEST:
        return "it has more pixels than a coordinate counts"
    return None


def readable(x: Tensor) -> tuple[Tensor, int]:
    """As ``layout.as_rows``; copied, too, where rows begin elsewhere than the engine reads."""
    rows, apart = as_rows(x)
    if is_addressable(rows, apart):
        return rows, apart
    return rows.clone(memory_format=torch.channels_last), rows.shape[1]


def is_addressable(rows: Tensor, apart: int) -> bool:
    """Whether rows of channels that lie ``apart`` begin where the copy engine can begin."""
    start = 0 if rows.is_meta else rows.data_ptr()
    return start % ALIGNED == 0 and apart * rows.element_size() % ALIGNED == 0


def maps(rows: Tensor, apart: int, size: Box, box: Box) -> TensorDescriptor:
    """``[N, H, W, C]``. ``size``: images, rows, columns, which may group the pixels otherwise
    than the tensor does; ``box``: the same and channels."""
    n, h, w = size
    strides = [h * w * apart, w * apart, apart, 1]
    return TensorDescriptor(rows, [n, h, w, rows.shape[1]], strides, list(box))


def matrix(rows: Tensor, width: int, box: Box) -> TensorDescriptor:
    """The first ``width`` columns of a matrix, such as packed filters."""
    return TensorDescriptor(rows, [rows.shape[0], width], [rows.stride(0), 1], list(box))


def result(out: Tensor, size: Box, box: Box) -> tuple[Tensor, int, TensorDescriptor | None]:
    """As ``layout.place``, and its maps; None where only single numbers can be written."""
    rows, apart = place(out)
    if not is_addressable(rows, apart):
        return rows, apart, None
    return rows, apart, maps(rows, apart, size, box)


@cache
def tile(batch: int, height: int, width: int, size: int) -> tuple[int, int, int]:
    """Images, rows, columns of a tile of ``size`` pixels, a power of two: the shape that covers
    all images with fewest tiles; of such shapes the one of fewest images, then the widest."""
    return min(_shapes(size), key=lambda sides: _cost(sides, (batch, height, width)))


def _shapes(size: int) -> Iterator[tuple[int, int, int]]:
    powers = [1 << k for k in range(size.bit_length())]
    for height in powers:
        for width in powers:
            if height * width <= size:
                yield size // (height * width), height, width


def _cost(sides: Box, whole: Box) -> tuple[int, int, int]:
    return tiles_in(sides, whole), sides[0], -sides[2]


def tiles_in(sides: Box, whole: Box) -> int:
    """How many tiles cover the whole."""
    return math.prod(-(-size // side) for size, side in zip(whole, sides, strict=True))


PROCESSORS = 132
"""Multiprocessors of an H100, where there is no device to ask."""
SHARED = 227 * 1024
"""Bytes of shared memory on one of them."""
WARPS = 16
"""Warps on one of them, if each thread has 128 registers."""


def programs(x: Tensor, config: Config, rows: int, filters: int) -> int:
    """How many programs run at once on the device of ``x``, if each holds ``config.stages``
    boxes of so many ``rows`` and ``filters``, and one of its results."""
    depth = config.stages * config["BK"]
    each = (depth * (rows + filters) + rows * filters) * x.element_size()
    together = max(1, min(SHARED // each, WARPS // config.warps))
    return processors(x.device) * together


@cache
def processors(device: torch.device) -> int:
    if device.type != "cuda":
        return PROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count
