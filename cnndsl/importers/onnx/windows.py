"""Convolutions, pools and fully connected layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.adaptive import strip
from cnndsl.importers.onnx.attributes import integer, integers, only, problem, real, word
from cnndsl.importers.onnx.model import Operation
from cnndsl.importers.onnx.moves import Rule
from cnndsl.importers.onnx.names import hint_of
from cnndsl.importers.onnx.network import Weights
from cnndsl.importers.onnx.reading import Reading, Value, Wire
from cnndsl.ops.axis import Window
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.conv import SAME_UPPER, Conv, ConvTranspose
from cnndsl.ops.linear import Linear
from cnndsl.ops.pool import AvgPool, GlobalAvgPool, GlobalMaxPool, LPPool, MaxPool
from cnndsl.ops.reshape import Crop, Pad
from cnndsl.ops.types import FeatureMap
from cnndsl.ops.values import Edges, Pair

_LOWEST = -3.4e38  # of what float32 has


class Frame(NamedTuple):
    """A window's attributes. ``edges``: None where they depend on an open size."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    edges: Edges | None
    same: bool
    """Whether the file says SAME_UPPER."""


def _frame(op: Operation, x: FeatureMap, kernel: tuple[int, ...] | None = None) -> Frame:
    size = integers(op, "kernel_shape", kernel, 2)
    if kernel is not None and size != kernel:
        raise problem(op, f"kernel_shape={list(size)} and weights of {list(kernel)}")
    stride = integers(op, "strides", (1, 1), 2)
    dilation = integers(op, "dilations", (1, 1), 2)
    if min(*size, *stride, *dilation) < 1:
        raise problem(op, "a kernel, stride or dilation below 1")
    auto = word(op, "auto_pad", "NOTSET")
    edges = _edges(op, auto, x, (size, stride, dilation))  # type: ignore[arg-type]
    return Frame(size, stride, dilation, edges, auto == "SAME_UPPER")  # type: ignore[arg-type]


