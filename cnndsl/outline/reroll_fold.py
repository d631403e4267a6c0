"""What follows itself in a chain becomes a power or a `for`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from cnndsl.outline.holes import AUTO, Expr, Label, Read, Tapped
from cnndsl.outline.terms import (
    Call,
    Chain,
    For,
    Leaf,
    Named,
    Power,
    Term,
    chain,
    walk,
)

_LONGEST = 16  # items of a body that repeats
_FEWEST = 3  # turns of a `for`


def reads(roots: Sequence[Term]) -> Counter[int]:
    """How often each value is read by its name."""
    found: Counter[int] = Counter()
    for root in roots:
        found.update(hole.node for t in walk(root) for hole in t.own if isinstance(hole, Read))
    return found


def closed(holes: Sequence[Any], total: Counter[int]) -> tuple[Any, ...] | None:
    """The holes with names of values by their order; None where one is read outside."""
    taps = {h.node: k for k, h in enumerate(h for h in holes if isinstance(h, Tapped))}
    if not taps:
        return tuple(holes)
    inside = Counter(h.node for h in holes if isinstance(h, Read))
    if any(inside[node] != total[node] for node in taps):
        return None
    return tuple(
        (type(h).__name__, taps[h.node]) if isinstance(h, Tapped | Read) and h.node in taps else h
        for h in holes
    )


class _Run(NamedTuple):
    length: int
    times: int
    saved: int
    loop: tuple[tuple[Any, Any], ...] | None
    """First value and step of each hole; None for plain repetition."""


class Folder:
    """Folds chains from the inside out."""

    def __init__(self, roots: Sequence[Term]) -> None:
        self.total = reads(roots)
        self.known: dict[int, frozenset[str]] = {}

    def _fixed(self, term: Term) -> frozenset[str]:
        """The labels of a term that are the same at every turn."""
        found = self.known.get(id(term))
        if found is None:
            names = (x.name for x in labels(term) if not isinstance(x.number, Expr))
            found = self.known[id(term)] = frozenset(names)
        return found

    def fold(self, term: Term) -> Term:
        if not term.parts:
            return term
        parts = tuple(self.fold(part) for part in term.parts)
        if any(a is not b for a, b in zip(parts, term.parts, strict=True)):
            term = term.remade(term.own, parts)
        if isinstance(term, Chain):
            return self._folded(term)
        return term

    def _folded(self, term: Chain) -> Term:
        items = term.items
        holes = [closed(item.holes, self.total) for item in items]
        result: list[Term] = []
        at = 0
        while at < len(items):
            run = self._best(items, holes, at)
            if run is None or self._better_later(items, holes, at, run):
                result.append(items[at])
                at += 1
                continue
            body = chain(list(items[at : at + run.length]))
            written = _written(body, run)
            if any(not isinstance(label.number, Expr) for label in labels(written)):
                result.append(items[at])  # one label twice in a namespace
                at += 1
                continue
            result.append(written)
            at += run.length * run.times
        together = self._together(result)
        return chain(together) if len(together) < len(items) else term

    def _together(self, items: Sequence[Term]) -> list[Term]:
        """``f -> f^2 -> f`` is ``f^4``."""
        result: list[Term] = []
        for item in items:
            before = _repeated(result[-1]) if result else None
            here = _repeated(item)
            if before and here and Power in (type(result[-1]), type(item)):
                same = before[0].shape == here[0].shape and self._equal(before[0], here[0])
                if same:
                    result[-1] = Power(before[0], before[1] + here[1])
                    continue
            result.append(item)
        return result

    def _equal(self, a: Term, b: Term) -> bool:
        holes = closed(a.holes, self.total)
        return holes is not None and holes == closed(b.holes, self.total) and not labels(a)

    def _better_later(
        self, items: Sequence[Term], holes: Sequence[Any], at: int, run: _Run
    ) -> bool:
        """Whether the same repetition starts with a convolution a few steps on.

        It starts here with what belongs to the convolution before.
        """
        if at == 0 or not follows(items[at]) or not isinstance(items[at - 1], Leaf):
            return False
        later = at + next((k for k in range(run.length) if not follows(items[at + k])), 0)
        shifted = self._best(items, holes, later) if later > at else None
        return shifted is not None and shifted[:2] == run[:2]

    def _best(self, items: Sequence[Term], holes: Sequence[Any], at: int) -> _Run | None:
        best: _Run | None = None
        for length in range(1, min(_LONGEST, (len(items) - at) // 2) + 1):
            if items[at].shape != items[at + length].shape:
                continue
            turn = range(at, at + length)
            if any(self._fixed(items[k]) & self._fixed(items[k + length]) for k in turn):
                continue  # one label twice in a namespace
            run = self._run(items, holes, at, length)
            if run is not None and (best is None or run.saved > best.saved):
                best = run
        return best

    def _run(
        self, items: Sequence[Term], holes: Sequence[Any], at: int, length: int
    ) -> _Run | None:
        if any(hole is None for hole in holes[at : at + length]):
            return None
        size = sum(item.size for item in items[at : at + length])
        same = 1
        for turn in _turns(items, holes, at, length):
            if turn != holes[at : at + length]:
                break
            same += 1
        if same >= 2:
            return _Run(length, same, size * (same - 1), None)
        times, loop = self._progression(items, holes, at, length)
        return _Run(length, times, size * (times - 1) - 3, loop) if times >= _FEWEST else None

    def _progression(
        self, items: Sequence[Term], holes: Sequence[Any], at: int, length: int
    ) -> tuple[int, tuple[tuple[Any, Any], ...]]:
        """How many turns change every hole by the same as the turn before, or not at all."""
        start = before = _flat(holes[at : at + length])
        steps: list[Any] | None = None
        times = 1
        for turn in _turns(items, holes, at, length):
            here = _flat(turn)
            found = [_step(a, b) for a, b in zip(before, here, strict=True)]
            if any(step is None for step in found) or (steps is not None and found != steps):
                break
            steps, before = found, here
            times += 1
        return times, tuple(
            (value if step == 0 else _number(value), step)
            for value, step in zip(start, steps or [0] * len(start), strict=True)
        )


def _turns(
    items: Sequence[Term], holes: Sequence[Any], at: int, length: int
) -> Iterator[Sequence[Any]]:
    """The holes of each stretch behind the first that looks like it."""
    start = at + length
    while start + length <= len(items):
        pairs = range(length)
        if any(items[at + k].shape != items[start + k].shape for k in pairs):
            return
        turn = holes[start : start + length]
        if any(hole is None for hole in turn):
            return
        yield turn
        start += length


def follows(term: Term) -> bool:
    """Whether a person would write it on the line of the convolution before it."""
    return isinstance(term, Leaf) and (term.op.norm or not term.weighty)


def labels(term: Term) -> list[Label]:
    """The labels that a term puts into the namespace around it."""
    if isinstance(term, Leaf):
        return [term.label] if term.label is not None else []
    if isinstance(term, Named):
        return [term.label] if term.label is not None else []
    if isinstance(term, Call):
        return [] if term.definition.module else labels(term.definition.body)
    return [label for part in term.parts for label in labels(part)]


def _repeated(term: Term) -> tuple[Term, int] | None:
    """What is repeated how often; None where the number is computed."""
    if isinstance(term, Power):
        return (term.body, term.count) if isinstance(term.count, int) else None
    return term, 1


def _flat(turn: Sequence[Any]) -> list[Any]:
    return [hole for holes in turn for hole in holes]


def _step(before: Any, after: Any) -> Fraction | int | None:
    """The difference of two holes; None where they differ and are no numbers."""
    if before == after:
        return 0
    a, b = _number(before), _number(after)
    return None if a is None or b is None else b - a


def _number(value: Any) -> Fraction | None:
    if isinstance(value, bool | Expr) or value is AUTO:
        return None
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float):
        return Fraction(value).limit_denominator(100_000)
    return None


def _written(body: Term, run: _Run) -> Term:
    if run.loop is None:
        return Power(body, run.times)
    first = _start(run.loop)
    used = {inner.variable for inner in walk(body) if isinstance(inner, For)}
    variable = next(name for name in "ijklmnopq" if name not in used)
    values = [
        hole if step == 0 else progress(start - step * first, step, variable)
        for hole, (start, step) in zip(body.holes, run.loop, strict=True)
    ]
    return For(variable, first, first + run.times - 1, body.refill(iter(values)))


def _start(loop: tuple[tuple[Any, Any], ...]) -> int:
    """The variable's first value: that of a hole which counts by ones."""
    counting = [int(start) for start, step in loop if step == 1 and start >= 0]
    ratios = [Fraction(start) / step for start, step in loop if step]
    whole = [int(ratio) for ratio in ratios if ratio.denominator == 1 and ratio >= 0]
    return next(iter([*counting, *whole]), 0)


def progress(start: Fraction, step: Fraction, variable: str) -> Expr:
    """``start + step*variable``."""
    if step == 1:
        product = variable
    elif step.numerator == 1:
        product = f"{variable}/{step.denominator}"
    else:
        over = f"/{step.denominator}" if step.denominator > 1 else ""
        product = f"{step.numerator}*{variable}{over}"
    if start == 0:
        return Expr(product)
    if step < 0:
        return Expr(f"{start} - {progress(Fraction(0), -step, variable)}")
    return Expr(f"{product} {'+' if start > 0 else '-'} {abs(start)}")
