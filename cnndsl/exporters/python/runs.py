"""Equal layers in a row, or layers whose numbers grow by equal steps, as one loop."""

from __future__ import annotations

from collections.abc import Sequence

from cnndsl.outline.families import Leaf, Term, Value, form, leaves

_SHORTEST = 3  # of layers that are short to write; two of a class of the file are a loop


def rolled(parts: Sequence[Term]) -> tuple[Term, ...]:
    """The parts with every run as ``("run", count, term)``.

    In the term a number that grows stands as ``("step", first, step)``.
    """
    found: list[Term] = []
    at = 0
    while at < len(parts):
        length = _run(parts, at)
        if length >= _least(parts[at], length):
            steps = _steps(parts[at], parts[at + 1])
            found.append(("run", Leaf("n", length), stepping(parts[at], steps)))
            at += length
        else:
            found.append(parts[at])
            at += 1
    return tuple(found)


def _least(part: Term, length: int) -> int:
    whole = isinstance(part, tuple) and part[0] == "call" and isinstance(part[1], tuple)
    return 2 if whole else _SHORTEST


def _run(parts: Sequence[Term], at: int) -> int:
    """How many parts from here on grow by the same steps; growing takes three to be seen."""
    if at + 1 == len(parts) or form(parts[at]) != form(parts[at + 1]):
        return 1
    steps = _steps(parts[at], parts[at + 1])
    end = at + 1
    while end < len(parts) and form(parts[end]) == form(parts[at]):
        if _steps(parts[end - 1], parts[end]) != steps or None in steps:
            break
        end += 1
    length = end - at
    return length if not any(steps) or length >= _SHORTEST else 1


def _steps(one: Term, two: Term) -> list[int | None]:
    pairs = zip(leaves(one), leaves(two), strict=True)
    return [_step(a.value, b.value) for a, b in pairs]


def _step(a: Value, b: Value) -> int | None:
    if type(a) is int and type(b) is int:
        return b - a
    return 0 if a == b and type(a) is type(b) else None


def stepping(term: Term, steps: list[int | None]) -> Term:
    """The first of a run, its growing numbers marked."""
    rest = iter(steps)

    def marked(part: Term) -> Term:
        if isinstance(part, Leaf):
            step = next(rest)
            return ("step", part, Leaf("growth", step)) if step else part
        return tuple(map(marked, part)) if isinstance(part, tuple) else part

    return marked(term)
