"""Operations on constants and on shapes, computed while reading.

Shapes hold whole numbers and open sizes (``Size``), in arrays of objects: numpy moves them as it
moves numbers, and arithmetic on them is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy

from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.attributes import integer, integers, problem, reals, tensor
from cnndsl.importers.onnx.model import ELEMENTS, RANK, Operation
from cnndsl.importers.onnx.reading import Constant, Reading, Value, Wire
from cnndsl.importers.onnx.views import NoView
from cnndsl.ops.sizes import Size, SizeTooComplex, floordiv, plus, times

_SIZES = 64  # open sizes in one array: shapes are short
Fold = Callable[[Reading, Operation], Any]
_KINDS = {1: "float32", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


def fold(reading: Reading, op: Operation) -> list[Value] | None:
    """The outputs of an operation on constants alone; None where it is not one."""
    if op.kind == "Shape":
        return [Constant(_shape(reading, op))]
    named = [name for name in op.inputs if name]
    if op.kind not in FOLDS or any(isinstance(reading.value(name), Wire) for name in named):
        return None
    if sum(_size(reading.value(name)) for name in named) > reading.budget:
        raise problem(op, "too many numbers to compute")
    try:
        found = FOLDS[op.kind](reading, op)
    except (ValueError, TypeError, IndexError, ArithmeticError, NoView, SizeTooComplex) as why:
        raise ImportProblem(f"{op}: its constants do not fit together") from why
    results = found if isinstance(found, list) else [found]
    for value in results:
        # What numpy only repeats takes no room.
        reading.spend(0 if 0 in getattr(value, "strides", ()) else value.size)
    return [Constant(value) for value in results]


def _size(value: Value) -> int:
    return int(value.value.size) if isinstance(value, Constant) else 0


def _shape(reading: Reading, op: Operation) -> Any:
    value = reading.value(op.inputs[0]) if op.inputs and op.inputs[0] else None
    sizes = _sizes_of(value) if value is not None else ()
    end = op.attributes.get("end")
    wanted = sizes[integer(op, "start", 0) : end if isinstance(end, int) else None]
    return _objects(wanted)


def _sizes_of(value: Value) -> tuple[Any, ...]:
    """Sizes of axes; a product of two open ones is nothing that is known."""
    if isinstance(value, Constant):
        return tuple(value.value.shape)
    found: list[Any] = []
    for axis in value.view:
        try:
            found += views.shape((axis,))
        except NoView:
            found.append(None)
    return tuple(found)


def _objects(values: Any) -> Any:
    """A row of whole numbers and sizes."""
    row = list(values)
    if all(isinstance(v, int) for v in row):
        return numpy.array(row, dtype=numpy.int64)
    found = numpy.empty(len(row), dtype=object)
    found[:] = row
    return found


def _plain(value: Any) -> Any:
    """An array of objects as numbers again where it has no open size left."""
    if value.dtype == object and all(isinstance(v, int) for v in value.flat):
        return value.astype(numpy.int64)
    return value


# --- values -------------------------------------------------------------------------------------


def _constant(reading: Reading, op: Operation) -> Any:
    given = [key for key in op.attributes if key.startswith(("value", "sparse"))]
    if given == ["value"]:
        return tensor(op, "value")
    if given == ["value_float"]:
        return numpy.float32(op.attributes["value_float"]).reshape(())
    if given == ["value_int"]:
        return numpy.int64(integer(op, "value_int", 0)).reshape(())
    if given == ["value_ints"]:
        return numpy.array(integers(op, "value_ints", None), numpy.int64)
    if given == ["value_floats"]:
        return numpy.array(reals(op, "value_floats"), numpy.float32)
    raise problem(op, "it is a constant of a kind that is not read")


def _filled(reading: Reading, op: Operation) -> Any:
    """A shape full of one number; kept as that number repeated."""
    shape = reading.numbers(op, 0)
    if any(size < 0 for size in shape) or prod(shape) > ELEMENTS:
        raise problem(op, f"a constant of the shape {list(shape)}")
    value = tensor(op, "value") if "value" in op.attributes else numpy.zeros(1, "f4")
    return numpy.broadcast_to(value.reshape(()), shape)


def _cast(reading: Reading, op: Operation) -> Any:
    value = reading.constant(op, 0)
    if value.dtype == object:
        return value  # sizes stay exact
    kind = _KINDS.get(integer(op, "to", 0))
    if kind is None:
        raise problem(op, "a conversion to a kind that is not read")
    return value.astype(kind)


# --- moves --------------------------------------------------------------------------------------


def _reshaped(reading: Reading, op: Operation) -> Any:
    value = reading.constant(op, 0)
    target = integers(op, "shape", None) if "shape" in op.attributes else reading.numbers(op, 1)
    keep = integer(op, "allowzero", 0)
    sizes = [
        value.shape[k] if size == 0 and not keep and k < value.ndim else size
        for k, size in enumerate(target)
    ]
    return value.reshape(sizes)


def _axes(reading: Reading, op: Operation) -> tuple[int, ...] | None:
    if "axes" in op.attributes:
        axes = integers(op, "axes", None)
    elif reading.has(op, 1):
        axes = reading.numbers(op, 1)
    else:
        return None
    if len(axes) > RANK:
        raise problem(op, f"it names {len(axes)} axes, more than {RANK}")
    return axes


def _unsqueezed(reading: Reading, op: Operation) -> Any:
    return numpy.expand_dims(reading.constant(op, 0), _axes(reading, op) or ())


def _squeezed(reading: Reading, op: Operation) -> Any:
    return numpy.squeeze(reading.constant(op, 0), _axes(reading, op))


def _transposed(reading: Reading, op: Operation) -> Any:
    value = reading.constant(op, 0)
    return value.transpose(integers(op, "perm", tuple(reversed(range(value.ndim)))))


def _flattened(reading: Reading, op: Operation) -> Any:
    value, axis = reading.constant(op, 0), integer(op, "axis", 1)
    return value.reshape(prod(value.shape[:axis]), -1)


def _joined(reading: Reading, op: Operation) -> Any:
    values = [reading.constant(op, k) for k in range(len(op.inputs))]
    return _plain(numpy.concatenate(values, integer(op, "axis", 1)))


def _gathered(reading: Reading, op: Operation) -> Any:
    value, where = reading.constant(op, 0), reading.constant(op, 1)
    if value.size * where.size > reading.budget:
        raise problem(op, "too many numbers to compute")
    found = numpy.take(value, where.astype(numpy.int64), integer(op, "axis", 0))
    return _plain(numpy.asarray(found, value.dtype))


def _sliced(reading: Reading, op: Operation) -> Any:
    value = reading.constant(op, 0)
    found = [slice(None)] * value.ndim
    for axis, start, stop, step in slices(reading, op, value.ndim):
        found[axis] = slice(start, stop, step)
    return _plain(value[tuple(found)])


def slices(reading: Reading, op: Operation, rank: int) -> list[tuple[int, Any, Any, int]]:
    """(axis, start, stop, step) of a Slice; NoView for axes that are not there."""
    if len(op.inputs) == 1:
        starts, stops = integers(op, "starts", None), integers(op, "ends", None)
        axes = integers(op, "axes", tuple(range(len(starts))))
        steps: tuple[int, ...] = (1,) * len(starts)
    else:
        starts, stops = (reading.numbers(op, k, sizes=True) for k in (1, 2))
        axes = reading.numbers(op, 3) if reading.has(op, 3) else tuple(range(len(starts)))
        steps = reading.numbers(op, 4) if reading.has(op, 4) else (1,) * len(starts)
    places = views.normal(axes, rank)
    if not len(places) == len(starts) == len(stops) == len(steps) or 0 in steps:
        raise ImportProblem(f"{op}: its starts, ends, axes and steps do not fit together")
    return list(zip(places, starts, stops, steps, strict=True))


def _expanded(reading: Reading, op: Operation) -> Any:
    value, shape = reading.constant(op, 0), reading.numbers(op, 1)
    wanted = numpy.broadcast_shapes(value.shape, shape)
    if prod(wanted) > reading.budget:
        raise problem(op, f"a constant of the shape {list(wanted)}")
    return numpy.broadcast_to(value, wanted)


# --- arithmetic ---------------------------------------------------------------------------------


def _pairwise(numbers: Callable[[Any, Any], Any], sizes: Callable[[Any, Any], Any]) -> Fold:
    """Arithmetic of two constants; of open sizes one by one."""

    def folded(reading: Reading, op: Operation) -> Any:
        left, right = reading.constant(op, 0), reading.constant(op, 1)
        shape = numpy.broadcast_shapes(left.shape, right.shape)
        if prod(shape) > reading.budget:
            raise problem(op, f"a constant of the shape {list(shape)}")
        if object not in (left.dtype, right.dtype):
            with numpy.errstate(all="ignore"):
                return numpy.asarray(numbers(left, right)).astype(left.dtype, copy=False)
        if prod(shape) > _SIZES:
            raise problem(op, "arithmetic of too many sizes")
        return _plain(numpy.asarray(numpy.frompyfunc(sizes, 2, 1)(left, right), object))

    return folded


def _sum(a: Any, b: Any) -> Any:
    return plus(a, int(b)) if isinstance(a, Size) else plus(b, int(a))


def _product(a: Any, b: Any) -> Any:
    return times(a, _whole(b)) if isinstance(a, Size) else times(b, _whole(a))


def _whole(value: Any) -> int:
    if int(value) != value:
        raise ValueError("a size times a fraction")
    return int(value)


def _quotient(a: Any, b: Any) -> Any:
    return floordiv(a, _whole(b))


def _divided(left: Any, right: Any) -> Any:
    if left.dtype.kind in "iu":
        return numpy.trunc(left / right)  # as ONNX divides whole numbers
    return left / right


def _each(function: Callable[[Any], Any]) -> Fold:
    def folded(reading: Reading, op: Operation) -> Any:
        value = reading.constant(op, 0)
        with numpy.errstate(all="ignore"):
            return numpy.asarray(function(value)).astype(value.dtype, copy=False)

    return folded


def _same(reading: Reading, op: Operation) -> Any:
    return reading.constant(op, 0)


FOLDS: dict[str, Fold] = {
    "Constant": _constant,
    "ConstantOfShape": _filled,
    "Identity": _same,
    "Dropout": _same,
    "Cast": _cast,
    "Reshape": _reshaped,
    "Unsqueeze": _unsqueezed,
    "Squeeze": _squeezed,
    "Transpose": _transposed,
    "Flatten": _flattened,
    "Concat": _joined,
    "Gather": _gathered,
    "Slice": _sliced,
    "Expand": _expanded,
    "Add": _pairwise(numpy.add, _sum),
    "Sub": _pairwise(numpy.subtract, lambda a, b: plus(a, -int(b))),
    "Mul": _pairwise(numpy.multiply, _product),
    "Div": _pairwise(_divided, _quotient),
    "Pow": _pairwise(numpy.power, lambda a, b: _whole(a) ** _whole(b)),
    "Neg": _each(numpy.negative),
    "Sqrt": _each(numpy.sqrt),
    "Exp": _each(numpy.exp),
    "Floor": _each(numpy.floor),
    "Ceil": _each(numpy.ceil),
    "Reciprocal": _each(numpy.reciprocal),
}
