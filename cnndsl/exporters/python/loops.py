"""Children with numbered names that do the same one after another, as one loop.

DenseNet's ``denselayer1`` … ``denselayer24`` are one line in ``__init__`` and two in
``forward``: a value is carried from one round to the next, others are the same in all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cnndsl.exporters.python.draft import Draft, Statement, rewired
from cnndsl.exporters.python.runs import stepping
from cnndsl.outline.families import Leaf, Term, form, leaves

_SHORTEST = 3
_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]*)")
Children = list[tuple[str, Term]]


class _Round(NamedTuple):
    """One pass: its statements without names of values, and the values that it reads."""

    body: tuple[Term, ...]
    reads: tuple[int, ...]
    result: int


def looped(draft: Draft, children: Children) -> Children:
    """The children with runs as ``("loop", first, count, term)``, by the names' common start.

    The draft's statements follow. Only where the names, the numbers and the wiring all fit.
    """
    found: Children = []
    forms = [form(term) for _, term in children]
    at = 0
    while at < len(children):
        length = _length(children, forms, at)
        length = length if length >= _SHORTEST else 1
        run = children[at : at + length]
        if length > 1 and _fold(draft, [name for name, _ in run]):
            prefix, first = _parts(run[0][0])
            term = stepping(run[0][1], _steps(run[0][1], run[1][1]))
            found.append((prefix, ("loop", first, Leaf("n", length), term)))
        else:
            found += run
        at += length
    if len(found) < len(children):
        _renumber(draft)
    return found


def _renumber(draft: Draft) -> None:
    """Numbers values without gaps again, so that loops of other lengths look the same."""
    wires = {i: i for i in range(len(draft.inputs))}
    for statement in draft.statements:
        statement.term = rewired(statement.term, wires)
        made = tuple(range(len(wires), len(wires) + len(statement.targets)))
        wires.update(zip(statement.targets, made, strict=True))
        statement.targets = made
    draft.results = tuple(wires[i] for i in draft.results)


def _parts(name: str) -> tuple[str, int]:
    match = _NUMBERED.fullmatch(name)
    return (match[1], int(match[2])) if match and match[1] else ("", -1)


def _length(children: Sequence[tuple[str, Term]], forms: Sequence[Term], at: int) -> int:
    """How many children from here on are numbered, alike, and grow by the same steps."""
    prefix, first = _parts(children[at][0])
    if not prefix or children[at][1][0] not in ("call", "sequence"):
        return 1
    end, steps = at + 1, None
    while end < len(children):
        name, term = children[end]
        if _parts(name) != (prefix, first + end - at) or forms[end] != forms[at]:
            break
        now = _steps(children[end - 1][1], term)
        if None in now or (steps is not None and now != steps):
            break
        steps, end = now, end + 1
    return end - at


def _steps(one: Term, two: Term) -> list[int | None]:
    found: list[int | None] = []
    for a, b in zip(leaves(one), leaves(two), strict=True):
        if type(a.value) is int and type(b.value) is int:
            found.append(b.value - a.value)
        else:
            found.append(0 if a.value == b.value and type(a.value) is type(b.value) else None)
    return found


# --- statements ---------------------------------------------------------------------------------


def _fold(draft: Draft, names: list[str]) -> bool:
    """Makes the rounds of these children one statement; False where they are no rounds."""
    places = [
        at for at, s in enumerate(draft.statements) for name in _called(s.term) if name in names
    ]
    if [_called(draft.statements[at].term)[0] for at in places] != names:
        return False
    size = places[1] - places[0]
    start = next((s for s in range(places[0] - size + 1, places[0] + 1) if s >= 0 and _rounds(
        draft, s, size, len(names)) is not None), None)  # fmt: skip
    if start is None:
        return False
    rounds = _rounds(draft, start, size, len(names))
    assert rounds is not None
    end = start + size * len(names)
    first, last = rounds[0], draft.statements[end - 1]
    outer = tuple(("wire", i) for i in first.reads)
    alone = len(names) == len(draft.children)  # then nobody has to know how many they are
    count = 0 if alone else Leaf("n", len(names))
    term = ("loop", alone, _parts(names[0]), count,
            outer, first.body)  # fmt: skip
    draft.statements[start:end] = [Statement(last.targets, term, False, last.node)]
    return True


def _called(term: Term) -> list[str]:
    """Children that an expression names, at any depth."""
    if not isinstance(term, tuple):
        return []
    if len(term) == 2 and term[0] == "child":
        return [str(term[1])]
    return [name for part in term for name in _called(part)]


def _rounds(draft: Draft, start: int, size: int, count: int) -> list[_Round] | None:
    """The rounds that begin at a statement, each reading what the one before has made."""
    if start + size * count > len(draft.statements):
        return None
    found: list[_Round] = []
    for at in range(start, start + size * count, size):
        carried = found[-1].result if found else None
        now = _round(draft.statements[at : at + size], carried)
        if now is None or (found and (now.body, now.reads[1:]) != (found[0].body, _rest(found))):
            return None
        found.append(now)
    inside = {i for s in draft.statements[start : start + size * count] for i in s.targets}
    behind = draft.statements[start + size * count :]
    later = {i for s in behind for i in _reads(s.term)} | {*draft.results}
    return found if inside & later <= {found[-1].result} else None


def _rest(found: list[_Round]) -> tuple[int, ...]:
    return found[0].reads[1:]


def _round(part: Sequence[Statement], carried: int | None) -> _Round | None:
    """Values by number: the carried one is 0, others read follow, then those made.

    The first round carries what it reads first.
    """
    made = {i for s in part for i in s.targets}
    read = [i for s in part for i in _reads(s.term) if i not in made]
    if not read or any(s.train or len(s.targets) != 1 or s.term[0] == "loop" for s in part):
        return None
    head = carried if carried is not None else read[0]
    if head not in read:
        return None
    outer = (head, *dict.fromkeys(i for i in read if i != head))
    numbers = {i: n for n, i in enumerate([*outer, *(i for s in part for i in s.targets)])}
    body = tuple((numbers[s.targets[0]], _inner(s.term, numbers)) for s in part)
    plain = all(len(_called(s.term)) < 2 for s in part)
    return _Round(body, outer, part[-1].targets[0]) if plain else None


def _reads(term: Term) -> list[int]:
    if not isinstance(term, tuple):
        return []
    if len(term) == 2 and term[0] == "wire":
        return [term[1]]
    return [i for part in term for i in _reads(part)]


def _inner(term: Term, numbers: dict[int, int]) -> Term:
    if not isinstance(term, tuple):
        return term
    if len(term) == 2 and term[0] == "wire":
        return ("at", numbers[term[1]])
    if len(term) == 2 and term[0] == "child":
        return ("each", "")
    return tuple(_inner(part, numbers) for part in term)
