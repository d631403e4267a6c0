"""Activations, and what else works value by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, sqrt
from typing import Any

import numpy

from cnndsl.importers.onnx.attributes import integer, problem, real, word
from cnndsl.importers.onnx.model import Operation, short
from cnndsl.importers.onnx.moves import Rule
from cnndsl.importers.onnx.names import hint_of
from cnndsl.importers.onnx.network import Phi
from cnndsl.importers.onnx.reading import Reading, Value, Wire
from cnndsl.ops import activation as act
from cnndsl.ops.base import Op
from cnndsl.ops.regular import Dropout

_NEAR = 4e-6  # of a factor: files write 1/6 in six digits


def _unary(make: Callable[[Operation], Op]) -> Rule:
    def rule(reading: Reading, op: Operation) -> Value:
        return reading.same(op, make(op))

    return rule


def _gelu(op: Operation) -> Op:
    return act.GELU(word(op, "approximate", "none"))


def _dropout(reading: Reading, op: Operation) -> Value:
    if len(op.outputs) > 1 and op.outputs[1] in reading.model.readers:
        raise problem(op, "its mask is used")
    if reading.has(op, 2) and numpy.any(reading.constant(op, 2)):
        raise problem(op, "it drops values, the model is one in training")
    ratio = real(op, "ratio", 0.5)
    if reading.has(op, 1):
        ratio = short(reading.number(op, 1))
    return (
        reading.same(op, Dropout(ratio))
        if 0 <= ratio < 1
        else reading.viewed(op, reading.wire(op, 0).view)
    )


def _clip(reading: Reading, op: Operation) -> Value:
    low, high = _limit(reading, op, 1, "min", -inf), _limit(reading, op, 2, "max", inf)
    if low == 0 and high >= numpy.finfo(numpy.float32).max:
        return reading.same(op, act.ReLU())
    wire = reading.wire(op, 0)
    if (low, high) == (0, 6) and wire.plain:
        return reading.same(op, act.ReLU6())
    if not -1e30 < low < high < 1e30:
        raise problem(op, f"between {low:g} and {high:g}")
    return _between(reading, op, low, high)


def _limit(reading: Reading, op: Operation, place: int, name: str, default: float) -> float:
    if not reading.has(op, place):
        return real(op, name, default)
    found = reading.floats(op, place)
    if found.size != 1 or numpy.isnan(found).any():
        raise problem(op, f"its `{name}` is not one number")
    return float(found.reshape(()))


def _between(reading: Reading, op: Operation, low: float, high: float) -> Wire:
    """clip(x, low, high) by relu6(x + 3) / 6: both are 0 to 1 on a line, elsewhere constant."""
    slope = 6 / (high - low)
    wire = _hardsigmoid_of(reading, op, slope, -slope * low - 3)
    return replace(wire, scale=high - low, shift=low)


def _hardsigmoid(reading: Reading, op: Operation) -> Value:
    slope, offset = real(op, "alpha", 0.2), real(op, "beta", 0.5)
    return _hardsigmoid_of(reading, op, 6 * slope, 6 * offset - 3)


def _hardsigmoid_of(reading: Reading, op: Operation, scale: float, shift: float) -> Wire:
    """hardsigmoid(scale * x + shift); factors that are 1 and 0 but for rounding are."""
    wire = reading.scaled(op, 0, scale, shift)
    wire = replace(wire, scale=snapped(wire.scale, 1.0), shift=snapped(wire.shift, 0.0))
    if not wire.plain:
        wire = reading.settle(wire, op)
    return Wire(reading.network.add(act.Hardsigmoid(), [wire.step], op), wire.view)


def snapped(value: Any, number: float) -> Any:
    """The number where a factor is that but for its digits."""
    return number if numpy.all(numpy.abs(numpy.asarray(value) - number) < _NEAR) else value


def _prelu(reading: Reading, op: Operation) -> Value:
    wire = reading.settled(op, 0)
    slope = numpy.atleast_1d(reading.per_channel(op, wire, reading.floats(op, 1)))
    layer = act.PReLU(len(slope))
    place = reading.network.add(layer, [wire.step], op, {"weight": slope}, hint_of(op))
    return Wire(place, wire.view)


def _softmax(layer: Op) -> Rule:
    def rule(reading: Reading, op: Operation) -> Value:
        wire = reading.settled(op, 0)
        old = reading.model.opset < 13
        axis = integer(op, "axis", 1 if old else -1)
        if old and axis == 1 and all(not axis for axis in wire.view[2:]):
            axis = 1  # over everything from axis 1 on, which is the channels alone
        elif old and axis not in (len(wire.view) - 1, -1):
            raise problem(op, f"over all axes from {axis} on")
        if not reading.on_axis(op, wire, axis):
            if len(wire.view) != 2 or axis not in (1, -1):
                raise problem(op, f"along axis {axis}, which is not the channels alone")
            return reading.whole(reading.network.add(layer, [reading.vector(op, 0)], op))
        return reading.same(op, layer)

    return rule


def _erf(reading: Reading, op: Operation) -> Value:
    wire = reading.scaled(op, 0, sqrt(2), 0.0)
    wire = replace(wire, scale=snapped(wire.scale, 1.0))
    if not wire.plain:
        raise problem(op, Phi.unknown)
    place = reading.network.add(Phi(), [wire.step], op)
    return Wire(place, wire.view, 2.0, -1.0)


RULES: dict[str, Rule] = {
    "Relu": _unary(lambda op: act.ReLU()),
    "LeakyRelu": _unary(lambda op: act.LeakyReLU(real(op, "alpha", 0.01))),
    "Elu": _unary(lambda op: act.ELU(real(op, "alpha", 1.0))),
    "Sigmoid": _unary(lambda op: act.Sigmoid()),
    "Tanh": _unary(lambda op: act.Tanh()),
    "HardSwish": _unary(lambda op: act.Hardswish()),
    "Gelu": _unary(_gelu),
    "HardSigmoid": _hardsigmoid,
    "Clip": _clip,
    "PRelu": _prelu,
    "Softmax": _softmax(act.Softmax()),
    "LogSoftmax": _softmax(act.LogSoftmax()),
    "Erf": _erf,
    "Dropout": _dropout,
}
