"""Where a tensor's numbers lie: rows of channels, one row a pixel, all rows equally far apart.

A dense channels-last tensor is such rows, and so is a slice of the channels of one: its rows
are as far apart as those of the tensor that it is a slice of.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 2**31 - 1
"""The largest offset of 32 bits, in elements."""


def as_rows(x: Tensor) -> tuple[Tensor, int]:
    """``[N, C, H, W]`` whose pixels are rows, and how far apart they lie, in elements.

    ``x``: ``[N, C, H, W]`` or ``[N, C]``; copied only where it does not lie in rows.
    """
    x = _as_map(x)
    apart = pitch(x)
    if apart is None:
        x = x.contiguous(memory_format=torch.channels_last)
        apart = x.shape[1]
    return x, apart


def place(out: Tensor) -> tuple[Tensor, int]:
    """The same for what a kernel writes, where a copy would be lost; ValueError if not in rows."""
    rows = _as_map(out)
    apart = pitch(rows)
    if apart is None:
        raise ValueError(f"a result of strides {out.stride()} does not lie in rows of channels")
    return rows, apart


def _as_map(x: Tensor) -> Tensor:
    return x if x.dim() == 4 else x[:, :, None, None]


def pitch(x: Tensor) -> int | None:
    """How far apart the pixels of ``[N, C, H, W]`` lie, in elements; None if not in rows.

    The stride of an axis of size 1 says nothing: PyTorch leaves any number there.
    """
    n, c, h, w = x.shape
    down = ((3, w, 1), (2, h, w), (0, n, h * w))
    axes = [(x.stride(axis), rows) for axis, size, rows in down if size > 1]
    apart = axes[0][0] // axes[0][1] if axes else max(c, 1)
    inside = c <= 1 or x.stride(1) == 1
    regular = all(stride == apart * rows for stride, rows in axes)
    return apart if inside and regular and apart >= max(c, 1) else None


def is_wide(*tensors: Tensor | None) -> bool:
    """Whether an offset into one of them needs 64 bits."""
    return any(_last(t) > LARGEST for t in tensors if t is not None)


def _last(x: Tensor) -> int:
    """The offset of its last element."""
    return sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
