"""Grouped convolution with few channels a group: several groups packed into one product.

A group of 4 or 8 channels fills a corner of the smallest tile of a tensor core. Taking g
groups as one, with zeros where a filter does not look, fills the tile: the same kernel as ``conv``
on filters that are block-diagonal.

    groups of 4:   [ A . . . ]      g = 4, 16 channels and 16 filters at once
                   [ . B . . ]
                   [ . . C . ]
                   [ . . . D ]

The zeros are multiplied: a NaN or an infinity in one group reaches the others packed with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cnndsl.kernels.base import Config
from cnndsl.kernels.conv import Convolution
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.window import Window, filters_of, window_of

WANTED = 32
"""Channels of a packed group: what one step of a product reads at least."""


class Grouped(Convolution):
    """Groups of fewer than 32 channels or filters, 2 at least."""

    name = "grouped"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        window = window_of(problem, 0)
        if window is not None and _together(problem, window) < 2:
            return "its groups are large enough, or too few to be packed"
        return super().refuses(problem, capability)

    def window(self, problem: Problem) -> Window:
        window = super().window(problem)
        return window._replace(groups=window.groups // _together(problem, window))

    def filters(self, problem: Problem, weights: Mapping[str, Tensor]) -> Tensor:
        window = super().window(problem)
        given = filters_of(window, weights["0.weight"])
        return block_diagonal(given, window.groups, _together(problem, window))

    def flops(self, problem: Problem, config: Config) -> int:
        return super().flops(problem, config) * _together(problem, super().window(problem))


def _together(problem: Problem, window: Window) -> int:
    """How many groups are packed into one: a divisor of their number."""
    channels = extents(problem.inputs[0])[0] // window.groups
    filters = extents(problem.results[0])[0] // window.groups
    most = WANTED // max(channels, filters)
    return max((g for g in range(1, most + 1) if window.groups % g == 0), default=1)


def block_diagonal(filters: Tensor, groups: int, together: int) -> Tensor:
    """``[filters, channels of a group, *kernel]`` for ``groups / together`` groups."""
    out, channels = filters.shape[:2]
    wide = filters.new_zeros((out, together * channels, *filters.shape[2:]))
    for group in range(groups):
        rows = slice(group * out // groups, (group + 1) * out // groups)
        first = group % together * channels
        wide[rows, first : first + channels] = filters[rows]
    return wide
