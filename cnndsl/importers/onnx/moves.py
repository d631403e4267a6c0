"""Operations that move, cut or join values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.adaptive import Window, cut, joined
from cnndsl.importers.onnx.attributes import integer, integers, problem, word
from cnndsl.importers.onnx.folding import slices
from cnndsl.importers.onnx.model import Operation
from cnndsl.importers.onnx.reading import Constant, Reading, Value, Wire
from cnndsl.importers.onnx.views import NoView, View
from cnndsl.ops.merge import Concat
from cnndsl.ops.reshape import Crop, Slice
from cnndsl.ops.sizes import Dim, Size
from cnndsl.ops.types import FeatureMap, channels_of
from cnndsl.ops.values import Edges

Rule = Callable[[Reading, Operation], "Value | list[Value]"]


def _move(change: Callable[[Reading, Operation, View], View]) -> Rule:
    """An operation that only changes the tensor's axes."""

    @wraps(change)
    def rule(reading: Reading, op: Operation) -> Value:
        try:
            return reading.viewed(op, change(reading, op, reading.wire(op, 0).view))
        except NoView as why:
            raise problem(op, str(why)) from None

    return rule


@_move
def _identity(reading: Reading, op: Operation, view: View) -> View:
    return view


@_move
def _transpose(reading: Reading, op: Operation, view: View) -> View:
    return views.transpose(view, integers(op, "perm", tuple(reversed(range(len(view))))))


@_move
def _flatten(reading: Reading, op: Operation, view: View) -> View:
    return views.flatten(view, integer(op, "axis", 1))


@_move
def _reshape(reading: Reading, op: Operation, view: View) -> View:
    target: Sequence[Dim]
    if "shape" in op.attributes:
        target = integers(op, "shape", None)
    else:
        target = reading.constant(op, 1).reshape(-1).tolist()
    if not all(isinstance(size, int | Size) for size in target) or len(target) > 8:
        raise problem(op, "its shape is not in whole numbers")
    return views.reshape(view, target, bool(integer(op, "allowzero", 0)))


def _axes(reading: Reading, op: Operation) -> tuple[int, ...] | None:
    if "axes" in op.attributes:
        return integers(op, "axes", None)
    return reading.numbers(op, 1) if reading.has(op, 1) else None


@_move
def _squeeze(reading: Reading, op: Operation, view: View) -> View:
    return views.squeeze(view, _axes(reading, op))


@_move
def _unsqueeze(reading: Reading, op: Operation, view: View) -> View:
    return views.unsqueeze(view, _axes(reading, op) or ())


@_move
def _cast(reading: Reading, op: Operation, view: View) -> View:
    if integer(op, "to", 0) != 1:
        raise problem(op, "a conversion to other numbers than float32")
    return view


@_move
def _depth_to_space(reading: Reading, op: Operation, view: View) -> View:
    factor = integer(op, "blocksize", 0)
    if factor < 1 or len(view) != 4:
        raise problem(op, f"blocksize={factor} on {len(view)} axes")
    channels = views.shape(view)[1]
    left = channels // factor**2 if isinstance(channels, int) else 0
    batch, channel, height, width = view
    if word(op, "mode", "DCR") == "CRD":
        rest, rows, columns = views.reshape((channel,), [left, factor, factor])
    else:
        rows, columns, rest = views.reshape((channel,), [factor, factor, left])
    return (batch, rest, views.merged((height, rows)), views.merged((width, columns)))


# --- channels -----------------------------------------------------------------------------------


def _concat(reading: Reading, op: Operation) -> Value:
    if any(isinstance(reading.value(name), Constant) for name in op.inputs):
        raise problem(op, "it joins a constant with what is computed")
    wires = [reading.settled(op, k) for k in range(len(op.inputs))]
    axis = integer(op, "axis", 1)
    pooled = joined(reading, op, wires, axis)
    if pooled is not None:
        return pooled
    if all(reading.on_axis(op, wire, axis) for wire in wires) and _alike(reading, wires, axis):
        steps = [wire.step for wire in wires]
    elif len(wires[0].view) == 4 and axis in (1, -3):
        steps = [reading.map(op, k) for k in range(len(wires))]
        wires, axis = [reading.whole(step) for step in steps], 1
    elif len(wires[0].view) == 2 and axis in (1, -1):
        steps = [reading.vector(op, k) for k in range(len(wires))]
        wires, axis = [reading.whole(step) for step in steps], 1
    else:
        raise problem(op, f"it joins along axis {axis}, which is not the channels alone")
    if len(steps) == 1:
        return wires[0]
    place = reading.network.add(Concat(), steps, op)
    return _with_channels(reading, wires[0], axis, place)


def _alike(reading: Reading, wires: Sequence[Wire], axis: int) -> bool:
    """Whether all have their axes in one order, and are of one kind."""
    axis %= len(wires[0].view)
    rests = {
        tuple(tuple(a.axis for a in part) for k, part in enumerate(w.view) if k != axis)
        for w in wires
        if len(w.view) > axis
    }
    kinds = {type(reading.network.type(wire.step)) for wire in wires}
    return len(rests) == 1 and len(kinds) == 1 and len({len(w.view) for w in wires}) == 1


def _with_channels(reading: Reading, wire: Wire, axis: int, place: int) -> Wire:
    """The same view of a step with another number of channels, which ``axis`` runs through."""
    axis %= len(wire.view)
    new = reading.network.type(place)
    found = views.onto(wire.view, reading.network.type(wire.step), new)
    return Wire(place, (*found[:axis], views.base(new, 1)[1], *found[axis + 1 :]))