def _edges(
    op: Operation, auto: str, x: FeatureMap, window: tuple[Pair, Pair, Pair]
) -> Edges | None:
    if auto in ("NOTSET", ""):
        top, left, bottom, right = integers(op, "pads", (0, 0, 0, 0), 4)
        return Edges(top, bottom, left, right)
    if auto == "VALID":
        return Edges(0, 0, 0, 0)
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise problem(op, f"auto_pad={auto}")
    sides: list[int] = []
    for size, k, s, d in zip((x.height, x.width), *window, strict=True):
        if not isinstance(size, int) and s > 1:
            if auto == "SAME_UPPER":
                return None
            raise problem(op, "auto_pad=SAME_LOWER of an open size")
        reach = d * (k - 1)
        steps = (-(-size // s) - 1) * s - size if isinstance(size, int) else -1
        total = max(steps + reach + 1, 0)
        less = total // 2
        sides += [less, total - less] if auto == "SAME_UPPER" else [total - less, less]
    return Edges(*sides)


# --- convolutions -------------------------------------------------------------------------------


def _weights(reading: Reading, op: Operation, place: int = 1) -> tuple[Any, Weights]:
    weight = reading.floats(op, place)
    found: Weights = {"weight": weight}
    if reading.has(op, place + 1):
        found["bias"] = reading.floats(op, place + 1).reshape(-1)
    return weight, found


def _conv(reading: Reading, op: Operation) -> Value:
    step = reading.map(op, 0)
    x = _map_type(reading, step)
    weight, found = _weights(reading, op)
    if weight.ndim != 4:
        raise problem(op, f"weights of {weight.ndim} axes, where images need 4")
    frame = _frame(op, x, weight.shape[2:])
    padding: Any = frame.edges
    if padding is None or (frame.same and not padding.symmetric):
        padding = SAME_UPPER
    if not isinstance(padding, str) and min(padding) < 0:
        less = Edges(*(max(-e, 0) for e in padding))
        step = reading.network.add(Crop(less), [step], op)
        padding = Edges(*(max(e, 0) for e in padding))
    layer = _made(
        op, Conv, weight.shape[0], frame.kernel, frame.stride, padding, frame.dilation,
        integer(op, "group", 1), "bias" in found,
    )  # fmt: skip
    return reading.layer(op, layer, [step], found, hint_of(op))


def _transposed(reading: Reading, op: Operation) -> Value:
    step = reading.map(op, 0)
    weight, found = _weights(reading, op)
    if weight.ndim != 4:
        raise problem(op, f"weights of {weight.ndim} axes, where images need 4")
    if "output_shape" in op.attributes or word(op, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise problem(op, "its padding follows from the size of its output")
    frame = _frame(op, _map_type(reading, step), weight.shape[2:])
    assert frame.edges is not None
    top, bottom, left, right = frame.edges
    groups = integer(op, "group", 1)
    extra = integers(op, "output_padding", (0, 0), 2)
    # What one end loses less than the other is added there; what it loses more is cut off.
    more = (extra[0] + top - bottom, extra[1] + left - right)
    longer, cut = (tuple(max(sign * m, 0) for m in more) for sign in (1, -1))
    layer = _made(
        op, ConvTranspose, weight.shape[1] * groups, frame.kernel, frame.stride, (top, left),
        longer, groups, "bias" in found, frame.dilation,
    )  # fmt: skip
    wire = reading.layer(op, layer, [step], found, hint_of(op))
    if any(cut):
        return reading.layer(op, Crop(Edges(0, cut[0], 0, cut[1])), [wire.step])
    return wire


def _map_type(reading: Reading, step: int) -> FeatureMap:
    found = reading.network.type(step)
    assert isinstance(found, FeatureMap)
    return found


def _made(op: Operation, kind: type[Op], *values: Any) -> Op:
    """An operator, whose own rules the file may break."""
    try:
        return kind(*values)
    except RuleError as why:
        raise problem(op, why.message) from None


# --- fully connected ----------------------------------------------------------------------------


def _gemm(reading: Reading, op: Operation) -> Value:
    only(op, "transA", 0)
    weight = reading.floats(op, 1)
    if weight.ndim != 2:
        raise problem(op, f"weights of {weight.ndim} axes")
    weight = weight if integer(op, "transB", 0) else weight.T
    weight = _times(weight, real(op, "alpha", 1.0))
    found: Weights = {"weight": weight}
    beta = real(op, "beta", 1.0)
    if reading.has(op, 2) and beta:
        bias = _times(reading.floats(op, 2), beta)
        if bias.size not in (1, weight.shape[0]):
            raise problem(op, f"a bias of the shape {list(bias.shape)}")
        found["bias"] = numpy.broadcast_to(bias.reshape(-1), weight.shape[:1])
    return _linear(reading, op, found)


def _times(value: Any, factor: float) -> Any:
    return value if factor == 1 else value * numpy.float32(factor)


def _matmul(reading: Reading, op: Operation) -> Value:
    weight = reading.floats(op, 1)
    if weight.ndim != 2:
        raise problem(op, f"a product with a constant of {weight.ndim} axes")
    return _linear(reading, op, {"weight": weight.T})


def _linear(reading: Reading, op: Operation, weights: Weights) -> Value:
    """On the channels where the last axis is just these, else on all values in a row."""
    wire = reading.settled(op, 0)
    if not weights["weight"].shape[0]:
        raise problem(op, "it has no outputs")
    layer = Linear(weights["weight"].shape[0], "bias" in weights)
    if len(wire.view) < 2 or not reading.on_axis(op, wire, -1):
        place = reading.network.add(layer, [reading.vector(op, 0)], op, weights, hint_of(op))
        return reading.whole(place)
    place = reading.network.add(layer, [wire.step], op, weights, hint_of(op))
    channels = views.base(reading.network.type(place), 1)[1]
    return Wire(place, (*wire.view[:-1], channels))


# --- pools --------------------------------------------------------------------------------------


def _maxpool(reading: Reading, op: Operation) -> Value:
    only(op, "storage_order", 0)
    if len(op.outputs) > 1 and op.outputs[1] in reading.model.readers:
        raise problem(op, "it gives the places of the maxima too")
    step = reading.map(op, 0)
    frame, ceil = _frame(op, _map_type(reading, step)), bool(integer(op, "ceil_mode", 0))
    x = _map_type(reading, step)
    for padding, up in _forms(op, x, frame, ceil):
        layer = _made(op, MaxPool, frame.kernel, frame.stride, padding, frame.dilation, up)
        return reading.layer(op, layer, [step])
    # A border of the lowest number never wins, as ONNX's own.
    step = reading.network.add(Pad(_known(op, frame), "constant", _LOWEST), [step], op)
    return reading.layer(
        op, _made(op, MaxPool, frame.kernel, frame.stride, (0, 0), frame.dilation, ceil), [step]
    )


def _known(op: Operation, frame: Frame) -> Edges:
    if frame.edges is None:
        raise problem(op, "auto_pad=SAME_UPPER of an open size")
    if min(frame.edges) < 0:
        raise problem(op, "negative padding")
    return frame.edges


def _forms(op: Operation, x: FeatureMap, frame: Frame, ceil: bool) -> list[tuple[Pair, bool]]:
    """Padding and rounding that give just the windows of the file, the plainest form first.

    Windows start at the same place in all forms, so they are the same when they are as many.
    """
    top, bottom, left, right = _known(op, frame)
    if top > frame.kernel[0] // 2 or left > frame.kernel[1] // 2:
        return []
    sides = ((x.height, top, bottom), (x.width, left, right))
    found = []
    for up in (ceil, not ceil):
        same = True
        for axis, (size, before, after) in enumerate(sides):
            k, s, d = frame.kernel[axis], frame.stride[axis], frame.dilation[axis]
            wanted = Window(k, s, before, after, d, ceil).size(size)  # type: ignore[arg-type]
            same = same and Window(k, s, before, before, d, up).size(size) == wanted  # type: ignore[arg-type]
        if same:
            found.append(((top, left), up))
    return found


def _avgpool(reading: Reading, op: Operation) -> Value:
    if integers(op, "dilations", (1, 1), 2) != (1, 1):
        raise problem(op, "an average of a window with gaps")
    step = reading.map(op, 0)
    x = _map_type(reading, step)
    frame, ceil = _frame(op, x), bool(integer(op, "ceil_mode", 0))
    counted = bool(integer(op, "count_include_pad", 0))
    edges = _known(op, frame)
    if not counted and _covers(x, frame, edges):
        return reading.layer(op, GlobalAvgPool(), [step])
    if edges.symmetric or not counted:
        for padding, up in _forms(op, x, frame, ceil):
            # Without padding there is nothing to count: the plain form says less.
            inside = counted or not (any(padding) or up)
            layer = _made(op, AvgPool, frame.kernel, frame.stride, padding, up, inside)
            return reading.layer(op, layer, [step])
    if not counted:
        raise problem(op, f"pads={list(edges)} that do not count in the average")
    step = reading.network.add(Pad(edges), [step], op)
    return reading.layer(op, _made(op, AvgPool, frame.kernel, frame.stride, (0, 0), ceil), [step])


def _covers(x: FeatureMap, frame: Frame, edges: Edges) -> bool:
    """Whether one padded window holds all there is."""
    top, bottom, left, right = edges
    if not isinstance(x.height, int) or not isinstance(x.width, int) or not any(edges):
        return False
    return top + x.height + bottom == frame.kernel[0] and left + x.width + right == frame.kernel[1]


def _lppool(reading: Reading, op: Operation) -> Value:
    step = reading.map(op, 0)
    frame = _frame(op, _map_type(reading, step))
    p = real(op, "p", 2)
    if any(_known(op, frame)) or frame.dilation != (1, 1) or integer(op, "ceil_mode", 0):
        raise problem(op, "a p-norm with padding, gaps or a partial window")
    if p % 2 or p < 2:
        raise problem(op, f"p={p:g}: signs are lost in ONNX only")
    return reading.layer(op, _made(op, LPPool, p, frame.kernel, frame.stride), [step])


def _global(layer: Op) -> Rule:
    def rule(reading: Reading, op: Operation) -> Value:
        return reading.layer(op, layer, [reading.map(op, 0)])

    return rule


def _reduced(layer: Op) -> Callable[[Reading, Operation], Value]:
    """A reduction over height and width."""

    def rule(reading: Reading, op: Operation) -> Value:
        wire = reading.settled(op, 0)
        places = reduced_axes(reading, op, wire)
        kind = reading.network.type(wire.step)
        spatial = views.merged(views.base(kind, 1)[2:]) if isinstance(kind, FeatureMap) else None
        over = views.merged(tuple(wire.view[k] for k in places))
        if len(places) == 1 and integer(op, "keepdims", 1):
            piece = strip(reading, op, wire, places[0], layer)
            if piece is not None:
                return piece
        if spatial is None or sorted(over) != sorted(spatial):
            raise problem(op, "it reduces other axes than height and width")
        place = reading.network.add(layer, [wire.step], op)
        view = tuple(() if k in places else axis for k, axis in enumerate(wire.view))
        if not integer(op, "keepdims", 1):
            view = tuple(axis for k, axis in enumerate(view) if k not in places)
        return Wire(place, view)

    return rule


def reduced_axes(reading: Reading, op: Operation, wire: Wire) -> list[int]:
    if "axes" in op.attributes:
        axes = integers(op, "axes", None)
    elif reading.has(op, 1):
        axes = reading.numbers(op, 1)
    else:
        raise problem(op, "it reduces all axes, the batch too")
    try:
        return views.normal(axes, len(wire.view))
    except views.NoView as why:
        raise problem(op, str(why)) from None


gap = _reduced(GlobalAvgPool())

RULES: dict[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _maxpool,
    "AveragePool": _avgpool,
    "LpPool": _lppool,
    "GlobalAveragePool": _global(GlobalAvgPool()),
    "GlobalMaxPool": _global(GlobalMaxPool()),
    "ReduceMax": _reduced(GlobalMaxPool()),
}
