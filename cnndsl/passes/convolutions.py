"""What several rewrites ask of convolutions and of the steps around them."""

from __future__ import annotations

from cnndsl.ops.conv import Conv
from cnndsl.ops.linear import Linear
from cnndsl.ops.types import Extent, FeatureMap
from cnndsl.ops.values import Edges
from cnndsl.passes.flow import Step, is_map

NO_EDGES = Edges(0, 0, 0, 0)
"""The padding of a convolution that pads nothing."""


def edges_of(conv: Step) -> Edges:
    """The padding of a convolution in numbers."""
    (x,) = conv.inputs
    assert isinstance(conv.op, Conv) and isinstance(x.type, FeatureMap)
    return conv.op.edges(x.type)


def reads_one_position(step: Step) -> bool:
    """A convolution with a 1x1 window on a map without padding, or a linear layer on a map."""
    if isinstance(step.op, Linear):
        return is_map(step)
    return isinstance(step.op, Conv) and step.op.kernel == (1, 1) and edges_of(step) == NO_EDGES


def keeps_positions(step: Step) -> bool:
    """As above, and at every position: the same map goes from each position to each."""
    return reads_one_position(step) and getattr(step.op, "stride", (1, 1)) == (1, 1)


def is_one_size(join: Step) -> bool:
    """Whether its operands say their size as it does.

    Two ways to say a size may be equal for all sizes that the network admits; a join has
    settled on one of them, and would not if its operands came in another order.
    """
    return len({size_of(step) for step in (join, *join.inputs)}) == 1


def size_of(step: Step) -> tuple[Extent, Extent] | None:
    """Height and width; None for a vector."""
    type = step.type
    return (type.height, type.width) if isinstance(type, FeatureMap) else None
