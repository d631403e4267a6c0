"""Receptive fields, exactly, over the whole graph.

Along one axis, each position of a feature map sees a range of input positions. These ranges
repeat with a period (1, except behind upsampling), so a few ranges and one shift describe
them all, and every window maps them by index arithmetic. Padding counts as input: the field
is that of a position far from the border. Normalisation statistics are left out, as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

from cnndsl.graph.model import Graph, Node
from cnndsl.ops.axis import Axis, Scaled, Shifted, Transposed, Window
from cnndsl.ops.types import FeatureMap, Unknown

_LONGEST = 4096  # positions of a period; beyond, the field is not followed


class Field(NamedTuple):
    """Position ``i`` sees ``spans[i % period]``, moved by ``shift * (i // period)``."""

    spans: tuple[tuple[int, int], ...]
    shift: int

    @property
    def size(self) -> int:
        """Input positions that the best-sighted position sees."""
        return max(last - first + 1 for first, last in self.spans)

    @property
    def stride(self) -> Fraction:
        """Input positions between neighbours, on average."""
        return Fraction(self.shift, len(self.spans))

    def between(self, first: int, last: int) -> tuple[int, int]:
        """What the positions from ``first`` to ``last`` see together."""
        period = len(self.spans)
        (low, start), (high, end) = divmod(first, period), divmod(last, period)
        return self.spans[start][0] + low * self.shift, self.spans[end][1] + high * self.shift


class Whole:
    """Sees everything, whatever the input's size: behind a global pool."""

    def __repr__(self) -> str:
        return "all"


WHOLE = Whole()
POINT = Field(((0, 0),), 1)
Sight = Field | Whole | None
"""None: not followed (corner-aligned upsampling, branches of different strides)."""


class Reach(NamedTuple):
    """Over all paths from the input: the narrowest path's field, and all of them together."""

    least: Sight
    most: Sight

    def __str__(self) -> str:
        low, high = _text(self.least), _text(self.most)
        return low if low == high else f"{low}..{high}"


Reaches = dict[int, tuple[Reach, Reach]]


def receptive_fields(graph: Graph) -> Reaches:
    """By node id: along the height and along the width."""
    found: Reaches = {}
    for node in graph:
        if not node.inputs:
            found[node.id] = (Reach(POINT, POINT), Reach(POINT, POINT))
            continue
        height, width = (
            _step(graph, node, axis, [found[i][axis] for i in node.inputs]) for axis in (0, 1)
        )
        found[node.id] = (height, width)
    return found


def stride_of(reaches: Reaches, nodes: set[int]) -> tuple[Fraction, Fraction] | None:
    """The coarsest feature map's stride along height and width; None without any."""
    coarsest: list[Fraction] = []
    for axis in (0, 1):
        sights = (reaches[i][axis].least for i in nodes if i in reaches)
        strides = [sight.stride for sight in sights if isinstance(sight, Field)]
        if not strides:
            return None
        coarsest.append(max(strides))
    return coarsest[0], coarsest[1]


def _step(graph: Graph, node: Node, axis: int, before: list[Reach]) -> Reach:
    if len(before) > 1:
        return _joined(before)
    x = graph.nodes[node.inputs[0]].type
    (least, most), y = before[0], node.type
    axes = node.op.axes(x) if isinstance(x, FeatureMap) else None
    if axes is not None and node.op.values.get("align_corners"):
        return Reach(None, None)
    if axes is not None:
        bilinear = node.op.values.get("mode") == "bilinear"
        return Reach(*(_mapped(sight, axes[axis], bilinear) for sight in (least, most)))
    if not isinstance(x, FeatureMap) or _extent(x, axis) == 1 or x == y:
        return before[0]
    if isinstance(y, FeatureMap) and _extent(y, axis) == _extent(x, axis):
        return before[0]
    return Reach(WHOLE, WHOLE)


def _extent(x: FeatureMap, axis: int) -> object:
    size = (x.height, x.width)[axis]
    return None if isinstance(size, Unknown) else size


def _joined(reaches: Sequence[Reach]) -> Reach:
    narrow = [r.least for r in reaches]
    known = [sight for sight in narrow if isinstance(sight, Field)]
    least: Sight = min(known, key=lambda field: field.size) if known else narrow[0]
    most = reaches[0].most
    for reach in reaches[1:]:
        most = _union(most, reach.most)
    return Reach(least, most)


def _union(a: Sight, b: Sight) -> Sight:
    if isinstance(a, Whole) or isinstance(b, Whole):
        return WHOLE
    if a is None or b is None or a.stride != b.stride:
        return None
    if a == b:
        return a
    period = lcm(len(a.spans), len(b.spans))
    if period > _LONGEST:
        return None
    pairs = ((a.between(i, i), b.between(i, i)) for i in range(period))
    spans = tuple((min(p[0], q[0]), max(p[1], q[1])) for p, q in pairs)
    return Field(spans, a.shift * period // len(a.spans))


def _mapped(sight: Sight, axis: Axis, bilinear: bool) -> Sight:
    """The field behind one more operator."""
    if not isinstance(sight, Field):
        return sight
    up, down = _rate(axis)
    common = gcd(len(sight.spans), down)
    period = up * len(sight.spans) // common
    if period > _LONGEST:
        return None
    spans = tuple(sight.between(*_reads(axis, i, bilinear)) for i in range(period))
    return Field(spans, sight.shift * down // common)


def _rate(axis: Axis) -> tuple[int, int]:
    """So many positions of the output stand over so many of the input."""
    if isinstance(axis, Window):
        return 1, axis.stride
    if isinstance(axis, Scaled):
        return axis.factor, 1
    return (axis.stride, 1) if isinstance(axis, Transposed) else (1, 1)


def _reads(axis: Axis, i: int, bilinear: bool) -> tuple[int, int]:
    """First and last position of the operator's input that output position ``i`` is made of."""
    if isinstance(axis, Window):
        first = i * axis.stride - axis.before
        return first, first + axis.dilation * (axis.kernel - 1)
    if isinstance(axis, Shifted):
        return i - axis.before, i - axis.before
    if isinstance(axis, Scaled):
        if not bilinear:
            return i // axis.factor, i // axis.factor
        place = Fraction(2 * i + 1 - axis.factor, 2 * axis.factor)  # of its centre
        return place.__floor__(), place.__ceil__()
    assert isinstance(axis, Transposed)
    last = (i + axis.padding) // axis.stride
    reach = axis.dilation * (axis.kernel - 1)
    return min(-((reach - i - axis.padding) // axis.stride), last), last


def _text(sight: Sight) -> str:
    if isinstance(sight, Field):
        return str(sight.size)
    return "?" if sight is None else "all"
