"""Strides, paddings, roundings, factors, crops: where the two sides of a join differ in size.

Each is tried on paper first: the steps of a side are replayed with the change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cnndsl.diagnostics import Fix
from cnndsl.graph.model import Node
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.sizes import Size, SizeTooComplex, plus
from cnndsl.ops.types import FeatureMap, Type, Unknown
from cnndsl.ops.values import spell
from cnndsl.repair.places import after
from cnndsl.repair.site import Guess, Site
from cnndsl.semantics.joins import Side

MOST_PADDING = 8
_MOST_SHIFT = 64
_FACTORS = (2, 3, 4, 6, 8, 16)
Stride = tuple[int, int]


def mend_windows(site: Site) -> Iterator[Guess]:
    """Changes of single steps after which heights and widths agree."""
    for side, other in site.pairs:
        for step in side.steps:
            if step.span is not None and "stride" in step.op.params:
                yield from _strides(site, side, other, step)
                yield from _paddings(site, side, other, step)
        yield from _factors(site, side, other)
        yield from _shifts(site, side, other)
        yield from _grid(site, side, other)


def stride_of(op: Op) -> Stride | None:
    stride = op.values.get("stride")
    return (stride[0], stride[1]) if isinstance(stride, tuple) and len(stride) == 2 else None


def _strides(site: Site, side: Side, other: Side, step: Node) -> Iterator[Guess]:
    found = {stride_of(s.op) for s in (*other.steps, *side.steps)} | {(1, 1)}
    for stride in sorted(s for s in found if s is not None and s != stride_of(step.op)):
        if _fits(side, other, step, stride=stride):
            value = _stride_text(site, other, stride)
            yield from site.set(2 if stride == (1, 1) else 0, step, "stride", value)


def _stride_text(site: Site, other: Side, stride: Stride) -> str:
    for step in other.steps:
        if stride != (1, 1) and stride_of(step.op) == stride:
            return site.written(step, "stride") or spell(stride)
    return spell(stride)


def _paddings(site: Site, side: Side, other: Side, step: Node) -> Iterator[Guess]:
    params, values = step.op.params, step.op.values
    if "padding" in params and step.op.name != "conv_transpose":
        for padding in range(MOST_PADDING + 1):
            if _fits(side, other, step, padding=(padding,) * 4):
                yield from site.set(1, step, "padding", str(padding))
    if "ceil" in params and _fits(side, other, step, ceil=not values["ceil"]):
        yield from site.set(0, step, "ceil", spell(not values["ceil"]))
    if "output_padding" in params and _fits(side, other, step, output_padding=(1, 1)):
        yield from site.set(1, step, "output_padding", "1")


def _factors(site: Site, side: Side, other: Side) -> Iterator[Guess]:
    """Another factor of an upsampling, or one more of them."""
    for step in side.steps:
        for factor in _FACTORS if step.op.name == "upsample" else ():
            if _fits(side, other, step, scale=(factor, factor)):
                yield from site.set(0, step, "scale", str(factor))
    path = site.places.path(side.span)
    if path and any(step.op.name in ("upsample", "conv_transpose") for step in side.steps):
        yield Guess(3, Fix("upsample once more", after(path, "upsample(2)")))


def _shifts(site: Site, side: Side, other: Side) -> Iterator[Guess]:
    """A constant difference is cropped from the larger side, or padded on the smaller."""
    x, y = side.type, other.type
    path = site.places.path(side.span)
    if not (isinstance(x, FeatureMap) and isinstance(y, FeatureMap) and path):
        return
    rows, columns = _difference(x.height, y.height), _difference(x.width, y.width)
    if rows is None or columns is None or rows * columns < 0:
        return
    name = "crop" if rows + columns > 0 else "pad"
    steps = f"{name}({_edges(abs(rows), abs(columns))})"
    yield Guess(3, Fix(f"{name} this side", after(path, steps)))


def _grid(site: Site, side: Side, other: Side) -> Iterator[Guess]:
    """The other side is pooled to a grid of fixed size: this one too."""
    path = site.places.path(side.span)
    for step in other.steps:
        if step.op.name.startswith("adaptive_") and path:
            yield Guess(3, Fix("pool this side too", after(path, step.op.text())))


def _fits(side: Side, other: Side, step: Node, **values: Any) -> bool:
    """Whether the two sides agree after this change of one step."""
    found = replayed(side.start.type if side.start else None, side.steps, step, **values)
    wanted = other.type
    if not isinstance(found, FeatureMap) or not isinstance(wanted, FeatureMap):
        return False
    return _near(found.height, wanted.height) and _near(found.width, wanted.width)


def replayed(start: Type | None, steps: Iterable[Node], step: Node, **values: Any) -> Type | None:
    """What comes of the steps when one of them has other values; None where nothing does."""
    type: Any = start
    try:
        changed = step.op.replace(**values)
        for node in steps:
            if type is None:
                type = node.type
            elif node.op.join:
                type = _sized(node.type, type)
            else:
                type = (changed if node is step else node.op).infer(type)
    except (RuleError, SizeTooComplex, ValueError, TypeError):
        return None
    found: Type | None = type
    return found


def _sized(like: object, sizes: object) -> object:
    """A join on the way keeps the sizes and sets the channels."""
    if isinstance(like, FeatureMap) and isinstance(sizes, FeatureMap):
        return FeatureMap(like.channels, sizes.height, sizes.width)
    return like


def _near(a: Any, b: Any) -> bool:
    """Equal, or equal for the sizes that an upsampling leaves valid."""
    if a == b:
        return True
    extended = any(isinstance(x, Size) and x.is_extended for x in (a, b))
    return extended and isinstance(a, Size) and isinstance(b, Size) and a.stride == b.stride


def _difference(a: Any, b: Any) -> int | None:
    """``a - b`` where that is one number for every input."""
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    if isinstance(a, Size) and isinstance(b, Size):
        shifts = range(-_MOST_SHIFT, _MOST_SHIFT + 1)
        return next((by for by in shifts if a == plus(b, by)), None)
    return None


def _edges(rows: int, columns: int) -> str:
    top, left = rows // 2, columns // 2
    if rows == columns and rows % 2 == 0:
        return str(top)
    return f"({top}, {rows - top}, {left}, {columns - left})"
