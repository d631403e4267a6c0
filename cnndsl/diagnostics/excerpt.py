"""The lines of source a diagnostic points at, with its labels drawn under them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cnndsl.diagnostics.display import Paint, columns, escape, hung, layout, wrap
from cnndsl.diagnostics.model import Label
from cnndsl.source import Source

_CONTEXT = 24  # columns kept to the left of a label when its line is cut
_ROOM = 30  # columns a remark gets at least


class Mark(NamedTuple):
    """One label on one line; columns from 0, in code points, then in display columns."""

    start: int
    end: int
    text: str
    primary: bool


class Remark(NamedTuple):
    """A remark that stands below its underline."""

    column: int
    text: str
    style: str


def number_width(labels: Iterable[Label]) -> int:
    return max(
        (len(str(label.span.source.position(label.span.end)[0])) for label in labels), default=1
    )


def excerpts(labels: Sequence[Label], style: str, paint: Paint, width: int) -> list[str]:
    """Every labelled line, file by file; the first label is the primary one, in ``style``."""
    digits = number_width(labels)
    files: dict[Source, dict[int, list[Mark]]] = {}
    for index, label in enumerate(labels):
        lines = files.setdefault(label.span.source, {})
        for number, mark in _marks(label, index == 0):
            lines.setdefault(number, []).append(mark)
    rows: list[str] = []
    for index, (source, lines) in enumerate(files.items()):
        if index:
            first = min(lines)
            place = f"{escape(source.name)}:{first}:{min(m.start for m in lines[first]) + 1}"
            rows += hung(" " * (digits + 1) + "::: ", "gutter", place, paint, width)
        rows.append(_bar(digits, paint))
        rows += _file(source, lines, digits, style, paint, width)
    return rows


def gutter(number: object, digits: int, sign: str, paint: Paint) -> str:
    return paint("gutter", f" {number!s:>{digits}} {sign}") + " "


def clip(line: str, marks: Sequence[Mark], width: int) -> tuple[str, list[Mark]]:
    """``line`` made visible, cut to ``width`` columns around its marks, and the marks on it."""
    line, marks, before, behind = _near(line, marks, width)
    pieces, starts = layout(line)
    end = len(pieces)
    marks = [
        m._replace(start=starts[min(m.start, end)], end=starts[min(m.end, end)]) for m in marks
    ]
    first, after = _visible(starts, marks, width - before - behind)
    before, behind = before or first > 0, behind or after < end
    text = "…" * before + "".join(pieces[first:after]) + "…" * behind
    shift = before - starts[first]
    high = shift + starts[after] + behind
    return text, [_moved(m, shift, high - behind, high) for m in marks]


def _marks(label: Label, primary: bool) -> Iterable[tuple[int, Mark]]:
    """A label of several lines marks its first and its last; the remark is at the last."""
    source, start, end = label.span
    first, column = source.position(start)
    last, stop = source.position(end)
    if last > first and stop == 1:  # it ends with a line break
        last, stop = last - 1, len(source.line(last - 1)) + 1
    if last == first:
        yield first, Mark(column - 1, stop - 1, label.text, primary)
        return
    yield first, Mark(column - 1, len(source.line(first)), "", primary)
    text = source.line(last)
    indent = len(text) - len(text.lstrip())
    yield last, Mark(min(indent, stop - 1), stop - 1, label.text, primary)


def _file(
    source: Source, lines: dict[int, list[Mark]], digits: int, style: str, paint: Paint, width: int
) -> list[str]:
    rows: list[str] = []
    room = width - digits - 4
    previous = None
    for number in sorted(lines):
        if previous is not None and number == previous + 2:
            between, _ = clip(source.line(previous + 1), (), room)
            rows.append(gutter(previous + 1, digits, "|", paint) + between)
        elif previous is not None and number > previous + 2:
            rows.append(paint("gutter", "..."))
        text, marks = clip(source.line(number), lines[number], room)
        rows.append(gutter(number, digits, "|", paint) + text)
        bar = _bar(digits, paint)
        rows += [bar + row for row in _under(marks, style, paint, room)]
        previous = number
    return rows


def _bar(digits: int, paint: Paint) -> str:
    return gutter("", digits, "|", paint)


def _near(line: str, marks: Sequence[Mark], width: int) -> tuple[str, list[Mark], bool, bool]:
    """The part of a very long line worth laying out, so a line of a megabyte costs nothing."""
    if len(line) <= 4 * width:
        return line, list(marks), False, False
    focus = _focus(marks)
    low = max(0, focus - width)
    high = min(len(line), focus + 3 * width)
    moved = [
        m._replace(start=max(0, min(m.start, high) - low), end=max(0, min(m.end, high) - low))
        for m in marks
    ]
    return line[low:high], moved, low > 0, high < len(line)


def _focus(marks: Sequence[Mark]) -> int:
    """Where to look: at the primary mark, or else at the first."""
    return min(((not m.primary, m.start) for m in marks), default=(True, 0))[1]


def _visible(starts: Sequence[int], marks: Sequence[Mark], width: int) -> tuple[int, int]:
    """The range of cells to show when ``width`` columns are free."""
    end = len(starts) - 1
    if starts[end] <= width:
        return 0, end
    left = min((m.start for m in marks), default=0)
    right = max((m.end for m in marks), default=0)
    if right - left > width - 4:  # not all of them fit
        left = right = _focus(marks)
    context = min(_CONTEXT, max(0, (width - right + left) // 2 - 2))
    low = 0 if right <= width - 2 else max(0, min(left - context, starts[end] - width + 2))
    first = bisect_left(starts, low)
    return first, max(first, bisect_right(starts, starts[first] + width - 2) - 1)


def _moved(mark: Mark, shift: int, last: int, end: int) -> Mark:
    """The mark on the cut line; what lies outside is drawn at the nearer edge."""
    start = max(0, min(mark.start + shift, last))
    return mark._replace(start=start, end=max(start + 1, min(mark.end + shift, end)))


def _under(marks: list[Mark], style: str, paint: Paint, room: int) -> list[str]:
    """The underlines, then the remarks from right to left."""
    ordered = sorted(marks, key=lambda m: (m.start, m.primary, m.end))
    inline = _inline(ordered, room)
    length = max(m.end for m in ordered)
    signs, styles = [" "] * length, [""] * length
    for mark in sorted(ordered, key=lambda m: (m.primary, m.start - m.end)):
        for column in range(mark.start, mark.end):
            signs[column] = "^" if mark.primary else "-"
            styles[column] = style if mark.primary else "other"
    row = _painted(signs, styles, paint)
    if inline:
        row += " " + paint(style if inline.primary else "other", escape(inline.text))
    remarks = [
        Remark(m.start, escape(m.text), style if m.primary else "other")
        for m in reversed(ordered)
        if m.text and m is not inline
    ]
    return [row, *_hanging(remarks, paint, room)]


def _inline(ordered: list[Mark], room: int) -> Mark | None:
    """The remark that fits behind the underlines: the rightmost one's, if nothing follows it."""
    spoken = [m for m in ordered if m.text]
    if not spoken:
        return None
    mark = spoken[-1]
    if mark.end < max(m.end for m in ordered):
        return None
    return mark if mark.end + 1 + columns(escape(mark.text)) <= room else None


def _hanging(remarks: list[Remark], paint: Paint, room: int) -> list[str]:
    if not remarks:
        return []
    rows = [_stems(remarks, room, paint)]
    for index, remark in enumerate(remarks):
        wanted = min(columns(remark.text), max(room - remark.column, _ROOM))
        column = max(0, min(remark.column, room - wanted))
        lead = _stems(remarks[index + 1 :], column, paint)
        for line in wrap(remark.text, max(room - column, 1)):
            rows.append(lead + paint(remark.style, line))
    return rows


def _stems(remarks: Sequence[Remark], width: int, paint: Paint) -> str:
    """``width`` columns with a ``|`` under every remark still to come."""
    styles = {r.column: r.style for r in reversed(remarks)}
    return _painted(
        ["|" if column in styles else " " for column in range(width)],
        [styles.get(column, "") for column in range(width)],
        paint,
    )


def _painted(signs: list[str], styles: list[str], paint: Paint) -> str:
    """Runs of one style in one colour change."""
    row, start = "", 0
    for index in range(1, len(signs) + 1):
        if index == len(signs) or styles[index] != styles[start]:
            run = "".join(signs[start:index])
            row += paint(styles[start], run) if styles[start] else run
            start = index
    return row
