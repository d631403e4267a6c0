"""A convolution in the terms of a kernel, whichever operator asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cnndsl.kernels.problem import Problem, as_map
from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.ops.values import Pair


class Window(NamedTuple):
    """What a filter sees: output ``(y, x)`` reads inputs at ``y * stride - top + r * dilation``.

    ``transposed``: the other way round, input ``y`` is read by outputs at that position.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    top: int = 0
    left: int = 0
    groups: int = 1
    transposed: bool = False

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product of all pixels: one tap that reads its own pixel."""
        alone = self.kernel == (1, 1) == self.stride and not self.transposed
        return alone and self.top == self.left == 0

    @property
    def constants(self) -> dict[str, int | bool]:
        """It as constants of a kernel."""
        (r, s), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        return {
            "R": r, "S": s, "SH": sh, "SW": sw, "DH": dh, "DW": dw, "TOP": self.top,
            "LEFT": self.left, "GROUPS": self.groups, "TRANSPOSED": self.transposed,
        }  # fmt: skip


def window_of(problem: Problem, index: int) -> Window | None:
    """The convolution that is link ``index``; None if it is none."""
    op = problem.links[index].op
    if isinstance(op, Linear):
        return Window((1, 1))
    if isinstance(op, Conv):
        edges = op.edges(as_map(problem.operands[index][0]))
        return Window(op.kernel, op.stride, op.dilation, edges.top, edges.left, op.groups)
    if isinstance(op, ConvTranspose):
        top, left = op.padding
        return Window(op.kernel, op.stride, op.dilation, top, left, op.groups, True)
    return None


ALIGNED = 16
"""Bytes in the widest load: rows of packed filters begin at a multiple of it."""


def pack_filters(window: Window, weights: Mapping[str, Tensor], index: int) -> Tensor:
    """The filters of link ``index`` as ``pack_rows``."""
    return pack_rows(filters_of(window, weights[f"{index}.weight"]))


def pack_rows(filters: Tensor) -> Tensor:
    """``[filters, taps * channels of a group]``, tap by tap, channels innermost; rows aligned.

    The zeros behind a row are never read as filters.
    """
    rows = filters.permute(0, 2, 3, 1).flatten(1)
    step = ALIGNED // rows.element_size()
    return functional.pad(rows, (0, -rows.shape[1] % step)).contiguous()


def filters_of(window: Window, weight: Tensor) -> Tensor:
    """``[filters, channels of a group, *kernel]``, as ``conv2d`` has them."""
    weight = weight if weight.dim() == 4 else weight[:, :, None, None]
    if not window.transposed:
        return weight
    groups = weight.chunk(window.groups)
    return torch.cat([group.transpose(0, 1) for group in groups])
