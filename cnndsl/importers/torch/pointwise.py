"""Activations, noise, and arithmetic with numbers: the arrangement of the input stays."""

from __future__ import annotations

from typing import Any

from cnndsl.importers.torch.convert import Converter, recognises
from cnndsl.importers.torch.trace import Call
from cnndsl.importers.torch.values import Value

_SAME = ("relu", "relu6", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh")


def pointwise(c: Converter, call: Call, op: str, /, **values: Any) -> Value:
    """A step on one value, in whatever order its axes are."""
    x = c.value(call, "input" if "input" in call.arguments else "self")
    if not x.is_map_in_order:
        raise call.problem(f"takes its input as {x.form}, and no step does")
    return x.like(c.add(call, op, [x.id], **values))


@recognises(*_SAME)
def same(c: Converter, call: Call) -> Value:
    return pointwise(c, call, call.name)


@recognises("leaky_relu")
def leaky_relu(c: Converter, call: Call) -> Value:
    return pointwise(c, call, "leaky_relu", negative_slope=float(call.arguments["negative_slope"]))


@recognises("elu")
def elu(c: Converter, call: Call) -> Value:
    if (call.arguments["scale"], call.arguments["input_scale"]) != (1, 1):
        raise call.problem("has scales of its own")
    return pointwise(c, call, "elu", alpha=float(call.arguments["alpha"]))


@recognises("gelu")
def gelu(c: Converter, call: Call) -> Value:
    return pointwise(c, call, "gelu", approximate=call.arguments["approximate"])


@recognises("hardtanh", "clamp")
def clamp(c: Converter, call: Call) -> Value:
    names = ("min_val", "max_val") if call.name == "hardtanh" else ("min", "max")
    bounds = tuple(call.arguments.get(name) for name in names)
    if bounds == (0, 6):
        return pointwise(c, call, "relu6")
    if bounds == (0, None):
        return pointwise(c, call, "relu")
    raise call.problem(f"between {bounds[0]} and {bounds[1]} has no counterpart in the language")


@recognises("clamp_min")
def clamp_min(c: Converter, call: Call) -> Value:
    if call.arguments["min"] != 0:
        raise call.problem("has another bound than 0")
    return pointwise(c, call, "relu")


@recognises("softmax", "log_softmax")
def softmax(c: Converter, call: Call) -> Value:
    axis = call.arguments["dim"] % len(call.shapes[0])
    if axis != c.value(call).channel_axis:
        raise call.problem("runs along another axis than the channels")
    return pointwise(c, call, call.name)


@recognises("dropout", "feature_dropout")
def dropout(c: Converter, call: Call) -> Value:
    """One that never drops is nothing."""
    p = float(call.arguments["p"])
    if p == 0:
        return c.value(call, "input")
    return pointwise(c, call, "dropout2d" if call.name == "feature_dropout" else "dropout", p=p)


def scaled(c: Converter, call: Call, x: Value, factor: float) -> Value:
    """The value times a number."""
    if not x.is_map_in_order:
        raise call.problem(f"takes its input as {x.form}, and no step does")
    return x if factor == 1 else x.like(c.add(call, "scale", [x.id], by=factor))


@recognises("neg")
def neg(c: Converter, call: Call) -> Value:
    return scaled(c, call, c.value(call), -1.0)
