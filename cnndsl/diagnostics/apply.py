"""Apply the fixes that diagnostics carry, in memory. Writing files is the caller's business.

A fix is applied whole or not at all. Where two fixes touch the same text the first one wins
and the other is reported; a second run, after a new check, will meet it again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cnndsl.diagnostics.model import Diagnostic, Edit, Fix
from cnndsl.source import Source


class Applied(NamedTuple):
    """The new text of every changed source, and which fixes are in it."""

    texts: dict[Source, str]
    done: tuple[tuple[Diagnostic, Fix], ...]
    left: tuple[tuple[Diagnostic, Fix], ...]


def apply_fixes(diagnostics: Iterable[Diagnostic], only_checked: bool = True) -> dict[Source, str]:
    """The new text of every source that a fix changes."""
    return plan_fixes(diagnostics, only_checked).texts


def plan_fixes(diagnostics: Iterable[Diagnostic], only_checked: bool = True) -> Applied:
    """The first suitable fix of each diagnostic; ``left`` holds those that could not be made."""
    taken: dict[Source, list[Edit]] = {}
    done: list[tuple[Diagnostic, Fix]] = []
    left: list[tuple[Diagnostic, Fix]] = []
    for diagnostic in diagnostics:
        suitable = (f for f in diagnostic.fixes if f.edits and (f.checked or not only_checked))
        fix = next(suitable, None)
        if fix is not None:
            (done if _take(fix, taken) else left).append((diagnostic, fix))
    changed = {source: edited(source.text, edits) for source, edits in taken.items()}
    texts = {source: text for source, text in changed.items() if text is not None}
    return Applied(texts, tuple(done), tuple(left))


def edited(text: str, edits: Sequence[Edit]) -> str | None:
    """``text`` after ``edits``; None when they overlap or lie outside the text."""
    parts: list[str] = []
    position = 0
    for edit in sorted(edits, key=_place):
        start, end = edit.span.start, edit.span.end
        if not position <= start <= end <= len(text):
            return None
        parts += [text[position:start], edit.text]
        position = end
    return "".join([*parts, text[position:]])


def _take(fix: Fix, taken: dict[Source, list[Edit]]) -> bool:
    """Adds the fix's edits to ``taken``, or leaves it as it was when one does not fit."""
    fresh: list[Edit] = []
    for edit in fix.edits:
        near = _near(edit, taken.get(edit.span.source, []))
        if edit in near or edit in fresh:  # two diagnostics ask for the same change
            continue
        if not _inside(edit) or any(_clash(edit, other) for other in [*near, *fresh]):
            return False
        fresh.append(edit)
    for edit in fresh:
        insort(taken.setdefault(edit.span.source, []), edit, key=_place)
    return True


def _near(edit: Edit, known: list[Edit]) -> list[Edit]:
    """Those of the sorted, disjoint ``known`` that could clash: the two neighbours."""
    index = bisect_left(known, _place(edit), key=_place)
    return known[max(index - 1, 0) : index + 1]


def _inside(edit: Edit) -> bool:
    return 0 <= edit.span.start <= edit.span.end <= len(edit.span.source.text)


def _clash(a: Edit, b: Edit) -> bool:
    """They overlap, or both insert at one place, where their order would be a guess."""
    if a.span.source is not b.span.source:
        return False
    overlap = a.span.start < b.span.end and b.span.start < a.span.end
    return overlap or _place(a) == _place(b)


def _place(edit: Edit) -> tuple[int, int]:
    return edit.span.start, edit.span.end
