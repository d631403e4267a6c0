"""An image in a frame of zeros, as wide as a first convolution pads it, of a few channels more.

What a filter sees of a row of it is one run of numbers, and no load needs a mask. An image that
comes from outside is copied to where kernels read it anyway: then to within its frame
(``Kernel.frame``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Frame(NamedTuple):
    """``[channels, rows, columns]`` of each sample, channels innermost in memory; the image
    begins in row ``top`` and column ``left`` of it and is ``held`` large, ``(C, H, W)``."""

    channels: int
    rows: int
    columns: int
    top: int
    left: int
    held: tuple[int, int, int]

    @property
    def size(self) -> tuple[int, int, int]:
        return (self.channels, self.rows, self.columns)

    def inside(self, framed: Tensor) -> Tensor:
        """The image in ``framed``, ``[N, *size]``."""
        channels, height, width = self.held
        down, across = slice(self.top, self.top + height), slice(self.left, self.left + width)
        return framed[:, :channels, down, across]

    def around(self, image: Tensor) -> Tensor:
        """A new ``framed`` for this image."""
        size = (len(image), self.rows, self.columns, self.channels)
        framed = torch.zeros(size, dtype=image.dtype, device=image.device).permute(0, 3, 1, 2)
        self.inside(framed).copy_(image)
        return framed
