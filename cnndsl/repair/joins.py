"""Changes that may let the operands of a join agree."""

from __future__ import annotations

from collections.abc import Iterator

from cnndsl.diagnostics import Edit, Fix
from cnndsl.graph.model import Node
from cnndsl.ops.congruence import Valid
from cnndsl.ops.types import FeatureMap, Vector
from cnndsl.repair.places import Places, after, without
from cnndsl.repair.site import Guess, Site
from cnndsl.repair.windows import mend_windows, stride_of
from cnndsl.semantics.joins import JoinFault, Side
from cnndsl.source import Span
from cnndsl.syntax import ast

_LABELS = ("downsample", "project", "shortcut", "skip_conv")
_SUMS = ("add", "mean", "max", "join")


def mend_join(fault: JoinFault, places: Places) -> Iterator[Fix]:
    """Likeliest first; the smaller change where two are alike."""
    guesses = list(_guesses(Site(fault, places)))
    for guess in sorted(guesses, key=lambda g: (g.rank, _size(g.fix))):
        yield guess.fix


def _size(fix: Fix) -> int:
    return sum(len(e.text) + e.span.end - e.span.start for e in fix.edits)


def _guesses(site: Site) -> Iterator[Guess]:
    if not site.fault.axes:
        yield from _one_kind(site)
        return
    yield from _grouping(site)
    yield from _gate_order(site)
    yield from _other_wires(site)
    if site.join in _SUMS:
        for skip, main in site.pairs:
            yield from _projection(site, skip, main)
    if site.channels:
        for side, other in site.pairs:
            yield from _filters(site, side, other)
    else:
        yield from mend_windows(site)
        yield from _symbols(site)
        yield from _where(site)
    if not site.space and site.join in _SUMS:
        yield from _concat(site)


# --- signs and wires --------------------------------------------------------------------------


def _grouping(site: Site) -> Iterator[Guess]:
    """``f -> id * g`` is ``(f -> id) * g``; ``f -> (id * g)`` was probably meant."""
    first, whole = site.operand(site.fault.sides[0]), site.fault.span
    if not isinstance(first, ast.Chain) or first.span.start != whole.start:
        return
    last, right = first.steps[-1].span, site.fault.sides[1].span
    close = Edit(Span(whole.source, whole.end, whole.end), ")")
    if isinstance(first.steps[-1], ast.Constant | ast.Name):
        edits: tuple[Edit, ...] = (Edit(last._replace(end=last.start), "("), close)
        yield Guess(0, Fix("join only what is in parentheses", edits))
    elif _gate_first(site):
        edits = (Edit(last, f"({right.text}"), Edit(right, last.text), close)
        yield Guess(0, Fix("join only what is in parentheses, the gate second", edits))


def _gate_order(site: Site) -> Iterator[Guess]:
    left, right = site.fault.sides
    if _gate_first(site):
        edits = (Edit(left.span, right.span.text), Edit(right.span, left.span.text))
        yield Guess(1, Fix("put the gate second", edits))


def _gate_first(site: Site) -> bool:
    left, right = site.fault.sides
    return site.join == "mul" and _is_pixel(left.type) and not _is_pixel(right.type)


def _is_pixel(x: object) -> bool:
    return isinstance(x, FeatureMap) and (x.height, x.width) == (1, 1)


def _concat(site: Site) -> Iterator[Guess]:
    sign = site.fault.sign
    joined = site.places.node(site.fault.span)
    if sign.text == "+" and isinstance(joined, ast.Infix) and len(joined.operands) == 2:
        yield Guess(5, Fix("concatenate instead", (Edit(sign, "|"),)))
    elif sign.text == site.join:
        yield Guess(5, Fix("concatenate instead", (Edit(sign, "concat"),)))


def _other_wires(site: Site) -> Iterator[Guess]:
    """Another tapped value than the one that is joined."""
    around = site.places.declaration(site.fault.sign)
    taps = [n for n in ast.walk(around) if isinstance(n, ast.Tap)] if around else []
    for side, _ in site.pairs:
        operand = site.operand(side)
        if isinstance(operand, ast.Name):
            for tap in taps:
                if tap.name.text != operand.name and tap.span.end < operand.span.start:
                    fix = Fix(f"join `{tap.name.text}`", (Edit(operand.span, tap.name.text),))
                    yield Guess(2, fix)


# --- a projection on the skip -----------------------------------------------------------------


