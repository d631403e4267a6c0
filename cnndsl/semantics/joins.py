"""Why the operands of a join disagree: where their paths part, and by which arithmetic.

The two paths start at the nearest value through which all of both flow. Walking each
forward, the first change that the other path does not make is where they part.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cnndsl.diagnostics import Diagnostic, Label
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import JoinError
from cnndsl.graph.model import Frame, Node
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.congruence import Agreement, agree
from cnndsl.ops.sizes import SizeTooComplex
from cnndsl.ops.types import FeatureMap, Type, Unknown, Vector
from cnndsl.semantics import errors
from cnndsl.semantics.state import State
from cnndsl.semantics.wording import (
    Change,
    change_in_words,
    kind_in_words,
    numbers_at,
    same_in_both,
    sizes_in_words,
    step_in_words,
)
from cnndsl.source import Span

_SHOWN = 4  # changes after the parting that are worth a remark each
_AXES = ("channels", "height", "width", "features")


class Side(NamedTuple):
    """One operand: its text, and the steps from the common value to it."""

    span: Span
    start: Node | None
    steps: tuple[Node, ...]

    @property
    def type(self) -> Type:
        last = self.steps[-1] if self.steps else self.start
        assert last is not None
        return last.type

    def changes(self, axis: str) -> list[Change]:
        """The steps after which the size of an axis is another."""
        before = size_of(self.start.type, axis) if self.start else None
        found = []
        for node in self.steps:
            after = size_of(node.type, axis)
            if after != before:
                found.append(Change(node, axis, before, after))
            before = after
        return found


class Mismatch(NamedTuple):
    """An axis on which the sides differ, and the step of each side where they part."""

    axis: str
    left: Any
    right: Any
    agreement: Agreement | None
    parting: tuple[Change | None, Change | None]


class JoinFault(NamedTuple):
    """A join that fails: what a repair has to know. ``sign`` is its place in the text."""

    op: Op
    sign: Span
    span: Span
    sides: tuple[Side, Side]
    mismatches: tuple[Mismatch, ...]
    frame: Frame | None

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(m.axis for m in self.mismatches)


def explain_join(
    state: State,
    op: Op,
    error: RuleError,
    ids: Sequence[int],
    operands: Sequence[Span],
    span: Span,
    frame: Frame | None,
) -> Diagnostic:
    """The one error of a join, whatever and however much its operands disagree in."""
    first, second = _disagreeing(op, error, state.types(ids), state.facts)
    sign = _sign(op, operands, span, second)
    instance = Diagnostic("E0401", "", (Label(sign, ""),))
    if state.found.has(instance):
        return instance
    pair = operands[first], operands[second]
    left, right = _sides(state.nodes, (ids[first], ids[second]), pair)
    mismatches = tuple(_mismatches(op, left, right, state.facts))
    fault = JoinFault(op, sign, span, (left, right), mismatches, frame)
    if not mismatches:  # a vector beside a feature map, or sizes without an exact form
        seen = [_seen(side, kind_in_words(side.type)) for side in (left, right)]
        labels = (Label(sign, ""), *seen)
        if error.rule == "kind":
            return errors.join_of_kinds(sign.text, labels, fault)
        return errors.join_rule(error, labels, fault)
    return Diagnostic(
        "E0401",
        f"the branches of `{sign.text}` disagree in {_listed(fault.axes)}",
        tuple(_labels(fault)),
        notes=tuple(_notes(fault, state.facts)),
        cause=fault,
    )


# --- who disagrees ----------------------------------------------------------------------------


def size_of(type: Type | None, axis: str) -> Any:
    """One size of a type; None where it has no such axis."""
    if isinstance(type, FeatureMap):
        return getattr(type, axis, None)
    return type.features if isinstance(type, Vector) and axis == "features" else None


def _disagreeing(op: Op, error: RuleError, xs: Sequence[Type], facts: Facts) -> tuple[int, int]:
    if isinstance(error, JoinError):
        return error.operands
    for index in range(1, len(xs)):
        if type(xs[0]) is not type(xs[index]):
            return 0, index
        if any(True for _ in _differing(op, xs[0], xs[index], facts)):
            return 0, index
    return 0, error.operand or len(xs) - 1


def _differing(
    op: Op, left: Type, right: Type, facts: Facts
) -> Iterator[tuple[str, Any, Any, Agreement | None]]:
    """The axes on which two operands do not agree for every allowed size."""
    for axis in _AXES:
        a, b = size_of(left, axis), size_of(right, axis)
        if a is None or b is None or a == b or isinstance(a, Unknown) or isinstance(b, Unknown):
            continue
        if axis in ("channels", "features"):
            if op.name != "concat":
                yield axis, a, b, None
        elif not (op.name == "mul" and _is_gate(right)):
            found = _compared(a, b, facts)
            if found is None or not (found.always or (found.when and found.derivable)):
                yield axis, a, b, found


def _is_gate(x: Type) -> bool:
    return isinstance(x, FeatureMap) and (x.height, x.width) == (1, 1)


def _compared(a: Any, b: Any, facts: Facts) -> Agreement | None:
    symbols = {x.symbol for x in (a, b) if not isinstance(x, int)}
    try:
        return agree(a, b, {s: facts.allowed(s) for s in symbols})
    except SizeTooComplex:
        return None


def _mismatches(op: Op, left: Side, right: Side, facts: Facts) -> Iterator[Mismatch]:
    for axis, a, b, agreement in _differing(op, left.type, right.type, facts):
        parting = _parting(axis, left.changes(axis), right.changes(axis))
        yield Mismatch(axis, a, b, agreement, parting)


def _parting(
    axis: str, left: list[Change], right: list[Change]
) -> tuple[Change | None, Change | None]:
    """The change of each side by which the paths part.

    Sizes build on what was before, so it is the first change that the other side does not
    make. Channels are set anew by every step that changes them, so it is the last one.
    """
    if axis in ("channels", "features"):
        return left[-1] if left else None, right[-1] if right else None
    place = 0
    while place < min(len(left), len(right)) and left[place].after == right[place].after:
        place += 1
    return (
        left[place] if place < len(left) else None,
        right[place] if place < len(right) else None,
    )


# --- the two paths ----------------------------------------------------------------------------


def _sides(
    nodes: Mapping[int, Node], ids: tuple[int, int], spans: tuple[Span, Span]
) -> tuple[Side, Side]:
    common = _common_source(nodes, ids)
    left, right = (_side(nodes, i, common, span) for i, span in zip(ids, spans, strict=True))
    return left, right


def _common_source(nodes: Mapping[int, Node], ids: tuple[int, int]) -> int | None:
    """The last value that everything in both operands is computed from.

    Inputs have smaller ids than what reads them, so replacing the largest id by its inputs
    until one is left never steps past it. None when the operands start at two inputs.
    """
    waiting = [-i for i in set(ids)]
    heapq.heapify(waiting)
    seen = set(waiting)
    while len(waiting) > 1:
        inputs = nodes[-heapq.heappop(waiting)].inputs
        if not inputs:
            return None
        for i in inputs:
            if -i not in seen:
                seen.add(-i)
                heapq.heappush(waiting, -i)
    return -waiting[0]


def _side(nodes: Mapping[int, Node], last: int, common: int | None, span: Span) -> Side:
    """Back along first inputs: inside a join all operands have the sizes of the first."""
    steps: list[Node] = []
    at = last
    while at != common:
        steps.append(nodes[at])
        if not nodes[at].inputs:
            break
        at = nodes[at].inputs[0]
    return Side(span, nodes[common] if common is not None else None, tuple(reversed(steps)))


# --- the text ---------------------------------------------------------------------------------


def _sign(op: Op, operands: Sequence[Span], span: Span, second: int) -> Span:
    """The sign before the operand that disagrees, or the name of a join by name."""
    source = span.source
    if source.text.startswith(f"{op.name}", span.start) and operands[0].start > span.start:
        return Span(source, span.start, span.start + len(op.name))
    start, end = operands[second - 1].end, operands[second].start
    offset = start
    for line in source.text[start:end].splitlines(keepends=True):
        code = line.split("#")[0].rstrip()
        if code.strip():
            at = offset + len(code) - 1
            return Span(source, at, at + 1)
        offset += len(line)
    return span


def tail(span: Span) -> Span:
    """The last line of a place, where what it gives can be read off."""
    text = span.text
    start = text.rfind("\n") + 1
    start += len(text[start:]) - len(text[start:].lstrip())
    return Span(span.source, span.start + start, span.end) if start else span


def _seen(side: Side, text: str) -> Label:
    return Label(tail(side.span), text)


def _labels(fault: JoinFault) -> Iterator[Label]:
    yield Label(fault.sign, "")
    remarks: dict[Span, list[str]] = {}
    places: dict[tuple[int, int], Span] = {}
    for side in fault.sides:
        words = sizes_in_words(side.type, fault.axes)
        if not any(side.changes(axis) for axis in fault.axes):
            words += _unchanged(side, fault.frame)
        place = tail(side.span)
        remarks.setdefault(place, []).append(words)
        places[place.line, place.end] = place
    for span, words in _steps(fault).items():
        place = places.get((span.line, span.end), span)  # `a: conv(…)` and `conv(…)` are one
        remarks.setdefault(place, []).append(words)
    for span, texts in remarks.items():
        yield Label(span, "; ".join(texts))


def _steps(fault: JoinFault) -> dict[Span, str]:
    """What happens at the steps from where the paths part, axes of one step together."""
    parting: dict[Span, list[Change]] = {}
    later: dict[Span, list[Change]] = {}
    for mismatch in fault.mismatches:
        for side, change in zip(fault.sides, mismatch.parting, strict=True):
            if change is None or change.node.op.name == "input":
                continue
            _note(parting, change)
            behind = [c for c in side.changes(mismatch.axis) if c.node.id > change.node.id]
            for other in behind if len(behind) <= _SHOWN else ():
                _note(later, other)
    found = {s: f"the paths part here: {change_in_words(c)}" for s, c in parting.items()}
    found |= {s: change_in_words(c) for s, c in later.items() if s not in found}
    calls = (c and _call(c.node, fault.frame) for m in fault.mismatches for c in m.parting)
    return found | {tail(s): "through this call" for s in calls if s and tail(s) not in found}


def _call(node: Node, frame: Frame | None) -> Span | None:
    """Where the join's own text calls what a step of another block stands in."""
    around = node.frame if node.frame is not frame else None
    while around is not None and around.parent is not frame:
        around = around.parent
    return around.span if around else None


