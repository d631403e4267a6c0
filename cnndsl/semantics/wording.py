"""Sizes and how they change, in a reader's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from cnndsl.graph.facts import Facts
from cnndsl.graph.model import Node
from cnndsl.ops.congruence import Agreement
from cnndsl.ops.sizes import Size, at, plus
from cnndsl.ops.types import FeatureMap, Type, Vector

_TRIED = 256  # sizes above the usual one that are tried for an example


class Change(NamedTuple):
    """A step that changes the size of an axis; ``before`` is None where the path starts."""

    node: Node
    axis: str
    before: Any
    after: Any

    @property
    def formula(self) -> str:
        """The arithmetic with its numbers; "" for axes without."""
        if self.axis not in ("height", "width") or self.before is None:
            return ""
        square = FeatureMap(1, self.before, self.before)
        return self.node.op.formula(square, int(self.axis == "width"))


class Differing(Protocol):
    """Two sizes of one axis."""

    @property
    def axis(self) -> str: ...
    @property
    def left(self) -> Any: ...
    @property
    def right(self) -> Any: ...


def sizes_in_words(type: Type, axes: Sequence[str]) -> str:
    """``channels 512, height floor((H+7)/8)``; a width that is like the height is left out."""
    if isinstance(type, Vector):
        return f"features {type.features}"
    if not isinstance(type, FeatureMap):
        return str(type)
    shown = [a for a in axes if a != "width" or "height" not in axes]
    if "width" in axes and "height" in axes and not _alike(type.height, type.width):
        shown.append("width")
    return ", ".join(f"{axis} {getattr(type, axis)}" for axis in shown)


def change_in_words(changes: Sequence[Change]) -> str:
    """``height and width halve``, ``channels become 128``."""
    groups: dict[str, list[str]] = {}
    for change in changes:
        groups.setdefault(_verb(change), []).append(change.axis)
    said = []
    for verb, axes in groups.items():
        many = len(axes) > 1 or axes[0] in ("channels", "features")
        said.append(f"{' and '.join(axes)} {_conjugated(verb, many)}")
    return ", ".join(said)


def numbers_at(
    axes: Sequence[str], left: Any, right: Any, agreement: Agreement | None, facts: Facts
) -> str:
    """``height and width at H=224: 28 vs 56``."""
    name = " and ".join(axes)
    if agreement is None or (isinstance(left, int) and isinstance(right, int)):
        return f"{name}: {left} vs {right}"
    where = _example(left, right, agreement, facts)
    place = ", ".join(f"{k}={v}" for k, v in where.items())
    return f"{name} at {place}: {at(left, where)} vs {at(right, where)}"


def same_in_both(a: Differing, b: Differing) -> bool:
    """Whether two axes tell one story, so that one of them is enough."""
    if (a.axis, b.axis) != ("height", "width"):
        return False
    return _alike(a.left, b.left) and _alike(a.right, b.right)


def _example(left: Any, right: Any, agreement: Agreement, facts: Facts) -> dict[str, int]:
    """The usual size or one soon above it where both differ, else the least one."""
    symbols = {x.symbol for x in (left, right) if isinstance(x, Size)}
    if len(symbols) == 1:
        (symbol,) = symbols
        allowed = facts.allowed(symbol)
        value = 224
        for _ in range(_TRIED):
            value = allowed.next(value)
            if at(left, {symbol: value}) != at(right, {symbol: value}):
                return {symbol: value}
            value += 1
    return dict(agreement.witness or {})


def _alike(height: Any, width: Any) -> bool:
    if isinstance(height, Size) and isinstance(width, Size):
        fields = ("scale", "offset", "divisor", "constant", "table")
        return all(getattr(height, f) == getattr(width, f) for f in fields)
    return bool(height == width)


def _conjugated(verb: str, many: bool) -> str:
    first, _, rest = verb.partition(" ")
    if many:
        first = {"is": "are"}.get(first, first)
    else:
        first = {"is": "is"}.get(first, f"{first}s")
    return f"{first} {rest}".rstrip()


def _verb(change: Change) -> str:
    before, after = change.before, change.after
    if change.axis in ("height", "width") and before is not None:
        found = _moved(before, after) or _scaled(change)
        if found:
            return found
    return f"become {after}"


def _moved(before: Any, after: Any) -> str:
    """Grown or shrunk by a constant."""
    for by in range(1, 65):
        if after == plus(before, -by):
            return f"shrink by {by}"
        if after == plus(before, by):
            return f"grow by {by}"
    return ""


def _scaled(change: Change) -> str:
    values = change.node.op.values
    stride, scale = values.get("stride"), values.get("scale", values.get("factor"))
    place = int(change.axis == "width")
    if isinstance(stride, tuple) and change.node.op.name != "conv_transpose":
        return {1: "", 2: "halve"}.get(stride[place], f"is divided by {stride[place]}")
    factor = scale[place] if isinstance(scale, tuple) else scale
    if change.node.op.name == "conv_transpose" and isinstance(stride, tuple):
        factor = stride[place]
    if isinstance(factor, int) and factor > 1:
        return "double" if factor == 2 else f"is multiplied by {factor}"
    return ""