def _projection(site: Site, skip: Side, main: Side) -> Iterator[Guess]:
    """``id`` becomes ``downsample: conv(c, 1, stride=s) -> bn``."""
    operand = site.operand(skip)
    if not isinstance(operand, ast.Constant | ast.Name | ast.Call | ast.Labelled | ast.Group):
        return
    stride, out = _stride(site, main), _out(site, main)
    if stride is None or out is None or not isinstance(skip.type, FeatureMap):
        return
    steps = f"conv({out}, 1{'' if stride == '1' else f', stride={stride}'})"
    if any(step.op.norm for step in main.steps if site.is_here(step)):
        steps = f"({steps} -> bn)"
    name = _label(site)
    plain = isinstance(operand, ast.Constant)
    conditions = [] if stride.isdigit() else [f"{stride} > 1"]
    conditions += [] if out.isdigit() and site.channels else [f"in.channels != {out}"]
    if plain and not (stride.isdigit() and out.isdigit()):
        text = f"{name}: if {' or '.join(conditions)} then {steps}"
        yield Guess(1, Fix("project the skip where it does not fit", (Edit(operand.span, text),)))
    text = f"{name}: {steps}" if plain else f"{operand.span.text} -> {name}: {steps}"
    title = "project the skip" if plain else "project this side"
    yield Guess(1 if plain else 3, Fix(title, (Edit(operand.span, text),)))


def _stride(site: Site, main: Side) -> str | None:
    """The stride of a side, as its text says it where that can be repeated."""
    if not site.space:
        return "1"
    strided = [s for s in main.steps if stride_of(s.op) not in (None, (1, 1))]
    if len(strided) == 1:
        written = site.written(strided[0], "stride")
        if written is not None:
            return written
    total = 1
    for step in strided:
        stride = stride_of(step.op) or (0, 1)
        if stride[0] != stride[1]:
            return None
        total *= stride[0]
    return str(total) if total > 1 else None


def _out(site: Site, main: Side) -> str | None:
    """The channels of a side, as its text says them where that can be repeated."""
    channels = main.type.channels if isinstance(main.type, FeatureMap) else None
    for step in reversed(main.steps):
        if getattr(step.op, "out", None) == channels:
            written = site.written(step, "out")
            if written is not None:
                return written
    return str(channels) if isinstance(channels, int) else None


def _label(site: Site) -> str:
    taken = site.places.labels(site.fault.sign)
    return next((name for name in _LABELS if name not in taken), "projection")


# --- channels ---------------------------------------------------------------------------------


def _filters(site: Site, side: Side, other: Side) -> Iterator[Guess]:
    """The last step that sets the channels of a side gives those of the other."""
    wanted, own = _width(other), _width(side)
    setters = [step for step in side.steps if getattr(step.op, "out", None) == own]
    if not setters or not isinstance(wanted, int):
        return
    texts = [_out(site, other) or str(wanted), str(wanted), "in.channels"]
    for value in dict.fromkeys(texts):
        changed = other.changes("channels") or other.changes("features")
        sure = changed and value != "in.channels" and not _is_fed(site, setters)
        yield from site.set(1 if sure else 2, setters[-1], "out", value)


def _width(side: Side) -> object:
    return getattr(side.type, "channels", None) or getattr(side.type, "features", None)


def _is_fed(site: Site, setters: list[Node]) -> bool:
    """Whether these steps make what a gate opens and closes, rather than the gate."""
    return site.join == "mul" and setters[-1] in site.fault.sides[0].steps


# --- conditions and kinds ---------------------------------------------------------------------


def _where(site: Site) -> Iterator[Guess]:
    """The net accepts only sizes at which the sides agree."""
    found = [m.agreement.when if m.agreement else None for m in site.fault.mismatches]
    conditions = [_condition(when) for when in found if when is not None]
    net = site.net()
    if net is None or len(conditions) < len(found) or not all(conditions):
        return
    text = ", ".join(dict.fromkeys(c for c in conditions if c))
    at = net.clauses[-1].span.end if net.clauses else net.body.span.end
    edit = Edit(Span(net.span.source, at, at), f"\n  where {text}")
    yield Guess(2, Fix("accept only such sizes", (edit,)))


def _condition(when: Valid) -> str | None:
    if len(when.residues) != 1 or when.modulus == 1:
        return None
    return f"{when.symbol} % {when.modulus} == {when.residues[0]}"


def _symbols(site: Site) -> Iterator[Guess]:
    """Two inputs whose sizes were given two names."""
    sides = site.fault.sides
    spans = [side.steps[0].span for side in sides if side.start is None and side.steps]
    inputs = [site.places.node(span) for span in spans if span is not None]
    if len(inputs) == 2:
        first, second = inputs
        if isinstance(first, ast.Input) and isinstance(second, ast.Input):
            items = zip(first.dims.items[1:], second.dims.items[1:], strict=False)
            pairs = [(b.span, a.span.text) for a, b in items]
            edits = tuple(Edit(span, text) for span, text in pairs if span.text != text)
            yield Guess(0, Fix("give both inputs the same sizes", edits))


def _one_kind(site: Site) -> Iterator[Guess]:
    """A vector beside a feature map: leave `flatten` out, or flatten the other too."""
    for side, other in site.pairs:
        if not (isinstance(side.type, Vector) and isinstance(other.type, FeatureMap)):
            continue
        for step in side.steps:
            path = site.places.path(step.span) if step.span else []
            if path and step.op.name == "flatten":
                yield Guess(0, Fix("leave `flatten` out", without(path)))
        path = site.places.path(other.span)
        if path:
            yield Guess(1, Fix("flatten this side too", after(path, "gap -> flatten")))
