"""Concatenations without concatenating: each part is copied once, into its slice of a buffer."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from cnndsl.passes.buffers import Buffers, Place
from cnndsl.passes.flow import Flow


class Slices:
    """The buffers of one run; those that hold a single concatenation gain nothing.

    A buffer is as wide as the longest list of parts and is made when its first part is
    written. Views of it are channels-last with rows that lie apart, which convolutions, pools
    and elementwise operators of PyTorch take.
    """

    def __init__(self, flow: Flow) -> None:
        plan = Buffers.of(flow)
        shared = Counter(place.buffer for place in plan.views.values())
        self.widths = plan.channels
        self.views = {i: place for i, place in plan.views.items() if shared[place.buffer] > 1}
        self.writes = {
            i: kept
            for i, places in plan.writes.items()
            if (kept := tuple(place for place in places if shared[place.buffer] > 1))
        }


def view(buffer: Tensor, place: Place) -> Tensor:
    """The channels of a place."""
    return buffer.narrow(1, place.offset, place.channels)


def write(buffers: dict[int, Tensor], widths: tuple[int, ...], place: Place, value: Tensor) -> None:
    """Copies a part to where it belongs; makes the buffer if there is none."""
    if place.buffer not in buffers:
        shape = (value.shape[0], widths[place.buffer], *value.shape[2:])
        layout = torch.channels_last if value.dim() == 4 else torch.contiguous_format
        buffers[place.buffer] = torch.empty(shape, dtype=value.dtype, memory_format=layout)
    view(buffers[place.buffer], place).copy_(value)
