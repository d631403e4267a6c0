"""Strings for a terminal: what cannot be seen is spelled out, and widths are known.

A name, a path or a comment in somebody's file must not be able to move the cursor, change
colours, reorder a line or forge another message. So every such string passes ``escape``
(one line of visible text) or ``layout`` (a source line, cell by cell).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Paint = Callable[[str, str], str]
"""``paint(style, text)``: the text, in colours or as it is."""

_TAB = 4
_MARKS = 2  # combining marks one letter may carry; more would draw over the lines around it
_LONGEST = 1_000  # code points of one message part: a report is to be read
_LEAST = 16  # columns that wrapped text gets however long its prefix is
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_STYLES = {
    "error": "1;31", "warning": "1;33", "gutter": "1;34", "other": "1;34", "help": "1;36",
    "bold": "1", "removed": "31", "added": "32",
}  # fmt: skip


def plain(style: str, text: str) -> str:
    return text


def coloured(style: str, text: str) -> str:
    seen = text.rstrip(" ")  # spaces stay outside, so the end of a line can be stripped
    return f"\x1b[{_STYLES[style]}m{seen}\x1b[0m" + text[len(seen) :] if seen else text


def escape(text: str, limit: int = _LONGEST) -> str:
    """``text`` as one line in which every character is visible."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _NAMED.get(char, piece) for char, piece in zip(text, layout(text)[0], strict=True)
    )


def counted(count: int, what: str) -> str:
    """``1 line``, ``12,345 lines``."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def layout(line: str) -> tuple[Sequence[str], Sequence[int]]:
    """What stands for each code point, and the display column where each starts.

    The second sequence has one entry more than the first: the width of the whole line.
    """
    if line.isascii() and line.isprintable():
        return line, range(len(line) + 1)
    pieces: list[str] = []
    starts = [0]
    marks = _MARKS  # a mark with nothing to sit on is spelled out
    for char in line:
        marks = marks + 1 if _is_mark(char) else 0
        piece, width = _cell(char, starts[-1], marks)
        pieces.append(piece)
        starts.append(starts[-1] + width)
    return pieces, starts


def columns(text: str) -> int:
    """The display width of text that is already visible."""
    return layout(text)[1][-1]


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns; a word that is longer is cut."""
    lines = [""]
    for index, word in enumerate(text.split(" ")):
        joined = f"{lines[-1]} {word}" if index else word
        if columns(joined) <= width:
            lines[-1] = joined
        else:
            first, *rest = _cut(word, width)
            lines = [*lines, first, *rest] if lines[-1].strip() else [first, *rest]
    return lines


def hang(prefix: str, text: str, width: int) -> list[str]:
    """``text`` wrapped behind ``prefix``, which the first line starts with."""
    text = text.lstrip(" ")
    lead = columns(prefix)
    indent = min(lead, 8)
    first = wrap(text, max(width - lead, _LEAST))[0]
    rest = text[len(first) :].lstrip(" ")
    lines = [prefix + first]
    if rest:
        lines += [" " * indent + line for line in wrap(rest, max(width - indent, _LEAST))]
    return lines


def hung(prefix: str, style: str, text: str, paint: Paint, width: int) -> list[str]:
    """Wrapped text behind a painted prefix."""
    first, *rest = hang(prefix, text, width)
    visible = prefix.rstrip(" ")
    return [paint(style, visible) + first[len(visible) :], *rest]


def _cut(word: str, width: int) -> list[str]:
    parts = [""]
    for char in word:
        if parts[-1] and columns(parts[-1] + char) > width:
            parts.append("")
        parts[-1] += char
    return parts


def _cell(char: str, column: int, marks: int) -> tuple[str, int]:
    if char == "\t":
        width = _TAB - column % _TAB
        return " " * width, width
    if char.isprintable() and marks <= _MARKS:
        return char, 0 if marks else _width(char)
    piece = _spelled(char)
    return piece, len(piece)


def _spelled(char: str) -> str:
    code = ord(char)
    return _NAMED.get(char) or (f"\\x{code:02x}" if code < 256 else f"\\u{{{code:x}}}")


def _is_mark(char: str) -> bool:
    if char.isascii():
        return False
    from unicodedata import category

    return category(char) in ("Mn", "Me")


def _width(char: str) -> int:
    if char.isascii():
        return 1
    from unicodedata import east_asian_width

    return 2 if east_asian_width(char) in "WF" else 1
