"""Laws of parsing and formatting, on thousands of random programs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import pytest

from cnndsl.compiler import loads
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.source import Source
from cnndsl.syntax import ast, formatter
from cnndsl.syntax.formatter import FormatterError, format_parsed, format_source
from cnndsl.syntax.parser import parse_scanned
from cnndsl.syntax.scan import Scan, scan
from tests.generate import join, random_network, random_text

PROGRAMS, BATCH = 5_000, 500
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").rglob("*.cnn"))


class Reading(NamedTuple):
    """A text without problems, read once for all the laws that are about it."""

    source: Source
    scanned: Scan
    module: ast.Module

    @property
    def comments(self) -> list[str]:
        return [token.text.rstrip() for token in self.scanned.comments]

    def laid_out(self) -> str:
        formatted, problems = format_parsed(*self)
        assert formatted is not None, [p.message for p in problems]
        return formatted


def read(text: str) -> Reading:
    source = Source("text", text)
    scanned = scan(source, DEFAULT_LIMITS)
    module, problems = parse_scanned(source, scanned, DEFAULT_LIMITS)
    assert not problems, [p.message for p in problems]
    return Reading(source, scanned, module)


def laid_out(text: str) -> str:
    formatted, problems = format_source(Source("text", text))
    assert formatted is not None, [p.message for p in problems]
    return formatted


def check(text: str) -> None:
    """The layout is its own layout, and keeps the tree and the comments."""
    before = read(text)
    after = read(before.laid_out())
    assert after.laid_out() == after.source.text
    assert after.module == before.module
    assert after.comments == before.comments


@pytest.mark.parametrize("first", range(0, PROGRAMS, BATCH))
def test_random_texts(first: int) -> None:
    for seed in range(first, first + BATCH):
        check(random_text(seed))


def test_random_networks() -> None:
    for seed in range(100):
        check(random_network(seed))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    check(path.read_text(encoding="utf-8"))


def test_layout_depends_on_tokens_alone() -> None:
    """White space between tokens, even none, changes nothing but the author's empty lines."""
    rng = random.Random(0)
    for path in EXAMPLES:
        code = path.read_text(encoding="utf-8")
        words = [token.text for token in scan(Source("", code), DEFAULT_LIMITS).tokens]
        one, two = (laid_out(join(words, rng)) for _ in range(2))
        assert one.replace("\n\n", "\n") == two.replace("\n\n", "\n")


def test_random_texts_reach_every_node() -> None:
    kinds = {
        type(node)
        for seed in range(200)
        for module in [read(random_text(seed)).module]
        for node in ast.walk(*module.imports, *module.declarations)
    }
    nodes = {kind for kind in vars(ast).values() if isinstance(kind, type)}
    abstract = {ast.Node, ast.Expr}
    assert {kind for kind in nodes if issubclass(kind, ast.Node)} - abstract == kinds


def test_random_networks_have_no_errors() -> None:
    for seed in range(200):
        program = loads(random_network(seed))
        found = [*program.diagnostics, *program.net("Net").diagnostics]
        assert not [d.message for d in found if d.severity == "error"], seed


def test_line_ends_become_one_kind() -> None:
    assert laid_out("def a = b\r\n\r\n# c\r\n  def d = e # f\r\n\r\n") == (
        "def a = b\n\n# c\ndef d = e  # f\n"
    )


@pytest.mark.parametrize("text", ["", "\n\n", "  \t\r\n"])
def test_nothing_stays_nothing(text: str) -> None:
    assert laid_out(text) == ""


def test_lines_keep_to_the_width() -> None:
    for path in EXAMPLES:
        for line in laid_out(path.read_text(encoding="utf-8")).splitlines():
            assert len(line.partition("#")[0].rstrip()) <= 88, line


def test_texts_with_mistakes_are_not_touched() -> None:
    formatted, problems = format_source(Source("text", "def f = a\ndef g = b c"))
    assert formatted is None
    assert [p.code for p in problems] == ["E0101"]


def test_layout_that_would_be_too_large_a_file_is_refused() -> None:
    text = "def f = " + "(" * 60 + "a#\n" * 1 + "".join("-> a#\n" for _ in range(9_000)) + ")" * 60
    formatted, problems = format_source(Source("text", text))
    assert formatted is None
    assert [p.code for p in problems] == ["E0110"]


@pytest.mark.parametrize(
    ("part", "instead"),
    [("relu", "sigmoid"), ("# why", "# how"), ("  # why", "\n# why"), ("b", "")],
)
def test_a_formatter_that_changes_more_than_layout_is_stopped(
    part: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = formatter._render
    monkeypatch.setattr(formatter, "_render", lambda *a: render(*a).replace(part, instead))
    with pytest.raises(FormatterError):
        format_source(Source("text", "def f=relu->b # why\n"))
