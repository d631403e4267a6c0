"""Moving values about: views are followed; what is cut, padded or enlarged is a step."""

from __future__ import annotations

from math import prod
from typing import Any

from cnndsl.importers.torch.convert import Converter, recognises
from cnndsl.importers.torch.layers import plain
from cnndsl.importers.torch.trace import Call, Shape, shape_of
from cnndsl.importers.torch.values import (
    GROUPED,
    PERMUTED,
    PLAIN,
    ROWS,
    SHUFFLED,
    SQUEEZED,
    STACKED,
    Value,
)
from cnndsl.ops import catalogue
from cnndsl.ops.values import Edges

Both = tuple[Shape, Shape]
_LETTERS = "nchw"


def _before(call: Call) -> Both:
    """The shape of what comes in, in both recordings."""
    one, two = (n.all_input_nodes[0] for n in (call.node, call.twin))
    return shape_of(one), shape_of(two)


@recognises("view", "reshape", "flatten", "squeeze", "unsqueeze", "_unsafe_view", "unflatten")
def reshape(c: Converter, call: Call) -> Value:
    """By the shapes before and after, in both recordings alike."""
    x, before, after = c.value(call), _before(call), call.shapes
    if before == after:
        return x
    known = _RESHAPES.get(x.form)
    found = known(c, call, x, before, after) if known else None
    if found is None:
        raise call.problem(f"of {list(before[0])} to {list(after[0])} has no counterpart")
    return found


def _always(before: Both, after: Both, rule: Any) -> bool:
    return all(b == tuple(rule(*a)) for a, b in zip(before, after, strict=True))