def _split(reading: Reading, op: Operation) -> list[Value]:
    axis = integer(op, "axis", 0)
    wire = _by_channels(reading, op, axis)
    if not reading.on_axis(op, wire, axis):
        raise problem(op, f"it cuts along axis {axis}, which is not the channels alone")
    total = channels_of(reading.network.type(wire.step))
    assert isinstance(total, int)
    parts = _parts(reading, op, total)
    if sum(parts) != total or min(parts) < 1 or len(parts) != len(op.outputs):
        raise problem(op, f"{total} channels in parts of {list(parts)}")
    found: list[Value] = []
    start = 0
    for size in parts:
        found.append(_channels(reading, op, wire, axis, start, start + size))
        start += size
    return found


def _by_channels(reading: Reading, op: Operation, axis: int) -> Wire:
    """What is cut along an axis; channels that are moved about are moved first."""
    wire = reading.settled(op, 0)
    moved = len(wire.view) == 4 and axis in (1, -3) and len(wire.view[1]) > 1
    return reading.whole(reading.map(op, 0)) if moved else wire


def _parts(reading: Reading, op: Operation, total: int) -> tuple[int, ...]:
    if "split" in op.attributes:
        return integers(op, "split", None)
    if reading.has(op, 1):
        return reading.numbers(op, 1)
    count = integer(op, "num_outputs", len(op.outputs))
    if not 1 <= count <= total:
        raise problem(op, f"{total} channels in {count} parts")
    each = -(-total // count)
    return (each,) * (count - 1) + (total - each * (count - 1),)


def _channels(
    reading: Reading, op: Operation, wire: Wire, axis: int, start: int, stop: int
) -> Wire:
    place = reading.network.add(Slice(start, stop), [wire.step], op)
    return _with_channels(reading, wire, axis, place)


def _slice(reading: Reading, op: Operation) -> Value:
    wire = reading.settled(op, 0)
    try:
        cuts = slices(reading, op, len(wire.view))
        if len(cuts) == 1:
            wire = _by_channels(reading, op, cuts[0][0])
        sizes = views.shape(wire.view)
    except NoView as why:
        raise problem(op, str(why)) from None
    for axis, start, stop, step in cuts:
        if step != 1:
            raise problem(op, f"it takes every {step}th value of axis {axis}")
        window = Window(wire.step, axis, start, stop)
        is_open = isinstance(start, Size) or isinstance(stop, Size)
        if is_open and reading.is_whole(wire) and axis > 1:
            wire = cut(reading, op, wire, window)
            continue
        first, last = _ends(op, sizes[axis], start, stop)
        if not first and not last:
            continue
        if reading.on_axis(op, wire, axis):
            total = sizes[axis]
            assert isinstance(total, int)
            wire = _channels(reading, op, wire, axis, first, total - last)
        else:
            wire = _cropped(reading, op, wire, axis, first, last)
            reading.windows[wire.step] = window
    return wire


def _ends(op: Operation, size: Dim, start: Any, stop: Any) -> tuple[int, int]:
    """How much a cut takes away at the two ends of an axis."""
    if isinstance(size, int):
        first, last, _ = slice(start, stop).indices(size)
        if first >= last:
            raise problem(op, f"it leaves nothing of {size}")
        return first, size - last
    if isinstance(start, Size) or isinstance(stop, Size) or start < 0 or 0 <= stop < 2**30:
        raise problem(op, f"it cuts at a fixed place of an axis of open size {size}")
    return start, -stop if stop < 0 else 0


def _cropped(reading: Reading, op: Operation, wire: Wire, axis: int, first: int, last: int) -> Wire:
    kind = reading.network.type(wire.step)
    whole = views.base(kind, 1)
    if not isinstance(kind, FeatureMap) or wire.view[axis] not in whole[2:]:
        raise problem(op, f"it cuts {reading.told(wire)} along axis {axis}")
    rows = wire.view[axis] == whole[2]
    amount = Edges(first, last, 0, 0) if rows else Edges(0, 0, first, last)
    place = _add_crop(reading, op, wire.step, amount)
    after = views.base(reading.network.type(place), reading.batch)[2 if rows else 3]
    return Wire(place, (*wire.view[:axis], after, *wire.view[axis + 1 :]))


def _add_crop(reading: Reading, op: Operation, source: int, amount: Edges) -> int:
    """One crop for what other programs cut axis by axis."""
    before = reading.network.steps[source]
    if isinstance(before.op, Crop):
        amount = Edges(*(a + b for a, b in zip(before.op.amount, amount, strict=True)))
        (source,) = before.inputs
    return reading.network.add(Crop(amount), [source], op)


def _expand(reading: Reading, op: Operation) -> Value:
    """To the shape that is there already."""
    wire = reading.wire(op, 0)
    target = reading.constant(op, 1).reshape(-1).tolist()
    try:
        sizes = views.shape(wire.view)
    except NoView as why:
        raise problem(op, str(why)) from None
    if len(target) > len(sizes) or any(
        wanted not in (1, size) for wanted, size in zip(target[::-1], sizes[::-1], strict=False)
    ):
        raise problem(op, "it repeats values along an axis")
    return reading.viewed(op, wire.view)


RULES: dict[str, Rule] = {
    "Identity": _identity,
    "Cast": _cast,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "DepthToSpace": _depth_to_space,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
}
