"""Where several values become one."""

from __future__ import annotations

from typing import Any

from cnndsl.importers.torch.convert import Converter, recognises
from cnndsl.importers.torch.pointwise import scaled
from cnndsl.importers.torch.trace import Call, shape_of
from cnndsl.importers.torch.values import PERMUTED, PLAIN, STACKED, Value, Weight

_CONSTANT = "of a number or a weight has no counterpart in the language"


def joined(c: Converter, call: Call, op: str, values: list[Any]) -> Value:
    """A join of values in one arrangement."""
    if not all(isinstance(v, Value) for v in values):
        raise call.problem("takes an operand that is not computed from the input")
    first: Value = values[0]
    if any((v.form, v.detail) != (first.form, first.detail) for v in values):
        raise call.problem("takes operands whose axes are in different orders")
    if not first.is_map_in_order:
        raise call.problem(f"takes operands as {first.form}, and no step does")
    return first.like(c.add(call, op, [v.id for v in values]))


def _operands(c: Converter, call: Call) -> tuple[Any, Any]:
    return c.look(call.arguments["self"]), c.look(call.arguments["other"])


@recognises("add")
def add(c: Converter, call: Call) -> Value:
    left, right = _operands(c, call)
    if isinstance(right, Value) and call.arguments.get("alpha", 1) != 1:
        right = scaled(c, call, right, float(call.arguments["alpha"]))
    if not isinstance(left, Value) or not isinstance(right, Value):
        raise call.problem(_CONSTANT)
    return joined(c, call, "add", [left, right])


@recognises("sub")
def sub(c: Converter, call: Call) -> Value:
    left, right = _operands(c, call)
    if not isinstance(left, Value) or not isinstance(right, Value):
        raise call.problem(_CONSTANT)
    factor = -float(call.arguments.get("alpha", 1))
    return joined(c, call, "add", [left, scaled(c, call, right, factor)])


@recognises("mul")
def mul(c: Converter, call: Call) -> Value:
    left, right = _operands(c, call)
    if isinstance(left, int | float | Weight):
        left, right = right, left
    if isinstance(right, int | float) and isinstance(left, Value):
        return scaled(c, call, left, float(right))
    if isinstance(right, Weight) and isinstance(left, Value):
        return _learned(c, call, left, right)
    if isinstance(left, Value) and isinstance(right, Value):
        # the gate stands behind what it opens and closes
        left, right = sorted((left, right), key=lambda v: -c.elements[v.id])
    return joined(c, call, "mul", [left, right])


def _learned(c: Converter, call: Call, x: Value, weight: Weight) -> Value:
    """A learned factor per channel, at the path of its own key."""
    rank = len(call.shapes[0])
    channels = call.shapes[0][x.channel_axis]
    wanted = (channels,) if rank == 2 else (channels, 1, 1)
    if x.form not in (PLAIN, PERMUTED) or weight.shape != wanted:
        shapes = f"{list(weight.shape)}, and the language's `scale` has {list(wanted)}"
        raise call.problem(f"has a learned factor `{weight.key}` of shape {shapes}")
    return x.like(c.add(call, "scale", [x.id], weight.key))


@recognises("div")
def div(c: Converter, call: Call) -> Value:
    left, right = _operands(c, call)
    if not isinstance(right, int | float) or not isinstance(left, Value) or right == 0:
        raise call.problem("of two tensors has no counterpart in the language")
    if left.form == STACKED:
        raise call.problem("of a stack has no counterpart in the language")
    return scaled(c, call, left, 1 / float(right))


@recognises("maximum")
def maximum(c: Converter, call: Call) -> Value:
    return joined(c, call, "max", list(_operands(c, call)))


@recognises("cat")
def cat(c: Converter, call: Call) -> Value:
    nodes = call.arguments["tensors"]
    values = [c.look(node) for node in nodes]
    if not values or not isinstance(values[0], Value):
        raise call.problem("takes an operand that is not computed from the input")
    axis = call.arguments["dim"] % len(shape_of(nodes[0]))
    if axis != values[0].channel_axis:
        raise call.problem("runs along another axis than the channels")
    return values[0] if len(values) == 1 else joined(c, call, "concat", values)


@recognises("stack")
def stack(c: Converter, call: Call) -> Value:
    """Only what a mean, sum or maximum over all of it takes."""
    values = [c.look(node) for node in call.arguments["tensors"]]
    if call.arguments["dim"] != 0 or any(getattr(v, "form", "") != PLAIN for v in values):
        raise call.problem("makes a tensor of five axes")
    return Value(values[0].id, STACKED, tuple(v.id for v in values))
