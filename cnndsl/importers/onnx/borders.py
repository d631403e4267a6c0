"""Borders and enlarging."""

from __future__ import annotations

from math import floor
from typing import Any

from cnndsl.importers.onnx import views
from cnndsl.importers.onnx.attributes import integer, integers, problem, real, reals, word
from cnndsl.importers.onnx.model import Operation
from cnndsl.importers.onnx.moves import Rule
from cnndsl.importers.onnx.reading import Reading, Value
from cnndsl.ops.reshape import Crop, Pad, PadChannels, Upsample
from cnndsl.ops.sizes import Size, times
from cnndsl.ops.types import FeatureMap, channels_of
from cnndsl.ops.values import Edges

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
_FACTOR = 64  # the largest of an enlarging: each of its steps is looked at


def _pad(reading: Reading, op: Operation) -> Value:
    step = reading.map(op, 0)
    amounts = _amounts(reading, op)
    mode = word(op, "mode", "constant")
    if mode not in _MODES:
        raise problem(op, f"mode={mode}")
    value = real(op, "value", 0.0)
    if reading.has(op, 2):
        value = reading.number(op, 2)
    (n, c, top, left), (n2, c2, bottom, right) = amounts[:4], amounts[4:]
    if n or n2:
        raise problem(op, "it adds samples to the batch")
    if c or c2:
        step = _padded_channels(reading, op, step, c, c2, mode, value)
    edges = Edges(top, bottom, left, right)
    less, more = Edges(*(max(-e, 0) for e in edges)), Edges(*(max(e, 0) for e in edges))
    if any(less):
        step = reading.network.add(Crop(less), [step], op)
    if any(more):
        given = value if _MODES[mode] == "constant" else 0.0
        step = reading.network.add(Pad(more, _MODES[mode], given), [step], op)
    return reading.whole(step)


def _amounts(reading: Reading, op: Operation) -> tuple[int, ...]:
    for name in ("pads", "paddings"):
        if name in op.attributes:
            return integers(op, name, None, 8)
    if not reading.has(op, 3):
        return reading.numbers(op, 1, 8)
    axes = views.normal(reading.numbers(op, 3), 4)
    given = reading.numbers(op, 1, 2 * len(axes))
    found = [0] * 8
    for k, axis in enumerate(axes):
        found[axis], found[axis + 4] = given[k], given[k + len(axes)]
    return tuple(found)


def _padded_channels(
    reading: Reading, op: Operation, step: int, before: int, after: int, mode: str, value: float
) -> int:
    channels = channels_of(reading.network.type(step))
    assert isinstance(channels, int)
    if mode != "constant" or value != 0 or before < 0 or after < 0:
        raise problem(op, "it adds channels of other values than zero, or takes some away")
    return reading.network.add(PadChannels(channels + before + after, before), [step], op)


def _resize(reading: Reading, op: Operation) -> Value:
    step = reading.map(op, 0)
    kind = reading.network.type(step)
    assert isinstance(kind, FeatureMap)
    factors = _factors(reading, op, kind)
    if any(not 1 <= factor <= _FACTOR or factor != int(factor) for factor in factors):
        told = f"it resizes by {factors[0]:g} and {factors[1]:g}"
        raise problem(op, f"{told}, not by whole numbers up to {_FACTOR}")
    down, right = map(int, factors)
    return reading.layer(op, Upsample((down, right), *_way(op, (down, right))), [step])


def _factors(reading: Reading, op: Operation, kind: FeatureMap) -> tuple[float, float]:
    if reading.has(op, 3):
        return _from_sizes(op, kind, reading.constant(op, 3).reshape(-1).tolist())
    if "scales" in op.attributes:
        scales = list(reals(op, "scales"))
    else:
        place = 2 if op.kind == "Resize" and len(op.inputs) > 2 else 1
        scales = reading.floats(op, place).reshape(-1).tolist()
    if len(scales) == 4 and scales[:2] == [1, 1]:
        scales = scales[2:]
    if len(scales) != 2:
        raise problem(op, "it resizes other axes than height and width")
    return scales[0], scales[1]


def _from_sizes(op: Operation, kind: FeatureMap, sizes: list[Any]) -> tuple[float, float]:
    found = []
    for size, wanted in zip((kind.height, kind.width), sizes[-2:], strict=False):
        assert isinstance(size, int | Size)
        factor = next((k for k in range(1, _FACTOR + 1) if times(size, k) == wanted), 0)
        if not factor:
            raise problem(op, f"it resizes {size} to {wanted}, which is no whole factor")
        found.append(factor)
    if len(found) != 2 or len(sizes) not in (2, 4):
        raise problem(op, "it resizes other axes than height and width")
    return found[0], found[1]


def _way(op: Operation, factors: tuple[int, int]) -> tuple[str, bool]:
    """How the language says what is read between pixels."""
    mode = word(op, "mode", "nearest")
    default = "half_pixel" if op.kind == "Resize" else "asymmetric"
    where = word(op, "coordinate_transformation_mode", default)
    if mode == "nearest":
        rounding = word(
            op, "nearest_mode", "round_prefer_floor" if op.kind == "Resize" else "floor"
        )
        if all(_repeats(where, rounding, factor) for factor in factors):
            return "nearest", False
        raise problem(op, f"nearest pixels by {where} and {rounding}")
    if mode not in ("linear", "bilinear") or integer(op, "antialias", 0):
        raise problem(op, f"mode={mode}")
    if where in ("half_pixel", "pytorch_half_pixel"):
        return "bilinear", False
    if where == "align_corners":
        return "bilinear", True
    raise problem(op, f"linear interpolation by {where}")


def _repeats(where: str, rounding: str, factor: int) -> bool:
    """Whether every pixel is just repeated: one period of the coordinates tells."""
    for i in range(2 * factor):
        if where in ("half_pixel", "pytorch_half_pixel"):
            x = (i + 0.5) / factor - 0.5
        elif where == "asymmetric":
            x = i / factor
        else:
            return False
        rounded = {
            "floor": floor(x), "ceil": -floor(-x), "round_prefer_ceil": floor(x + 0.5),
            "round_prefer_floor": -floor(-(x - 0.5)),
        }.get(rounding)  # fmt: skip
        if rounded is None or max(rounded, 0) != i // factor:
            return False
    return True


RULES: dict[str, Rule] = {"Pad": _pad, "Resize": _resize, "Upsample": _resize}
