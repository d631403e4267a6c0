"""One layout for every text. Tokens and comments are moved, never made, dropped or changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from cnndsl.diagnostics import Diagnostic, Label
from cnndsl.limits import DEFAULT_LIMITS, Limits, Stopwatch
from cnndsl.source import Source, Span
from cnndsl.syntax import ast
from cnndsl.syntax.heads import in_order, lay_out
from cnndsl.syntax.page import INDENT, Page
from cnndsl.syntax.parser import parse_scanned
from cnndsl.syntax.scan import Scan, Token, check_size, scan
from cnndsl.syntax.spacing import Tokens, spaces


class FormatterError(Exception):
    """The formatter would have changed more than layout: a defect of ours, not of the text."""


class Comment(NamedTuple):
    """``own``: on a line of its own. ``apart``: after an empty line."""

    text: str
    own: bool
    apart: bool


class Gap(NamedTuple):
    """What is between a token and the one before it. ``apart``: an empty line comes last."""

    comments: tuple[Comment, ...]
    apart: bool


_PLAIN = (Gap((), False), Gap((), True))  # most gaps; shared, for files are long


def format_source(
    source: Source, limits: Limits = DEFAULT_LIMITS
) -> tuple[str | None, list[Diagnostic]]:
    """The text in the language's layout, or None and the reasons why it does not parse.

    Formatting a second time changes nothing.
    """
    with (watch := Stopwatch(limits.seconds)):
        scanned = scan(source, limits)
        module, problems = parse_scanned(source, scanned, limits, watch)
    return (None, problems) if problems else format_parsed(source, scanned, module, limits)


def format_parsed(
    source: Source, scanned: Scan, module: ast.Module, limits: Limits = DEFAULT_LIMITS
) -> tuple[str | None, list[Diagnostic]]:
    """``format_source`` for a caller that has the tokens and the tree; the text must parse."""
    gaps = list(_gaps(source.text, scanned))
    tokens = Tokens(scanned.tokens)
    declarations = list(in_order(module))
    page = Page(tokens, spaces(tokens, [*declarations]), [bool(gap.comments) for gap in gaps])
    long = [lay_out(page, declaration) for declaration in declarations]
    firsts = [tokens.first(declaration) for declaration in declarations]
    text = _render(page, gaps, dict(zip(firsts, _apart(long), strict=True)))
    grown = check_size(Source(source.name, text), limits)
    if grown:
        return None, [replace(grown, labels=(Label(Span(source, 0, 0), "once formatted"),))]
    if text != source.text:
        _check(source, text, scanned, gaps, limits)
    return text, []


def _apart(long: list[bool]) -> Iterator[_Apart]:
    """Before each declaration: long ones stand apart, short ones as their author had them."""
    for before, after in pairwise([False, *long]):
        yield _Apart.ALWAYS if before or after else _Apart.AS_WRITTEN


# --- comments -----------------------------------------------------------------------------------


def _gaps(text: str, scanned: Scan) -> Iterator[Gap]:
    """The gap before each token, and the one before the end."""
    comments = iter([*scanned.comments, Token("end", len(text) + 1, len(text) + 1, "")])
    comment = next(comments)
    end = 0
    for token in [*scanned.tokens, Token("end", len(text), len(text), "")]:
        held: list[Comment] = []
        while comment.start < token.start:
            lines = text.count("\n", end, comment.start)
            held.append(Comment(comment.text.rstrip(), lines > 0 or end == 0, lines > 1))
            end = comment.end
            comment = next(comments)
        apart = token.start - end > 1 and text.count("\n", end, token.start) > 1
        yield Gap(tuple(held), apart) if held else _PLAIN[apart]
        end = token.end


# --- lines --------------------------------------------------------------------------------------


class _Apart(IntEnum):
    """Whether an empty line comes before what starts a line."""

    NEVER = 0
    AS_WRITTEN = 1
    ALWAYS = 2


class _Lines:
    """The text as it grows. ``indent`` is that of the line at hand."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.indent = 0

    def word(self, text: str, space: int) -> None:
        self.pieces.append(" " * space + text)

    def start(self, text: str, gap: Gap, indent: int, apart: _Apart) -> None:
        """A token on a new line, behind the comments of its gap."""
        if self.comments(gap, indent, apart) and apart is _Apart.ALWAYS:
            apart = _Apart.AS_WRITTEN  # the comments have had the empty line
        self._line(text, indent, apart, gap.apart)
        self.indent = indent

    def comments(self, gap: Gap, indent: int, apart: _Apart) -> bool:
        """The comments of a gap; whether any has a line of its own."""
        found = False
        for comment in gap.comments:
            if comment.own:
                one = _Apart.AS_WRITTEN if found and apart else apart
                self._line(comment.text, indent, one, comment.apart)
                found = True
            else:
                self.word(comment.text, 2)
        return found

    def _line(self, text: str, indent: int, apart: _Apart, written: bool) -> None:
        if self.pieces:
            empty = apart is _Apart.ALWAYS or (apart is _Apart.AS_WRITTEN and written)
            self.pieces.append("\n\n" if empty else "\n")
        self.pieces.append(" " * indent + text)


def _render(page: Page, gaps: list[Gap], declared: dict[int, _Apart]) -> str:
    lines = _Lines()
    for index, token in enumerate(page.tokens.all):
        gap = gaps[index]
        if index in declared:
            lines.start(token.text, gap, 0, declared[index])
        elif index in page.breaks:
            apart = _Apart.AS_WRITTEN if index in page.parts else _Apart.NEVER
            lines.start(token.text, gap, page.breaks[index], apart)
        elif gap.comments:  # no layout expects a comment here: the line goes on below, further in
            indent = lines.indent
            lines.start(token.text, gap, indent + 2 * INDENT, _Apart.NEVER)
            lines.indent = indent
        else:
            lines.word(token.text, page.spaces[index])
    lines.comments(gaps[-1], 0, _Apart.AS_WRITTEN)
    return "".join([*lines.pieces, "\n"]) if lines.pieces else ""


# --- self-check ---------------------------------------------------------------------------------


def _check(source: Source, text: str, before: Scan, gaps: list[Gap], limits: Limits) -> None:
    """The result must hold the same tokens and comments in the same order and places.

    The tree depends on nothing but the tokens, so it is the same too.
    """
    after = scan(Source(source.name, text), limits)
    same_tokens = [t.text for t in before.tokens] == [t.text for t in after.tokens]
    if not same_tokens or _remarks(_gaps(text, after)) != _remarks(gaps):
        raise FormatterError(f"formatting {source.name} would have changed it; nothing was written")


def _remarks(gaps: Iterable[Gap]) -> list[tuple[int, str, bool]]:
    """The comments and where they stand: before which token, and whether on their own line."""
    return [(i, c.text, c.own) for i, gap in enumerate(gaps) for c in gap.comments]