def _from_plain(c: Converter, call: Call, x: Value, before: Both, after: Both) -> Value | None:
    rank = len(before[0])
    if rank == 2 and _always(before, after, lambda n, f: (n, f, 1, 1)):
        return c.unflatten(call, x)
    if rank != 4:
        return None
    if _always(before, after, lambda n, ch, h, w: (n, ch * h * w)):
        return flattened(c, call, x, before)
    if _always(before, after, lambda n, ch, h, w: (n, ch, h * w)):
        return Value(x.id, ROWS)
    groups = after[0][1]
    if _always(before, after, lambda n, ch, h, w: (n, groups, ch // groups, h, w)):
        return Value(x.id, GROUPED, groups)
    return None


def flattened(c: Converter, call: Call, x: Value, before: Both, order: str = "chw") -> Value:
    """A step, or a gate seen as a vector where it becomes a map again."""
    if call.node.name in c.gates and before[0][2:] == before[1][2:] == (1, 1):
        return Value(x.id, SQUEEZED)
    return Value(c.add(call, "flatten", [x.id], order=order))


def _from_permuted(c: Converter, call: Call, x: Value, before: Both, after: Both) -> Value | None:
    if x.detail[0] != 0 or not _always(before, after, lambda n, *rest: (n, prod(rest))):
        return None
    order = "".join(_LETTERS[axis] for axis in x.detail[1:])
    return Value(c.add(call, "flatten", [x.id], order=order))


def _from_rows(c: Converter, call: Call, x: Value, before: Both, after: Both) -> Value | None:
    if before[0][2] == before[1][2] == 1 and _always(before, after, lambda n, ch, s: (n, ch)):
        return flattened(c, call, x, ((0, 0, 1, 1), (0, 0, 1, 1)))
    if before[0][2] == before[1][2] == 1 and _always(before, after, lambda n, ch, s: (n, ch, 1, 1)):
        return Value(x.id)
    return None


def _from_grouped(c: Converter, call: Call, x: Value, before: Both, after: Both) -> Value | None:
    if not _always(before, after, lambda n, g, ch, h, w: (n, g * ch, h, w)):
        return None
    if x.form == GROUPED:
        return Value(x.id)
    return Value(c.add(call, "channel_shuffle", [x.id], groups=x.detail))


def _from_squeezed(c: Converter, call: Call, x: Value, before: Both, after: Both) -> Value | None:
    return Value(x.id) if _always(before, after, lambda n, ch: (n, ch, 1, 1)) else None


_RESHAPES = {
    PLAIN: _from_plain, PERMUTED: _from_permuted, ROWS: _from_rows, GROUPED: _from_grouped,
    SHUFFLED: _from_grouped, SQUEEZED: _from_squeezed,
}  # fmt: skip


@recognises("permute", "transpose", "movedim")
def permute(c: Converter, call: Call) -> Value:
    x, rank = c.value(call), len(call.shapes[0])
    order = _order(call, rank)
    if x.form in (GROUPED, SHUFFLED) and order == (0, 2, 1, 3, 4):
        return Value(x.id, SHUFFLED if x.form == GROUPED else GROUPED, x.detail)
    if rank != 4 or x.form not in (PLAIN, PERMUTED):
        raise call.problem(f"of a value that is {x.form} has no counterpart")
    known = x.detail if x.form == PERMUTED else (0, 1, 2, 3)
    composed = tuple(known[axis] for axis in order)
    return Value(x.id) if composed == (0, 1, 2, 3) else Value(x.id, PERMUTED, composed)


def _order(call: Call, rank: int) -> tuple[int, ...]:
    if call.name == "permute":
        return tuple(axis % rank for axis in call.arguments["dims"])
    if call.name == "movedim":
        raise call.problem("has no counterpart in the language")
    order = list(range(rank))
    a, b = call.arguments["dim0"] % rank, call.arguments["dim1"] % rank
    order[a], order[b] = order[b], order[a]
    return tuple(order)


@recognises("mean", "amax", "sum")
def reduced(c: Converter, call: Call) -> Value:
    """Over height and width: a global pool; over a stack: a join."""
    x, rank = c.value(call), len(_before(call)[0])
    dims = call.arguments.get("dim")
    axes = {d % rank for d in ([dims] if isinstance(dims, int) else dims or [])}
    if x.form == STACKED and axes == {0}:
        op = {"mean": "mean", "amax": "max", "sum": "add"}[call.name]
        return Value(c.add(call, op, x.detail))
    if call.name == "sum":
        raise call.problem("has no counterpart in the language")
    op = "gap" if call.name == "mean" else "gmp"
    spatial = {PLAIN: {2, 3}, ROWS: {2}}.get(x.form, set())
    if x.form == PERMUTED:
        spatial = {x.detail.index(2), x.detail.index(3)}
    if axes != spatial or (rank == 2 and x.form == PLAIN):
        raise call.problem("over other axes than height and width has no counterpart")
    pooled = c.add(call, op, [x.id])
    if not call.arguments["keepdim"]:
        return flattened(c, call, Value(pooled), ((0, 0, 1, 1), (0, 0, 1, 1)))
    return Value(pooled, ROWS) if x.form == ROWS else x.like(pooled)


# --- cutting and padding ------------------------------------------------------------------------


@recognises("chunk", "split", "split_with_sizes", "tensor_split")
def split(c: Converter, call: Call) -> list[Value]:
    """Slices of the channels, of which those that are read are steps."""
    x, axis = c.value(call), call.arguments["dim"]
    shapes = [tuple(piece.shape) for piece in call.node.meta["val"]]
    if not x.is_map_in_order or axis % len(shapes[0]) != x.channel_axis:
        raise call.problem("cuts along another axis than the channels")
    sizes = [shape[x.channel_axis] for shape in shapes]
    read = {user.args[1] for user in call.node.users}
    whole = len(set(sizes)) == 1 and read == set(range(len(sizes)))
    found, start, first = [], 0, c.next_id
    for index, size in enumerate(sizes):
        id = x.id
        if index in read:
            op = catalogue()["slice"](start, start + size)
            id = c.put(call, op, [x.id], "", (first, index) if whole else None)
        found.append(x.like(id))
        start += size
    return found


@recognises("getitem")
def getitem(c: Converter, call: Call) -> Any:
    pieces, index = c.look(call.arguments["a"]), call.arguments["b"]
    if not isinstance(pieces, list) or not isinstance(index, int) or index >= len(pieces):
        raise call.problem("has no counterpart in the language")
    return pieces[index]


@recognises("slice", "narrow")
def slice_(c: Converter, call: Call) -> Value:
    """Of channels; of rows and columns where as many are cut off whatever the size."""
    x, before, after = c.value(call), _before(call), call.shapes
    if before == after:
        return x
    if call.arguments.get("step", 1) != 1 or not x.is_map_in_order:
        raise call.problem("takes every other value, or a view")
    axis = call.arguments["dim"] % len(after[0])
    given = (call.arguments, call.others)
    starts = [_start(a, b[axis]) for a, b in zip(given, before, strict=True)]
    cut = [(s, b[axis] - a[axis] - s) for s, b, a in zip(starts, before, after, strict=True)]
    if axis == x.channel_axis:
        stop = starts[0] + after[0][axis]
        return x.like(c.add(call, "slice", [x.id], start=starts[0], stop=stop))
    if x.form != PLAIN or axis < 2 or cut[0] != cut[1]:
        raise call.problem("cuts off as much as depends on the size of the input")
    amount = Edges(*cut[0], 0, 0) if axis == 2 else Edges(0, 0, *cut[0])
    return Value(c.add(call, "crop", [x.id], amount=amount))


def _start(arguments: dict[str, Any], size: int) -> int:
    start = arguments.get("start") or 0
    return max(0, start + size) if start < 0 else min(start, size)


@recognises("pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d")
def pad(c: Converter, call: Call) -> Value:
    """Zeros or mirror images around a map, rows cut off, or channels of zeros added."""
    x = plain(c, call, rank=4)
    amounts = list(c.fixed(call, "pad" if "pad" in call.arguments else "padding"))
    mode = call.arguments.get("mode", call.name.partition("_")[0])
    value = float(call.arguments.get("value") or 0)
    left, right, top, bottom, front, back = [*amounts, *[0] * (6 - len(amounts))][:6]
    deep, wide = front or back, any((left, right, top, bottom, value))
    if len(amounts) > 6 or (deep and wide):
        raise call.problem("adds channels and more")
    if deep:
        channels = call.shapes[0][1]
        return Value(c.add(call, "pad_channels", [x.id], out=channels, before=front))
    edges = Edges(top, bottom, left, right)
    if max(edges) <= 0:
        return Value(c.add(call, "crop", [x.id], amount=Edges(*(-e for e in edges))))
    modes = {"reflection": "reflect", "replication": "replicate"}
    id = c.add(call, "pad", [x.id], amount=edges, mode=modes.get(mode, mode), value=value)
    return Value(id)


# --- to another size ----------------------------------------------------------------------------


@recognises("upsample_nearest2d", "upsample_bilinear2d")
def upsample(c: Converter, call: Call) -> Value:
    """By whole factors, the same in both recordings."""
    x = plain(c, call, "input" if "input" in call.arguments else "self", 4)
    factors = {(a[2] / b[2], a[3] / b[3]) for a, b in zip(call.shapes, _before(call), strict=True)}
    if len(factors) != 1 or any(f != int(f) for f in next(iter(factors))):
        raise call.problem("has no whole factor, or one that depends on the size of the input")
    scale = tuple(map(int, factors.pop()))
    mode = "nearest" if "nearest" in call.name else "bilinear"
    corners = bool(call.arguments.get("align_corners"))
    return Value(c.add(call, "upsample", [x.id], scale=scale, mode=mode, align_corners=corners))


@recognises("pixel_shuffle")
def pixel_shuffle(c: Converter, call: Call) -> Value:
    x = plain(c, call, rank=4)
    return Value(c.add(call, "pixel_shuffle", [x.id], factor=call.arguments["upscale_factor"]))


@recognises("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(c: Converter, call: Call) -> Value:
    x = plain(c, call, rank=4)
    return Value(c.add(call, "channel_shuffle", [x.id], groups=call.arguments["groups"]))
