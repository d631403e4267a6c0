"""Arithmetic.

Factors and numbers that are added stay open on a wire (``Wire.scale``, ``Wire.shift``) until a
layer reads it. So ``x * clip(x + 3, 0, 6) / 6`` closes to one hardswish, and a normalisation
takes up what Mul and Add do behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy

from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.activations import snapped
from cnndsl.importers.onnx.attributes import integer, only, problem
from cnndsl.importers.onnx.model import Operation, short
from cnndsl.importers.onnx.moves import Rule
from cnndsl.importers.onnx.network import Centred, ChannelMean, Phi, Squared, Variance
from cnndsl.importers.onnx.norms import layer_norm_of
from cnndsl.importers.onnx.reading import Constant, Reading, Value, Wire, is_all
from cnndsl.importers.onnx.windows import gap, reduced_axes
from cnndsl.ops import activation as act
from cnndsl.ops.base import Op
from cnndsl.ops.merge import Add, Join, Joining, Max, Mean, Mul
from cnndsl.ops.types import FeatureMap


def _with_constant(
    combine: Callable[[Any], tuple[Any, Any]],
) -> Callable[[Reading, Operation, int], Value]:
    """The wire at a place times a factor plus a number, which ``combine`` makes of the constant."""

    def rule(reading: Reading, op: Operation, place: int) -> Value:
        wire = reading.wire(op, place)
        value = _aligned(reading, op, wire, reading.constant(op, 1 - place))
        with numpy.errstate(all="ignore"):
            scale, shift = combine(reading.per_channel(op, wire, value))
        if not (numpy.isfinite(scale).all() and numpy.isfinite(shift).all()):
            raise problem(op, "its constant is not finite")
        return reading.scaled(op, place, scale, shift)

    return rule


def _aligned(reading: Reading, op: Operation, wire: Wire, value: Any) -> Any:
    """A constant with axes at the end, as operator sets before 7 say in attributes."""
    axis = integer(op, "axis", -1)
    if not integer(op, "broadcast", 0) or axis < 0 or value.size == 1:
        return value
    rest = len(wire.view) - axis - value.ndim
    if rest < 0:
        raise problem(op, f"axis={axis} for a constant of {value.ndim} axes")
    return value.reshape(value.shape + (1,) * rest)


def _binary(
    first: Callable[[Reading, Operation, int], Value],
    second: Callable[[Reading, Operation, int], Value],
    both: Callable[[Reading, Operation], Value],
) -> Rule:
    """``first``: the constant comes second; ``second``: it comes first; ``both`` are computed."""

    def rule(reading: Reading, op: Operation) -> Value:
        if len(op.inputs) != 2:
            raise ImportProblem(f"{op} has {len(op.inputs)} inputs, not 2")
        left, right = (isinstance(reading.value(name), Constant) for name in op.inputs)
        if left or right:
            return second(reading, op, 1) if left else first(reading, op, 0)
        return both(reading, op)

    return rule


def _sum(reading: Reading, op: Operation) -> Value:
    return _joined(reading, op, Add())


def _product(reading: Reading, op: Operation) -> Value:
    left, right = reading.wire(op, 0), reading.wire(op, 1)
    if all(numpy.size(w.scale) == 1 and is_all(w.shift, 0) for w in (left, right)):
        found = _gated(reading, op, left, right) or _gated(reading, op, right, left)
        if found is not None:
            return replace(found, scale=snapped(left.scale * right.scale, 1.0))
    return _joined(reading, op, Mul())


_GATES: dict[type[Op], Op] = {
    act.Sigmoid: act.SiLU(), act.Hardsigmoid: act.Hardswish(), Phi: act.GELU(),
}  # fmt: skip


def _gated(reading: Reading, op: Operation, x: Wire, gate: Wire) -> Wire | None:
    """x times a function of the same x, as one activation."""
    producer = reading.network.steps[gate.step]
    layer = _GATES.get(type(producer.op))
    if layer is None or producer.inputs != (x.step,) or gate.view != x.view:
        return None
    return Wire(reading.network.add(layer, [x.step], op), x.view)


def _joined(reading: Reading, op: Operation, layer: Joining) -> Value:
    """A join of all inputs; one of joins that nobody else reads is spliced, as `a + b + c`."""
    wires = [reading.settled(op, k) for k in range(len(op.inputs))]
    kinds = {type(reading.network.type(wire.step)) for wire in wires}
    if len({wire.view for wire in wires}) > 1 or len(kinds) > 1:
        ask = reading.map if len(wires[0].view) == 4 else reading.vector
        wires = [reading.whole(ask(op, k)) for k in range(len(wires))]
    if len(wires) == 1:
        return wires[0]
    steps = [wire.step for wire in wires]
    first = reading.network.steps[steps[0]]
    sole = wires[0].own and reading.model.readers[op.inputs[0]] == 1
    if sole and first.op == layer and layer.name in ("add", "mul"):
        steps[:1] = first.inputs
    if layer.name == "mul":
        steps.sort(key=lambda step: _is_gate(reading, step))  # what is gated comes first
    place = reading.network.add(layer, steps, op)
    old, new = reading.network.type(wires[0].step), reading.network.type(place)
    return Wire(place, views.onto(wires[0].view, old, new))


def _is_gate(reading: Reading, step: int) -> bool:
    kind = reading.network.type(step)
    return isinstance(kind, FeatureMap) and (kind.height, kind.width) == (1, 1)


def _difference(reading: Reading, op: Operation) -> Value:
    left, right = reading.wire(op, 0), reading.wire(op, 1)
    producer = reading.network.steps[right.step]
    is_mean = isinstance(producer.op, ChannelMean) and producer.inputs == (left.step,)
    if is_mean and left.plain and right.plain:
        return Wire(reading.network.add(Centred(), [left.step], op), left.view)
    minus = replace(right, scale=-right.scale, shift=-right.shift, own=False, learned=None)
    name = op.inputs[1]
    reading.values[f"-{name}"] = reading.settle(minus, op)
    turned = replace(op, inputs=(op.inputs[0], f"-{name}"))
    return _joined(reading, turned, Add())


def _quotient(reading: Reading, op: Operation) -> Value:
    """By a deviation: the end of a layer normalisation."""
    left, right = reading.wire(op, 0), reading.wire(op, 1)
    above, below = (reading.network.steps[w.step] for w in (left, right))
    if isinstance(above.op, Centred) and isinstance(below.op, Variance) and left.plain:
        eps = reading.deviations.get(op.inputs[1])
        if eps is not None and below.inputs == above.inputs:
            return layer_norm_of(reading, op, above.inputs[0], left.view, eps)
    raise problem(op, "a quotient of two computed values")


def _power(reading: Reading, op: Operation) -> Value:
    value = reading.floats(op, 1)
    exponent = float(value.reshape(-1)[0]) if value.size == 1 else 0.0
    if exponent == 0.5:
        return _sqrt(reading, op)
    wire = reading.settled(op, 0)
    if exponent != 2:
        raise problem(op, "a power other than the square")
    source = reading.network.steps[wire.step]
    if isinstance(source.op, Centred):
        return Wire(reading.network.add(Squared(), [wire.step], op), wire.view)
    return Wire(reading.network.add(Mul(), [wire.step, wire.step], op), wire.view)


def _sqrt(reading: Reading, op: Operation) -> Value:
    wire = reading.wire(op, 0)
    is_variance = isinstance(reading.network.steps[wire.step].op, Variance)
    one = is_all(wire.scale, 1) and numpy.size(wire.shift) == 1
    if is_variance and one and float(wire.shift) >= 0:
        reading.deviations[op.outputs[0]] = short(float(wire.shift))
        return replace(wire, shift=0.0)
    raise problem(op, "a root other than in a layer normalisation")


def _mean(reading: Reading, op: Operation) -> Value:
    """Over the channels: a part of a layer normalisation. Over height and width: gap."""
    wire = reading.wire(op, 0)
    places = reduced_axes(reading, op, wire)
    kind = reading.network.type(wire.step)
    if len(places) != 1 or views.channel_axis(wire.view, kind) != places[0]:
        return gap(reading, op)
    only(op, "keepdims", 1)
    wire = reading.settled(op, 0)
    source = reading.network.steps[wire.step]
    view = tuple(() if k == places[0] else axis for k, axis in enumerate(wire.view))
    if isinstance(source.op, Squared):
        centred = reading.network.steps[source.inputs[0]]
        return Wire(reading.network.add(Variance(), centred.inputs, op), view)
    return Wire(reading.network.add(ChannelMean(), [wire.step], op), view)


def _many(layer: Joining) -> Rule:
    """A join of any number of inputs; constants among them are joined one by one."""

    def rule(reading: Reading, op: Operation) -> Value:
        constants = [isinstance(reading.value(name), Constant) for name in op.inputs]
        if not any(constants):
            return _joined(reading, op, layer)
        if len(op.inputs) == 2 and layer.name == "add":
            return _plus(reading, op, constants.index(False))
        if len(op.inputs) == 2 and layer.name == "max" and is_all(reading.constant(op, 1), 0):
            return reading.same(op, act.ReLU())
        raise problem(op, "it joins a constant with what is computed")

    return rule


def _average(reading: Reading, op: Operation) -> Value | list[Value]:
    """A mean that is called `join` is FractalNet's: columns that meet in it may meet one by one,
    as its blocks have it, which no other mean may."""
    return _many(Join() if re.split(r"[./]", op.name)[-1] == "join" else Mean())(reading, op)


_plus = _with_constant(lambda c: (1.0, c))
_times = _with_constant(lambda c: (c, 0.0))


def _refused(op: Operation) -> Value:
    raise problem(op, "a constant divided by what is computed")


RULES: dict[str, Rule] = {
    "Add": _binary(_plus, _plus, _sum),
    "Mul": _binary(_times, _times, _product),
    "Sub": _binary(
        _with_constant(lambda c: (1.0, -c)), _with_constant(lambda c: (-1.0, c)), _difference
    ),
    "Div": _binary(
        _with_constant(lambda c: (1 / numpy.asarray(c), 0.0)),
        lambda reading, op, place: _refused(op),
        _quotient,
    ),
    "Neg": lambda reading, op: reading.scaled(op, 0, -1.0, 0.0),
    "Pow": _power,
    "Sqrt": _sqrt,
    "Sum": _many(Add()),
    "Max": _many(Max()),
    "Mean": _average,
    "ReduceMean": _mean,
}
