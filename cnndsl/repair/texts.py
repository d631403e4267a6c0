"""Changes that may let a text be read: a sign, a bracket, a look-alike character."""

from __future__ import annotations

from collections.abc import Iterator

from cnndsl.diagnostics import Diagnostic, Edit, Fix
from cnndsl.source import Span

_LOOK_ALIKES = {
    "\u2192": "->", "\u27f6": "->", "\u2794": "->", "\u21d2": "->",
    "\u2212": "-", "\u2013": "-", "\u2014": "-",
    "\u00d7": "*", "\u00b7": "*", "\u2217": "*",
    "\u2295": "+",
    "\u2223": "|",
    "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u2265": ">=",
    "\u2264": "<=",
    "\u2260": "!=",
    "\u00f7": "/",
    ";": "",
    "\u00a0": " ",
    "\uff0c": ",",
    "\uff08": "(",
    "\uff09": ")",
    "\uff1a": ":",
    "\uff1d": "=",
    "!": "not ",
    "&&": "and", "&": "and",
}  # fmt: skip
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


def mend_syntax(diagnostic: Diagnostic) -> Iterator[Fix]:
    """What the place of a syntax error suggests."""
    span = diagnostic.span
    if span is None:
        return
    if diagnostic.code == "E0101":
        for label in reversed(diagnostic.labels):
            yield from _unexpected(label.span)
    elif diagnostic.code == "E0102" and span.text in _LOOK_ALIKES:
        sign = _LOOK_ALIKES[span.text]
        title = f"write `{sign}`" if sign else f"leave `{span.text}` out"
        yield Fix(title, (Edit(span, sign),))
    elif diagnostic.code == "E0103":
        end = span.start + len(span.text.rstrip())
        yield Fix('close it with `"`', (Edit(Span(span.source, end, end), '"'),))
    elif diagnostic.code == "E0104" and span.text in _CLOSERS:
        yield from _close(span)
    elif diagnostic.code == "E0104" and len(diagnostic.labels) > 1:
        closer = _CLOSERS.get(diagnostic.labels[1].span.text, "")
        yield Fix(f"write `{closer}`", (Edit(span, closer),))
    elif diagnostic.code == "E0111":
        yield Fix("leave the hidden character out", (Edit(span, ""),))


def _unexpected(span: Span) -> Iterator[Fix]:
    """A sign that is missing between two steps, or a token too many."""
    source, start = span.source, span.start
    if span.text == "=":
        yield Fix("compare with `==`", (Edit(span, "=="),))
        yield Fix("label with `:`", (Edit(span, ":"),))
    if span.text.strip('"').isidentifier() and span.text.startswith('"'):
        yield Fix("leave the quotes out", (Edit(span, span.text.strip('"')),))
    here = Span(source, start, start)
    yield Fix("put `->` between them", (Edit(here, "-> "),))
    inside = source.text.count("(", 0, start) > source.text.count(")", 0, start)
    if inside:
        before = len(source.text[:start].rstrip())
        yield Fix("put `,` between them", (Edit(Span(source, before, before), ","),))
    if span.text == "else":
        then = source.text.rfind("then ", 0, start) + len("then ")
        end = len(source.text[:start].rstrip())
        edits = (Edit(Span(source, then, then), "("), Edit(Span(source, end, end), ")"))
        yield Fix("put the branch in parentheses", edits)
    if span.text and not span.text[0].isalnum():
        yield Fix(f"leave `{span.text}` out", (Edit(span, ""),))


def _close(span: Span) -> Iterator[Fix]:
    """The bracket is closed before the next step, or at the end of its line or text."""
    source, closer = span.source, _CLOSERS[span.text]
    text = source.text
    step = text.find(" ->", span.end)
    if step >= 0:
        yield Fix(f"close it with `{closer}`", (Edit(Span(source, step, step), closer),))
    for end in (text.find("\n", span.end), text.find("\n\n", span.end), len(text)):
        if end >= 0:
            code = text[span.end : end].split("#")[0].rstrip()
            at = span.end + len(code) if "\n" not in text[span.end : end] else end
            yield Fix(f"close it with `{closer}`", (Edit(Span(source, at, at), closer),))
