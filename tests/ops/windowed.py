"""Pooling by its definition: one window after the other, without PyTorch's pools."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Pair = tuple[int, int]
Reduce = Callable[[Tensor, int], Tensor]
"""From what a window has of the input, ``[N, C, h, w]``, and how many positions it has with
the padding, to ``[N, C]``."""


class Span(NamedTuple):
    """One window along one axis: the input's positions, and the count with the padding."""

    inside: list[int]
    padded: int


def spans(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil: bool) -> list[Span]:
    """Windows from the padding's start on; with ``ceil`` also one that ends outside.

    A window starts in the input or in the padding before it, never behind; beyond the padding
    behind there is nothing to count.
    """
    found = []
    start, last, reach = -pad, size + pad - 1, dilation * (kernel - 1)
    while start + reach <= last or (ceil and start < size and start - stride + reach < last):
        places = range(start, start + reach + 1, dilation)
        inside = [place for place in places if 0 <= place < size]
        found.append(Span(inside, sum(place <= last for place in places)))
        start += stride
    return found


def pooled(
    x: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil: bool, reduce: Reduce
) -> Tensor:
    geometry = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    rows, columns = (spans(*axis, ceil) for axis in geometry)
    return torch.stack(
        [
            torch.stack([
                reduce(x[:, :, row.inside][:, :, :, column.inside], row.padded * column.padded)
                for column in columns
            ], -1)
            for row in rows
        ],
        -2,
    )  # fmt: skip


def adapted(x: Tensor, output: Pair, reduce: Callable[..., Tensor]) -> Tensor:
    """Window i of n covers floor(i*size/n) up to, not including, ceil((i+1)*size/n)."""
    (height, width), (rows, columns) = x.shape[2:], output
    return torch.stack(
        [
            torch.stack([
                reduce(x[:, :, i * height // rows : -(-(i + 1) * height // rows),
                         j * width // columns : -(-(j + 1) * width // columns)], (2, 3))
                for j in range(columns)
            ], -1)
            for i in range(rows)
        ],
        -2,
    )  # fmt: skip
