"""Spans for the tests: found by the text they cover."""

from cnndsl.source import Source, Span


def at(source: Source, text: str, nth: int = 0) -> Span:
    """The ``nth`` place (from 0) where ``text`` stands in ``source``."""
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))
