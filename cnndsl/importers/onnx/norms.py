"""Normalisations, those that ONNX has an operator for."""

from __future__ import annotations

from typing import Any

import numpy

from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.attributes import integer, only, problem, real
from cnndsl.importers.onnx.model import Operation
from cnndsl.importers.onnx.moves import Rule
from cnndsl.importers.onnx.names import hint_of
from cnndsl.importers.onnx.network import Weights
from cnndsl.importers.onnx.reading import Reading, Value, Wire, is_all
from cnndsl.ops.norm import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm
from cnndsl.ops.types import FeatureMap


def _batch_norm(reading: Reading, op: Operation) -> Value:
    if (
        integer(op, "training_mode", 0)
        or not integer(op, "spatial", 1)
        or len([name for name in op.outputs if name in reading.model.readers]) > 1
    ):
        raise problem(op, "a normalisation in training, or not per channel")
    names = ("weight", "bias", "running_mean", "running_var")
    weights: Weights = {name: reading.floats(op, k + 1).reshape(-1) for k, name in enumerate(names)}
    eps = real(op, "epsilon", 1e-5)
    wire = reading.wire(op, 0)
    if not reading.on_axis(op, wire, 1):
        raise problem(op, f"its channels are not the channels of {reading.told(wire)}")
    if eps == 0 and is_all(weights["running_mean"], 0) and is_all(weights["running_var"], 1):
        channels = [-1] + [1] * (len(wire.view) - 2)
        scale, shift = (
            reading.per_channel(op, wire, weights[name].reshape(channels)) for name in names[:2]
        )
        return reading.scaled(op, 0, scale, shift)
    wire = reading.settled(op, 0)
    momentum = round(1 - real(op, "momentum", 0.9), 6)
    layer = BatchNorm(eps, momentum) if 0 <= momentum <= 1 and eps >= 0 else None
    if layer is None:
        raise problem(op, f"epsilon={eps:g} and momentum={1 - momentum:g}")
    place = reading.network.add(layer, [wire.step], op, weights, hint_of(op))
    return Wire(place, wire.view)


def _layer_norm(reading: Reading, op: Operation) -> Value:
    wire = reading.settled(op, 0)
    only(op, "stash_type", 1)
    axis = integer(op, "axis", -1)
    if axis not in (-1, len(wire.view) - 1) or not reading.on_axis(op, wire, axis):
        raise problem(op, "it normalises over other axes than the channels")
    found = layer_norm_of(reading, op, wire.step, wire.view, real(op, "epsilon", 1e-5))
    weights = reading.network.steps[found.step].weights
    weights["weight"] = _one_each(reading, op, wire, 1)
    if reading.has(op, 2):
        weights["bias"] = _one_each(reading, op, wire, 2)
    reading.network.steps[found.step].hint = hint_of(op)
    return found


def _one_each(reading: Reading, op: Operation, wire: Wire, place: int, channels: int = 0) -> Any:
    value = reading.floats(op, place).reshape(-1)
    wanted = channels or reading.channels(wire.step)
    if value.size != wanted:
        raise problem(op, f"{value.size} factors for {wanted} channels")
    return value


def _group_norm(reading: Reading, op: Operation) -> Value:
    wire = reading.whole(reading.map(op, 0))
    channels, groups = reading.channels(wire.step), integer(op, "num_groups", 0)
    given = reading.floats(op, 1).size
    if groups < 1 or channels % groups or given not in (groups, channels):
        raise problem(op, f"{channels} channels in {groups} groups with {given} factors")
    each = [_one_each(reading, op, wire, k, given).repeat(channels // given) for k in (1, 2)]
    return _grouped(reading, op, wire, groups, each)


def _instance_norm(reading: Reading, op: Operation) -> Value:
    """Each channel for itself; of channels reshaped into groups, each group."""
    wire = reading.settled(op, 0)
    kind = reading.network.type(wire.step)
    channels = reading.channels(wire.step)
    if not isinstance(kind, FeatureMap):
        raise problem(op, "it normalises a vector")
    groups = reading.floats(op, 1).size
    whole = views.base(kind, reading.batch)
    if groups < 1:
        raise problem(op, "it has no factors")
    expected = views.reshape(whole, [0, groups, -1])
    rest = views.merged(wire.view[2:])
    if channels % groups or (*wire.view[:2], rest) != expected:
        raise problem(op, f"it normalises {reading.told(wire)}")
    each = [_one_each(reading, op, wire, k, groups).repeat(channels // groups) for k in (1, 2)]
    return _grouped(reading, op, wire, groups, each)


def _grouped(reading: Reading, op: Operation, wire: Wire, groups: int, each: list[Any]) -> Wire:
    weights = {"weight": each[0], "bias": each[1]}
    layer = GroupNorm(groups, real(op, "epsilon", 1e-5))
    place = reading.network.add(layer, [wire.step], op, weights, hint_of(op))
    return Wire(place, wire.view)


def _lrn(reading: Reading, op: Operation) -> Value:
    size = integer(op, "size", 0)
    if size < 1 or size % 2 == 0:
        raise problem(op, f"size={size}: an even window lies aside in ONNX")
    layer = LocalResponseNorm(
        size, real(op, "alpha", 1e-4), real(op, "beta", 0.75), real(op, "bias", 1.0)
    )
    return reading.layer(op, layer, [reading.map(op, 0)])


def layer_norm_of(reading: Reading, op: Operation, step: int, view: views.View, eps: float) -> Wire:
    """A layer normalisation that may yet take up a factor and a number per channel."""
    channels = reading.channels(step)
    weights = {"weight": numpy.ones(channels, "f4"), "bias": numpy.zeros(channels, "f4")}
    return Wire(reading.network.add(LayerNorm(eps), [step], op, weights), view)


RULES: dict[str, Rule] = {
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
}
