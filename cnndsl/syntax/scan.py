"""One pass over the characters: limits, brackets, comments, and where declarations start.

It runs before the parser, so nothing past a limit is ever parsed, and a mistake in one
declaration leaves the others readable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from cnndsl.diagnostics import Diagnostic
from cnndsl.limits import Limits
from cnndsl.source import Source, Span
from cnndsl.syntax import errors

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<comment>\#[^\n]*)
      | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[KMG]?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<string>"[^"\n]*")
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<sign>->|::|\.\.|[=!<>]=|[-+|*/%^@:,.=<>])
      | (?P<unclosed>"[^\n]*)
      | (?P<other>.)""",
    re.VERBOSE,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_STARTERS = frozenset({"import", "block", "def", "net"})


class Token(NamedTuple):
    kind: str
    start: int
    end: int


class Scan(NamedTuple):
    """``chunks``: ranges of tokens, one per declaration, sound ones only."""

    tokens: list[Token]
    comments: list[Token]
    chunks: list[tuple[int, int]]
    problems: list[Diagnostic]


def scan(source: Source, limits: Limits) -> Scan:
    """Tokens without white space, comments apart, and every problem of this level."""
    tokens: list[Token] = []
    comments: list[Token] = []
    problems: list[Diagnostic] = []
    for match in _TOKEN.finditer(source.text):
        kind = match.lastgroup or "other"
        if kind == "space":
            continue
        token = Token(kind, match.start(), match.end())
        (comments if kind == "comment" else tokens).append(token)
        problem = _examine(token, source, limits)
        if problem:
            problems.append(problem)
            if len(problems) >= limits.printed:
                break
    chunks = _chunks(tokens, source)
    sound = [c for c in chunks if _sound(tokens, c, source, limits, problems)]
    return Scan(tokens, comments, sound, problems)


def _examine(token: Token, source: Source, limits: Limits) -> Diagnostic | None:
    span = Span(source, token.start, token.end)
    length = token.end - token.start
    if token.kind == "name" and length > limits.identifier:
        return errors.past_limit(span, "characters in a name", length, limits.identifier)
    if token.kind == "number":
        digits = sum(c.isdigit() for c in span.text)
        if digits > limits.digits:
            return errors.past_limit(span, "digits in a number", digits, limits.digits)
        exponent = re.search(r"[eE][+-]?([0-9]+)", span.text)
        if exponent and int(exponent[1]) > 300:
            return errors.past_limit(span, "exponent of a number", int(exponent[1]), 300)
    if token.kind in ("string", "comment"):
        if length > limits.text:
            return errors.past_limit(span, "characters in a string or comment", length, limits.text)
        return next(_hidden(span), None)
    if token.kind == "unclosed":
        return errors.unclosed_string(span)
    if token.kind == "other":
        return errors.bad_character(span)
    return None


def _hidden(span: Span) -> Iterator[Diagnostic]:
    text = span.text
    if text.isprintable():
        return
    for offset, char in enumerate(text):
        # Cc: control, Cf: direction and other format marks, Cs: lone surrogates
        if char not in "\t\r" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            yield errors.hidden_character(
                Span(span.source, span.start + offset, span.start + offset + 1)
            )
    if "\r" in text.rstrip("\r"):
        at = span.start + text.index("\r")
        yield errors.hidden_character(Span(span.source, at, at + 1))


def _chunks(tokens: list[Token], source: Source) -> list[tuple[int, int]]:
    """A declaration starts at its keyword and ends before the next one."""
    text = source.text
    starts = [
        i for i, t in enumerate(tokens) if t.kind == "name" and text[t.start : t.end] in _STARTERS
    ]
    bounds = [*starts, len(tokens)]
    chunks = [(bounds[i], bounds[i + 1]) for i in range(len(starts))]
    if bounds[0] > 0:
        chunks.insert(0, (0, bounds[0]))
    return chunks


def _sound(
    tokens: list[Token],
    chunk: tuple[int, int],
    source: Source,
    limits: Limits,
    problems: list[Diagnostic],
) -> bool:
    """Whether the chunk may be parsed; problems with its brackets are added."""
    first, last = tokens[chunk[0]], tokens[chunk[1] - 1]
    broken = any(
        p.span and first.start <= p.span.start < last.end for p in problems if p.code != "E0111"
    )
    if broken:
        return False
    if source.text[first.start : first.end] not in _STARTERS:
        problems.append(errors.outside(Span(source, first.start, first.end)))
        return False
    problem = _brackets(tokens[chunk[0] : chunk[1]], source, limits)
    if problem:
        problems.append(problem)
    return problem is None


def _brackets(tokens: list[Token], source: Source, limits: Limits) -> Diagnostic | None:
    opened: list[Token] = []
    for token in tokens:
        if token.kind == "open":
            opened.append(token)
            if len(opened) > limits.nesting:
                span = Span(source, token.start, token.end)
                return errors.past_limit(span, "nested brackets", len(opened), limits.nesting)
        elif token.kind == "close":
            span = Span(source, token.start, token.end)
            if not opened:
                return errors.stray_bracket(span, None)
            opener = Span(source, *opened.pop()[1:])
            if opener.text != _CLOSES[span.text]:
                return errors.stray_bracket(span, opener)
    if opened:
        return errors.unclosed_bracket(Span(source, opened[-1].start, opened[-1].end))
    return None
