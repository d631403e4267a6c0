"""Each bound on text has a code, and is found at once."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source
from cnndsl.syntax.parser import parse

SECONDS = 0.05
PAST = {
    "nesting": ("E0110", "def f = " + "(" * 65 + "a" + ")" * 65),
    "nesting of lists": ("E0110", "def f = " + "[" * 65 + "a" + "]" * 65),
    "nesting without brackets": ("E0110", "def f = " + "if a then " * 200 + "b"),
    "signs before a number": ("E0110", "def f = " + "- " * 200 + "a"),
    "binary signs": ("E0110", "def f = a" + " - a" * 200),
    "identifier": ("E0110", f"def {'x' * 65} = a"),
    "string": ("E0110", f'def f = "{"x" * 1_023}" a'),
    "comment": ("E0110", f"#{'x' * 1_024}\ndef f = a"),
    "digits": ("E0110", "def f = 1234567890123"),
    "digits behind the point": ("E0110", "def f = 0.123456789012"),
    "exponent": ("E0110", "def f = 1e301"),
    "exponent with a sign": ("E0110", "def f = 1e-301"),
    "file": ("E0110", "#\n" * (1 << 19) + "#"),
    "file of wide characters": ("E0110", "# é\n" * 220_000),
    "control character in a comment": ("E0111", "# \x1b[31m\ndef f = a"),
    "character of direction in a comment": ("E0111", "# \u202e\ndef f = a"),
    "lone carriage return in a comment": ("E0111", "# a\rdef g = b\ndef f = a"),
    "no width in a string": ("E0111", 'def f = "\u200b" a'),
    "line separator in a string": ("E0111", 'def f = "\u2028" a'),
    "half a character": ("E0111", "# \ud800\ndef f = a"),
    "control character between tokens": ("E0102", "def f = a \x00 b"),
    "letters of other scripts": ("E0102", "def f = \u0430"),
    "digits of other scripts": ("E0102", "def f = \u0661"),
    "spaces of other kinds": ("E0102", "def f =\u00a0a"),
}
WITHIN = {
    "nesting": "def f = " + "(" * 63 + "a" + ")" * 63,
    "binary signs": "def f = a" + " - a" * 180,
    "chain": "def f = a" + " -> a" * 5_000,
    "join": "def f = a" + " + a" * 5_000,
    "identifier": f"def {'x' * 64} = a",
    "string": f'def f = "{"x" * 1_022}" a',
    "comment": f"#{'x' * 1_023}\ndef f = a",
    "digits": "def f = 123456789012",
    "exponent": "def f = 1e300",
    "wide characters": "# é ✓ 漢字 🙂\ndef f = a",
}


@pytest.mark.parametrize("what", PAST)
def test_past_a_limit(what: str) -> None:
    code, text = PAST[what]
    parse(Source("warm", "def f = a"))
    source = Source("text", text)
    started = time.process_time()
    _, problems = parse(source)
    taken = time.process_time() - started
    assert [p.code for p in problems] == [code]
    assert taken < SECONDS
    assert format_source(source)[0] is None


@pytest.mark.parametrize("what", WITHIN)
def test_within_a_limit(what: str) -> None:
    _, problems = parse(Source("text", WITHIN[what]))
    assert not [p.message for p in problems]


def test_limits_can_be_raised() -> None:
    text = "def f = " + "(" * 100 + "x" * 100 + ")" * 100
    raised = replace(DEFAULT_LIMITS, nesting=100, identifier=100)
    assert parse(Source("text", text))[1]
    assert not parse(Source("text", text), raised)[1]
    formatted, problems = format_source(Source("text", text), raised)
    assert formatted is not None, problems


def test_no_depth_exhausts_the_stack() -> None:
    raised = replace(DEFAULT_LIMITS, nesting=2_000, file_bytes=1 << 24)
    for opening, closing in [("(", ")"), ("if a then ", ""), ("- ", ""), ("f(x: ", ")")]:
        source = Source("text", "def f = " + opening * 1_500 + "a" + closing * 1_500)
        formatted, problems = format_source(source, raised)
        assert not problems
        assert formatted is not None


@pytest.mark.parametrize("text", ["def ", "$ ", "def f = = ", "def f = a ] ", '"\n', "( ", "\x00"])
def test_problems_are_counted_not_collected(text: str) -> None:
    """However bad a long text is, it costs little and gives no more than can be printed."""
    started = time.process_time()
    _, problems = parse(Source("text", text * 30_000))
    assert 1 <= len(problems) <= DEFAULT_LIMITS.printed
    assert time.process_time() - started < 3


def test_time_grows_with_length() -> None:
    """Four times the text takes about four times as long; noise is given a factor of two."""
    for unit in ["def f = a -> b\n", "-> a ", "+ a ", "* a / b ", ", a", "# c\n"]:
        for _ in range(3):  # other work on the machine only adds: once is enough to see it
            short, long = _time(unit, 2_000), _time(unit, 8_000)
            if long < 10 * short + 0.1:
                break
        assert long < 10 * short + 0.1, unit


def _time(unit: str, count: int) -> float:
    body = unit * (count if unit[0] in "d#" else 80)
    text = body if unit[0] in "d#" else f"def f = g(a {body})\n" * (count // 80)
    started = time.process_time()
    formatted, problems = format_source(Source("text", text))
    assert formatted is not None, problems
    return time.process_time() - started
