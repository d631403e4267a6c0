"""What a fix does to the text, as lines before and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cnndsl.diagnostics.apply import edited
from cnndsl.diagnostics.display import Paint, escape, hung
from cnndsl.diagnostics.excerpt import Mark, clip, gutter
from cnndsl.diagnostics.model import Edit, Fix
from cnndsl.source import Source, Span

_LINES = 6  # lines of one side that are shown


class Hunk(NamedTuple):
    """Neighbouring lines that change. ``line`` numbers the first of either side."""

    source: Source
    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]


def hunks(fix: Fix) -> list[Hunk]:
    """The changed lines, in the order of the text; empty when the edits do not go together."""
    files: dict[Source, list[Edit]] = {}
    for edit in fix.edits:
        files.setdefault(edit.span.source, []).append(edit)
    found: list[Hunk] = []
    for source, edits in files.items():
        if edited(source.text, edits) is None:
            return []
        found += [_hunk(source, group) for group in _neighbours(source, edits)]
    return [h for h in found if h.before or h.after]


def changes(fix: Fix, home: Source | None, paint: Paint, width: int) -> list[str]:
    """The rows to print under a fix's title; other files than ``home`` are named."""
    found = hunks(fix)
    digits = max((len(str(_last(h))) for h in found), default=1)
    rows: list[str] = []
    shown = home
    for hunk in found:
        if hunk.source is not shown:
            name = escape(hunk.source.name)
            rows += hung(" " * (digits + 1) + "::: ", "gutter", name, paint, width)
            shown = hunk.source
        rows += _side(hunk, hunk.before, "-", digits, paint, width)
        rows += _side(hunk, hunk.after, "+", digits, paint, width)
    return rows


def _neighbours(source: Source, edits: list[Edit]) -> Iterable[list[Edit]]:
    """Edits grouped so that no two groups touch the same or adjacent lines."""
    group: list[Edit] = []
    last = 0
    for edit in sorted(edits, key=lambda e: (e.span.start, e.span.end)):
        if group and source.position(edit.span.start)[0] > last + 1:
            yield group
            group = []
        group.append(edit)
        last = source.position(edit.span.end)[0]
    if group:
        yield group


def _hunk(source: Source, edits: list[Edit]) -> Hunk:
    start, end = edits[0].span.start, edits[-1].span.end
    line, column = source.position(start)
    start -= column - 1
    final, column = source.position(end)
    end = max(end, end - column + 1 + len(source.line(final)))
    moved = [Edit(Span(source, e.span.start - start, e.span.end - start), e.text) for e in edits]
    old = source.text[start:end]
    new = edited(old, moved) or ""
    return _trimmed(source, line, _lines(old), _lines(new))


def _lines(text: str) -> list[str]:
    return [line.rstrip("\r") for line in text.split("\n")]


def _trimmed(source: Source, line: int, before: list[str], after: list[str]) -> Hunk:
    """Without the lines both sides start or end with."""
    while before and after and before[0] == after[0]:
        del before[0], after[0]
        line += 1
    while before and after and before[-1] == after[-1]:
        del before[-1], after[-1]
    return Hunk(source, line, tuple(before), tuple(after))


def _last(hunk: Hunk) -> int:
    """The largest line number that is shown."""
    return hunk.line + min(max(len(hunk.before), len(hunk.after)), _LINES) - 1


def _side(
    hunk: Hunk, lines: tuple[str, ...], sign: str, digits: int, paint: Paint, width: int
) -> list[str]:
    other = hunk.after if sign == "-" else hunk.before
    style = "removed" if sign == "-" else "added"
    rows: list[str] = []
    for index, line in enumerate(lines[:_LINES]):
        twin = other[index] if index < len(other) else ""
        text, _ = clip(line, [_difference(line, twin)], width - digits - 4)
        lead = gutter(hunk.line + index, digits, sign, paint)
        rows.append(lead + paint(style, text))
    if len(lines) > _LINES:
        rows.append(gutter("", digits, sign, paint) + f"… {len(lines) - _LINES} more lines")
    return rows


def _difference(line: str, twin: str) -> Mark:
    """Where the two part, so that a clipped line shows it."""
    start = _shared(line, twin)
    tail = _shared(line[start:][::-1], twin[start:][::-1])
    return Mark(start, max(start, len(line) - tail), "", True)


def _shared(a: str, b: str) -> int:
    """How many characters the two start with alike."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
