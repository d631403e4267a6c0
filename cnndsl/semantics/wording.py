"""Sizes and how they change, in a reader's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

from cnndsl.diagnostics import Diagnostic
from cnndsl.graph.facts import Facts
from cnndsl.graph.model import Frame, Node
from cnndsl.ops.base import RuleError, show
from cnndsl.ops.congruence import Agreement
from cnndsl.ops.sizes import Size, at, plus
from cnndsl.ops.types import FeatureMap, Type, Vector
from cnndsl.semantics.values import Function

_CALLS = 64
_LONG = 60  # columns of a step's text in a sentence
_USUAL = 224  # a size that people know
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
        try:
            return self.node.op.formula(square, int(self.axis == "width"))
        except RuleError:  # the two axes differ, and the other one's size does not fit here
            return ""


def step_in_words(node: Node) -> str:
    """The module path where it says something, else the step's text."""
    last = node.path.rpartition(".")[2]
    if last and not last.isdigit() and not node.op.join:
        return node.path
    return f"`{shortened(node.span.text)}`" if node.span else node.op.name


def shortened(text: str) -> str:
    """Text on one line, cut where it gets long."""
    text = " ".join(line.split("#")[0].strip() for line in text[: 4 * _LONG].splitlines())
    text = " ".join(text.split())
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def call_in_words(frame: Frame) -> str:
    """``Bottleneck(128, stride=2)``: the call with the values that its arguments had."""
    if frame.given is None:
        return shortened(frame.call)
    name, arguments = frame.given
    parts = []
    for parameter, (value, argument) in arguments.items():
        known = value.name if isinstance(value, Function) else None
        plain = isinstance(value, int | Fraction | str | tuple)
        text = known or (show(value) if plain else shortened(argument.value.span.text))
        parts.append(text if argument.name is None else f"{parameter}={text}")
    return shortened(f"{name}({', '.join(parts)})" if parts else name)


def expanded(diagnostic: Diagnostic, frame: Frame | None) -> Diagnostic:
    """With the calls that led to its text: ``Bottleneck(128, stride=2), expanded from line 14``."""
    if frame is None or frame.parent is None or diagnostic.trace:
        return diagnostic
    trace: list[str] = []
    call: Frame | None = frame
    while call is not None and call.parent is not None and len(trace) < _CALLS:
        home = diagnostic.span.source if diagnostic.span else None
        line = f"line {call.span.line}"
        place = line if call.span.source is home else f"{call.span.source.name}, {line}"
        trace.append(f"{call_in_words(call)}, expanded from {place}")
        call = call.parent
    return replace(diagnostic, path=diagnostic.path or frame.path, trace=tuple(trace))


class Differing(Protocol):
    """Two sizes of one axis."""

    @property
    def axis(self) -> str: ...
    @property
    def left(self) -> Any: ...
    @property
    def right(self) -> Any: ...


def kind_in_words(type: Type) -> str:
    """``a feature map [8, H, W]`` or ``a vector [8]``."""
    names = {FeatureMap: "a feature map", Vector: "a vector"}
    return f"{names.get(type.__class__, 'a value')} {type}"


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
    symbols = sorted({x.symbol for x in (left, right) if isinstance(x, Size)})
    values = {symbol: facts.allowed(symbol).next(_USUAL) for symbol in symbols}
    for _ in range(_TRIED):
        if at(left, values) != at(right, values):
            return values
        last = symbols[-1]  # for two inputs of two sizes, one stays
        values[last] = facts.allowed(last).next(values[last] + 1)
    return dict(agreement.witness or {})


def _alike(height: Any, width: Any) -> bool:
    if isinstance(height, Size) and isinstance(width, Size):
        fields = ("scale", "offset", "divisor", "constant", "table")
        return all(getattr(height, f) == getattr(width, f) for f in fields)
    return bool(height == width)


def _conjugated(verb: str, many: bool) -> str:
    first, _, rest = verb.partition(" ")
    if first == "is":
        first = "are" if many else "is"
    elif not many:
        first += "s"
    return f"{first} {rest}".rstrip()


def _verb(change: Change) -> str:
    before, after = change.before, change.after
    if change.axis in ("height", "width") and before is not None:
        found = _scaled(change) or _moved(before, after)
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
