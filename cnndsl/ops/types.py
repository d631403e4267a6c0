"""What flows along a wire: feature maps and vectors, without the batch.

``UNKNOWN`` stands for a size that an earlier error left undetermined. Rules let it pass
in silence, so one cause gives one error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from cnndsl.ops.sizes import Dim


class Unknown:
    """A size nobody can know because of an error already reported."""

    def __repr__(self) -> str:
        return "?"


UNKNOWN: Final = Unknown()

Channels = int | Unknown
Extent = Dim | Unknown


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """``[channels, height, width]``; heights and widths may be symbolic."""

    channels: Channels
    height: Extent
    width: Extent

    def __str__(self) -> str:
        return f"[{self.channels}, {self.height}, {self.width}]"


@dataclass(frozen=True, slots=True)
class Vector:
    """``[features]``."""

    features: Channels

    def __str__(self) -> str:
        return f"[{self.features}]"


Type = FeatureMap | Vector | Unknown


def channels_of(x: FeatureMap | Vector) -> Channels:
    """Channels of a feature map, features of a vector: the axis after the batch."""
    return x.channels if isinstance(x, FeatureMap) else x.features


def with_channels(x: FeatureMap | Vector, channels: Channels) -> FeatureMap | Vector:
    """The same kind and sizes with other channels."""
    if isinstance(x, FeatureMap):
        return FeatureMap(channels, x.height, x.width)
    return Vector(channels)


def number(value: Channels | Extent) -> int:
    """A size that is a number by now: after checking, at integer input sizes."""
    if not isinstance(value, int):
        raise TypeError(f"a number is needed here, not {value}")
    return value


def spread(x: FeatureMap | Vector) -> int:
    """Positions of a feature map (height times width); 1 for a vector."""
    return number(x.height) * number(x.width) if isinstance(x, FeatureMap) else 1


class Weight(NamedTuple):
    """One entry of an operator's ``state_dict``: parameter, or buffer."""

    name: str
    shape: tuple[int, ...]
    buffer: bool = False
