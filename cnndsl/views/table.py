"""A table of text cells as plain text, Markdown, LaTeX or CSV. Every cell is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cnndsl.diagnostics.display import columns, escape


class Column(NamedTuple):
    title: str
    number: bool = False
    """Aligned to the right."""


class Line(NamedTuple):
    """One row. ``below``: remarks shown under it where the format has room for them."""

    cells: tuple[str, ...]
    indent: int = 0
    below: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    lines: list[Line] = field(default_factory=list)
    notes: tuple[str, ...] = ()


_WIDEST = 44  # columns of one cell of the plain form
_GAP = "  "


def to_text(table: Table) -> str:
    """For a terminal: aligned columns, names indented by depth."""
    rows = [tuple(column.title for column in table.columns)]
    rows += [
        ("  " * line.indent + _short(line.cells[0]), *map(_short, line.cells[1:]))
        for line in table.lines
    ]
    widths = [max(columns(row[i]) for row in rows) for i in range(len(table.columns))]
    shown = [_aligned(row, widths, table.columns) for row in rows]
    rule = "-" * max(map(columns, shown))
    out = [escape(table.title), "", shown[0], rule]
    for text, line in zip(shown[1:], table.lines, strict=True):
        out.append(text)
        lead = "  " * (line.indent + 2)
        wide = max((len(name) for name, _ in line.below), default=0)
        out += [f"{lead}{name:<{wide}}  {escape(value)}" for name, value in line.below]
    return "\n".join([*out, rule, *map(escape, table.notes)]) + "\n"


def to_markdown(table: Table) -> str:
    flat = _flat(table)
    rules = ("---:" if column.number else "---" for column in flat.columns)
    rows = ["| " + " | ".join(_markdown(column.title) for column in flat.columns) + " |"]
    rows.append("| " + " | ".join(rules) + " |")
    for line in flat.lines:
        lead = "&nbsp;&nbsp;" * line.indent
        rows.append("| " + lead + " | ".join(map(_markdown, line.cells)) + " |")
    notes = [_markdown(note) for note in flat.notes]
    return "\n\n".join([f"**{_markdown(flat.title)}**", "\n".join(rows), *notes]) + "\n"


def to_latex(table: Table) -> str:
    """A ``tabular`` that needs no package."""
    flat = _flat(table)
    kinds = "".join("r" if column.number else "l" for column in flat.columns)
    rows = [rf"% {_comment(flat.title)}", rf"\begin{{tabular}}{{{kinds}}}", r"\hline"]
    rows += [" & ".join(_latex(column.title) for column in flat.columns) + r" \\", r"\hline"]
    for line in flat.lines:
        lead = r"\quad " * line.indent
        rows.append(lead + " & ".join(map(_latex, line.cells)) + r" \\")
    rows += [r"\hline", r"\end{tabular}"]
    return "\n".join([*rows, *(f"% {_comment(note)}" for note in flat.notes)]) + "\n"


def to_csv(table: Table) -> str:
    """Bare numbers, for a spreadsheet; title and notes are left out."""
    import csv
    import io

    flat = _flat(table)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.title for column in flat.columns])
    for line in flat.lines:
        cells = zip(flat.columns, line.cells, strict=True)
        writer.writerow([_bare(cell) if column.number else _inert(cell) for column, cell in cells])
    return out.getvalue()


FORMATS = {"text": to_text, "markdown": to_markdown, "latex": to_latex, "csv": to_csv}


def _flat(table: Table) -> Table:
    """Remarks as further columns."""
    names = list(dict.fromkeys(name for line in table.lines for name, _ in line.below))
    if not names:
        return table
    lines = []
    for line in table.lines:
        said = dict(line.below)
        more = tuple(said.get(name, "") for name in names)
        lines.append(Line((*line.cells, *more), line.indent))
    heads = (*table.columns, *(Column(f"{name} formula") for name in names))
    return Table(table.title, heads, lines, table.notes)


def _aligned(row: Sequence[str], widths: Sequence[int], heads: Sequence[Column]) -> str:
    cells = []
    for text, width, head in zip(row, widths, heads, strict=True):
        space = " " * (width - columns(text))
        cells.append(space + text if head.number else text + space)
    return _GAP.join(cells).rstrip(" ")


def _short(text: str) -> str:
    return escape(text, _WIDEST)


def _markdown(text: str) -> str:
    special = str.maketrans({char: "\\" + char for char in "\\`*_{}[]<>#|~!&$"})
    return escape(text).translate(special)


_TEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{char: "\\" + char for char in "&%$#_{}"},
}  # fmt: skip


def _latex(text: str) -> str:
    return escape(text).translate(str.maketrans(_TEX))


def _comment(text: str) -> str:
    return escape(text)  # one line, so it cannot leave the comment


def _bare(text: str) -> str:
    return text.replace(",", "")


def _inert(text: str) -> str:
    """A spreadsheet runs a cell that starts like a formula."""
    text = escape(text)
    return "'" + text if text[:1] in "=+-@" and text else text
