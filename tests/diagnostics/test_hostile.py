"""Strings that a stranger wrote: whatever they hold, a report stays lines of visible text."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnndsl.diagnostics import Diagnostic, Edit, Fix, Label
from cnndsl.diagnostics.display import columns, escape
from cnndsl.diagnostics.text import render, render_concise
from cnndsl.source import Source, Span
from tests.diagnostics.places import at

EVIL = "a\x1b[31mb\rc\nd\u202ee\x07f\u200bg\u2028h\ud800i\x9bj"
TAMED = "a\\x1b[31mb\\rc\\nd\\u{202e}e\\x07f\\u{200b}g\\u{2028}h\\u{d800}i\\x9bj"


def test_escape_spells_what_cannot_be_seen() -> None:
    assert escape(EVIL) == TAMED
    assert escape("tab\there") == "tab\\there"
    assert escape("naïve 漢字 שלום") == "naïve 漢字 שלום"
    assert escape("\u0301a") == "\\u{301}a"
    assert escape("a" + "\u0301" * 4) == "a\u0301\u0301\\u{301}\\u{301}"
    assert len(escape("x" * 5_000)) == 1_000


def everywhere(text: str) -> Diagnostic:
    source = Source(text, f'net A: [3, H, W] = "{text}" relu\n')
    label = Label(Span(source, 0, 3), text)
    fix = Fix(text, (Edit(Span(source, 0, 3), text),))
    return Diagnostic(
        text, text, (label, Label(Span(source, 4, 5), text)), (text, text), text, (fix,),
        path=text, trace=(text, text), instances=2,
    )  # fmt: skip


def test_hostile_strings_show_in_every_place() -> None:
    text = render(everywhere(EVIL), width=200)
    assert all(char == "\n" or char.isprintable() for char in text)
    assert text.count("\\u{202e}") >= 10
    assert render_concise(everywhere(EVIL)).isprintable()


def test_hostile_source_lines_keep_their_labels_in_place() -> None:
    source = Source("a.cnn", 'net A: "\x1b[2J\u202e" x\n')
    assert render(Diagnostic("E0111", "no", (Label(at(source, "x"), "here"),))).splitlines()[
        3:
    ] == [
        ' 1 | net A: "\\x1b[2J\\u{202e}" x',
        "   |                          ^ here",
    ]


ODD = st.text(st.sampled_from('ab c\t\r\n\x1b\x00\u202e\u2066\u0301漢🎉\ud800"|`%é'), max_size=90)


@st.composite
def diagnostics(draw: st.DrawFn) -> Diagnostic:
    sources = [Source(draw(ODD), draw(ODD) * draw(st.integers(1, 8))) for _ in range(2)]

    def span() -> Span:
        source = draw(st.sampled_from(sources))
        start = draw(st.integers(0, len(source.text)))
        return Span(source, start, draw(st.integers(start, len(source.text))))

    def several(limit: int) -> range:
        return range(draw(st.integers(0, limit)))

    def edits() -> tuple[Edit, ...]:
        return tuple(Edit(span(), draw(ODD)) for _ in several(3))

    return Diagnostic(
        "E0401", draw(ODD), tuple(Label(span(), draw(ODD)) for _ in several(4)),
        tuple(draw(ODD) for _ in several(2)), draw(ODD),
        tuple(Fix(draw(ODD), edits()) for _ in several(2)),
        path=draw(ODD), trace=tuple(draw(ODD) for _ in several(3)),
    )  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(diagnostics(), st.integers(60, 200))
def test_whatever_it_is_given_it_prints_visible_lines_of_the_width(
    diagnostic: Diagnostic, width: int
) -> None:
    text = render(diagnostic, width=width)
    assert all(char == "\n" or char.isprintable() for char in text)
    for row in text.split("\n"):
        assert columns(row) <= width
        assert row == row.rstrip(" ")
    assert re.sub(r"\x1b\[[0-9;]*m", "", render(diagnostic, width=width, color=True)) == text


@pytest.mark.parametrize("filling", ["x", "漢", "\t", "\x1b"])
def test_a_line_of_a_megabyte_costs_little(filling: str) -> None:
    source = Source("a.cnn", filling * (1 << 20))
    middle = Span(source, 1 << 19, (1 << 19) + 7)
    start = time.perf_counter()
    text = render(Diagnostic("E0110", "no", (Label(middle, "here"),)))
    assert time.perf_counter() - start < 0.5
    assert max(map(columns, text.splitlines())) <= 100 and "here" in text
