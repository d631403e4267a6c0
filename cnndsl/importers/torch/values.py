"""What a recorded tensor is in the graph: a value, perhaps seen in another arrangement.

Networks turn tensors around for the sake of one layer: to channels last and back, into groups of
channels and back, a gate's ``[C, 1, 1]`` into a vector and back. Such a view costs nothing and has
no step in a text; it is followed until a layer takes it, or it is what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PLAIN = "plain"
PERMUTED = "permuted"
"""A map with its axes in the order of ``detail``, the batch first."""
GROUPED = "grouped"
"""``[N, detail, C / detail, H, W]``."""
SHUFFLED = "shuffled"
"""``[N, C / detail, detail, H, W]``: grouped, and turned."""
ROWS = "rows"
"""``[N, C, H*W]``."""
SQUEEZED = "squeezed"
"""A map ``[C, 1, 1]`` seen as a vector."""
STACKED = "stacked"
"""Several values in a row; ``detail`` are their ids."""

CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True)
class Value:
    """The value that a step or an input has, by its id."""

    id: int
    form: str = PLAIN
    detail: Any = None

    @property
    def is_map_in_order(self) -> bool:
        """Whether elementwise layers can take it as it is: they do not mind the order."""
        return self.form in (PLAIN, PERMUTED, SQUEEZED)

    def like(self, id: int) -> Value:
        """Another value in the same arrangement."""
        return Value(id, self.form, self.detail)

    @property
    def channel_axis(self) -> int:
        return self.detail.index(1) if self.form == PERMUTED else 1


@dataclass(frozen=True)
class Weight:
    """An entry of the ``state_dict``; a reshaped one is still it."""

    key: str
    shape: tuple[int, ...]
