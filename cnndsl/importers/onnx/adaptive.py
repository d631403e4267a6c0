"""Adaptive pools, which ONNX has no operator for: window by window, axis by axis.

Written out, ``adaptive_avgpool((2, 3))`` cuts two windows of rows, reduces and joins them, and
does the same with three windows of columns. Each part is noted here; the last join is the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnndsl.importers.onnx.model import Operation
from cnndsl.importers.onnx.network import Part
from cnndsl.importers.onnx.reading import Reading, Wire
from cnndsl.ops.base import Op, param
from cnndsl.ops.pool import AdaptiveAvgPool, AdaptiveMaxPool, GlobalAvgPool
from cnndsl.ops.sizes import Dim, Size, floordiv, times
from cnndsl.ops.types import Extent, FeatureMap

_ROWS, _COLUMNS = 2, 3


class Cut(Part):
    """Rows or columns between two places of an open size."""

    unknown = "a cut at a place that depends on an open size"


class Strip(Part):
    """One window along one axis, reduced to one row or column."""

    unknown = "a reduction over height or width alone"


class Half(Part):
    """An adaptive pool along one axis."""

    unknown = Strip.unknown
    axis: int = param(doc="2 or 3")
    count: int = param(doc="number of windows")

    def shape(self, x: FeatureMap) -> FeatureMap:
        if self.axis == _ROWS:
            return FeatureMap(x.channels, self.count, x.width)
        return FeatureMap(x.channels, x.height, self.count)


class Window(NamedTuple):
    """Rows or columns ``start`` to ``stop`` of a step's value."""

    step: int
    axis: int
    start: Dim
    stop: Dim


class Piece(NamedTuple):
    """A window, and whether its mean is taken or its maximum."""

    window: Window
    mean: bool


def cut(reading: Reading, op: Operation, wire: Wire, window: Window) -> Wire:
    """The window as a wire; only a reduction of it can become a layer."""
    place = reading.network.add(Cut(), [wire.step], op)
    reading.windows[place] = window
    return Wire(place, wire.view)


def strip(reading: Reading, op: Operation, wire: Wire, axis: int, layer: Op) -> Wire | None:
    """A window that is reduced along its own axis; None where that is not one."""
    kind = reading.network.type(wire.step)
    if axis not in (_ROWS, _COLUMNS) or not isinstance(kind, FeatureMap):
        return None
    window = reading.windows.get(wire.step)
    if window is None or window.axis != axis:
        window = Window(wire.step, axis, 0, _size(kind, axis))
    if not reading.is_whole(wire):
        return None
    place = reading.network.add(Strip(), [window.step], op)
    reading.pieces[place] = Piece(window, isinstance(layer, GlobalAvgPool))
    return Wire(place, tuple(() if k == axis else part for k, part in enumerate(wire.view)))


def joined(reading: Reading, op: Operation, wires: Sequence[Wire], axis: int) -> Wire | None:
    """The pool, or half of it, if these are all its windows; else None."""
    pieces = [reading.pieces.get(wire.step) for wire in wires]
    first = pieces[0]
    if first is None or first.window.axis != axis or len({len(w.view) for w in wires}) > 1:
        return None
    step, mean = first.window.step, first.mean
    kind = reading.network.type(step)
    assert isinstance(kind, FeatureMap)
    size, count = _size(kind, axis), len(wires)
    expected = [
        Piece(Window(step, axis, _cut_at(size, k, count, 0), _cut_at(size, k + 1, count, 1)), mean)
        for k in range(count)
    ]
    if pieces != expected:
        return None
    before = reading.network.steps[step]
    if isinstance(before.op, Half) and before.op.axis != axis and reading.halves[step] == mean:
        both = {before.op.axis: before.op.count, axis: count}
        output = (both[_ROWS], both[_COLUMNS])
        layer = AdaptiveAvgPool(output) if mean else AdaptiveMaxPool(output)
        return reading.layer(op, layer, before.inputs)
    place = reading.network.add(Half(axis, count), [step], op)
    reading.halves[place] = mean
    return reading.whole(place)


def _size(kind: FeatureMap, axis: int) -> Dim:
    found: Extent = kind.height if axis == _ROWS else kind.width
    assert isinstance(found, int | Size)
    return found


def _cut_at(size: Dim, k: int, count: int, up: int) -> Dim:
    """``k * size / count``, rounded down or up."""
    whole = times(size, k) if k else 0
    return floordiv(whole, count, up * (count - 1))