def _note(places: dict[Span, list[Change]], change: Change) -> None:
    if change.node.span is not None:
        known = places.setdefault(tail(change.node.span), [])
        if all((change.axis, change.after) != (c.axis, c.after) for c in known):
            known.append(change)


def _unchanged(side: Side, frame: Frame | None) -> str:
    """``, unchanged since layer1.2, line 13``: as seen from the join's own text."""
    node = side.start
    if node is None or node.span is None:
        return ""
    if node.op.name == "input":
        return ", as the net's input"
    name, span = step_in_words(node), node.span
    around = {id(f) for f in _frames(frame)}
    for one in _frames(node.frame):
        if id(one) in around:
            break
        name, span = one.path or name, one.span
    return f", unchanged since {name}, line {span.line}"


def _frames(frame: Frame | None) -> Iterator[Frame]:
    while frame is not None:
        yield frame
        frame = frame.parent


def _notes(fault: JoinFault, facts: Facts) -> Iterator[str]:
    listed = []
    mismatches = list(fault.mismatches)
    while mismatches:
        first = mismatches.pop(0)
        axes = [first.axis]
        if mismatches and same_in_both(first, mismatches[0]):
            axes.append(mismatches.pop(0).axis)
        listed.append(numbers_at(axes, first.left, first.right, first.agreement, facts))
    yield "; ".join(listed)
    found = (m.agreement.when for m in fault.mismatches if m.agreement is not None)
    conditions = [str(when) for when in found if when is not None]
    if conditions:
        yield f"they agree only when {' and '.join(conditions)}"
    done = set()
    for mismatch in fault.mismatches:
        for change in mismatch.parting:
            formula = change.formula if change is not None else ""
            if change is not None and formula and change.node.id not in done:
                done.add(change.node.id)
                yield f"{mismatch.axis} after {step_in_words(change.node)}: {formula}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
