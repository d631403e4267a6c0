"""One pass over the characters: limits, brackets, comments, and where declarations start.

It runs before the parser, so nothing past a limit is ever parsed, and a mistake in one
declaration leaves the others readable.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from cnndsl.diagnostics import Diagnostic
from cnndsl.limits import Limits
from cnndsl.source import Source, Span
from cnndsl.syntax import errors

_TOKEN = re.compile(
    r"""([ \t\r\n]*)
    ( [A-Za-z_][A-Za-z0-9_]*                              # name
    | ->|::|\.\.|[=!<>]=|[-+|*/%^@:,.=<>]                # sign
    | [0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[KMG]?       # number
    | [(\[{] | [)\]}]                                     # open, close
    | \#[^\n]*                                            # comment
    | "[^"\n]*"?                                          # string, or unclosed
    | [^ \t\r\n0-9A-Za-z_"\#()\[\]{}|+*/%^@:,.=<>-]+ )  # other
    """,
    re.VERBOSE,
)
_KINDS = {
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", "name"),
    **dict.fromkeys("0123456789", "number"),
    **dict.fromkeys("-+|*/%^@:,.=<>", "sign"),
    **dict.fromkeys("([{", "open"),
    **dict.fromkeys(")]}", "close"),
    "#": "comment",
    '"': "string",
}
"""By the first character, which tells all but ``!=`` and a string that has no end."""
_CLOSES = {")": "(", "]": "[", "}": "{"}
_EXPONENT = re.compile(r"[eE][+-]?([0-9]+)")
_LARGEST_EXPONENT = 300  # about what a float holds
_STARTERS = frozenset({"import", "block", "def", "net"})


class Token:
    """A word, a sign or a comment. Slots: there is nothing a text makes more of."""

    __slots__ = ("end", "kind", "start", "text")

    def __init__(self, kind: str, start: int, end: int, text: str) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.text = text


class _Kinds(dict[str, tuple[str, bool]]):
    """What kinds of token texts are, each looked into once: a file repeats its words.

    With it comes whether the text is sound; of one that is not sure, each place is examined.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits

    def __missing__(self, text: str) -> tuple[str, bool]:
        kind = "sign" if text == "!=" else _KINDS.get(text[0], "other")
        if kind == "string" and (len(text) == 1 or text[-1] != '"'):
            kind = "unclosed"
        sound = kind not in _EXAMINE
        if kind == "name":
            sound = len(text) <= self.limits.identifier
        elif kind == "number":
            sound = text.isdigit() and len(text) <= self.limits.digits
        self[text] = found = kind, sound
        return found


class Scan(NamedTuple):
    """``chunks``: ranges of tokens, one per declaration that may be parsed; ``unsound``: others."""

    tokens: list[Token]
    comments: list[Token]
    chunks: list[tuple[int, int]]
    unsound: list[tuple[int, int]]
    problems: list[Diagnostic]


class _Findings:
    """The first problems in full, and where the ones that forbid parsing are."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.problems: list[Diagnostic] = []
        self.faults: list[int] = []

    def add(self, problem: Callable[[], Diagnostic]) -> None:
        """Calls for the words only if they will be printed: a bad text has very many."""
        if len(self.problems) < self.limits.printed:
            self.problems.append(problem())

    def examine(self, token: Token) -> None:
        """Adds what is wrong with one token, if anything is."""
        span = Span(self.source, token.start, token.end)
        problem = _EXAMINE[token.kind](span, self.limits)
        if problem:
            self.add(lambda: problem)
            if problem.code != "E0111":  # a hidden character leaves the text readable
                self.faults.append(token.start)

    def any_within(self, start: int, end: int) -> bool:
        return bisect_left(self.faults, start) < bisect_left(self.faults, end)


def scan(source: Source, limits: Limits) -> Scan:
    """Tokens without white space, comments apart, and every problem of this level."""
    too_long = check_size(source, limits)
    if too_long:
        return Scan([], [], [], [], [too_long])
    findings = _Findings(source, limits)
    tokens: list[Token] = []
    comments: list[Token] = []
    kinds = _Kinds(limits)
    end = 0
    for space, text in _TOKEN.findall(source.text):
        start = end + len(space)
        end = start + len(text)
        kind, sound = kinds[text]
        token = Token(kind, start, end, text)
        (comments if kind == "comment" else tokens).append(token)
        if not sound:
            findings.examine(token)
    chunks = _chunks(tokens)
    readable = [_sound(tokens, chunk, findings) for chunk in chunks]
    return Scan(
        tokens,
        comments,
        [chunk for chunk, good in zip(chunks, readable, strict=True) if good],
        [chunk for chunk, good in zip(chunks, readable, strict=True) if not good],
        findings.problems,
    )


def check_size(source: Source, limits: Limits) -> Diagnostic | None:
    """A problem if the text would be too large a file."""
    size = len(source.text.encode("utf-8", "surrogatepass"))
    if size <= limits.file_bytes:
        return None
    return errors.past_limit(Span(source, 0, 0), "bytes in a file", size, limits.file_bytes)


# --- one token --------------------------------------------------------------------------------


def _examine_name(span: Span, limits: Limits) -> Diagnostic | None:
    length = span.end - span.start
    if length > limits.identifier:
        return errors.past_limit(span, "characters in a name", length, limits.identifier)
    return None


def _examine_number(span: Span, limits: Limits) -> Diagnostic | None:
    text = span.text
    digits = sum(c.isdigit() for c in text)
    if digits > limits.digits:
        return errors.past_limit(span, "digits in a number", digits, limits.digits)
    exponent = _EXPONENT.search(text)
    if exponent and int(exponent[1]) > _LARGEST_EXPONENT:
        return errors.past_limit(span, "exponent of a number", int(exponent[1]), _LARGEST_EXPONENT)
    return None


def _examine_text(span: Span, limits: Limits) -> Diagnostic | None:
    length = span.end - span.start
    if length > limits.text:
        return errors.past_limit(span, "characters in a string or comment", length, limits.text)
    return next(_hidden(span), None)


def _examine_unclosed(span: Span, limits: Limits) -> Diagnostic | None:
    return errors.unclosed_string(span)


def _examine_other(span: Span, limits: Limits) -> Diagnostic | None:
    return errors.bad_character(span)


_EXAMINE = {
    "name": _examine_name,
    "number": _examine_number,
    "string": _examine_text,
    "comment": _examine_text,
    "unclosed": _examine_unclosed,
    "other": _examine_other,
}


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


# --- declarations -----------------------------------------------------------------------------


def _chunks(tokens: list[Token]) -> list[tuple[int, int]]:
    """A declaration starts at its keyword and ends before the next one."""
    bounds = [
        i for i, token in enumerate(tokens) if token.text in _STARTERS and not is_label(tokens, i)
    ]
    bounds.append(len(tokens))
    if bounds[0] > 0:
        bounds.insert(0, 0)
    return list(pairwise(bounds))


def is_label(tokens: Sequence[Token], index: int) -> bool:
    """Whether even a word of the language is a label here, or a part of a module's path."""
    before = tokens[index - 1].text if index else ""
    after = tokens[index + 1].text if index + 1 < len(tokens) else ""
    return after in (":", "{") or before in (".", "again")


def _sound(tokens: list[Token], chunk: tuple[int, int], findings: _Findings) -> bool:
    """Whether the chunk may be parsed; problems with its brackets are added."""
    first, last = tokens[chunk[0]], tokens[chunk[1] - 1]
    if findings.any_within(first.start, last.end):
        return False
    if first.text not in _STARTERS:
        findings.add(partial(errors.outside, Span(findings.source, first.start, first.end)))
        return False
    problem = _brackets(tokens[chunk[0] : chunk[1]], findings.source, findings.limits)
    if problem:
        findings.add(problem)
    return problem is None


def _brackets(
    tokens: list[Token], source: Source, limits: Limits
) -> Callable[[], Diagnostic] | None:
    """What is wrong with the brackets of a declaration, in words when called."""
    opened: list[Token] = []
    for token in tokens:
        if token.kind == "open":
            opened.append(token)
            if len(opened) > limits.nesting:
                span = Span(source, token.start, token.end)
                depth = len(opened)
                return partial(errors.past_limit, span, "nested brackets", depth, limits.nesting)
        elif token.kind == "close":
            span = Span(source, token.start, token.end)
            if not opened:
                return partial(errors.stray_bracket, span, None)
            opener = opened.pop()
            if opener.text != _CLOSES[token.text]:
                return partial(errors.stray_bracket, span, Span(source, opener.start, opener.end))
    if opened:
        from cnndsl.syntax.brackets import likely_unclosed

        opener = likely_unclosed(tokens) or opened[-1]
        return partial(errors.unclosed_bracket, Span(source, opener.start, opener.end))
    return None
