"""A misspelt word of the language is named, and the fix was checked."""

from __future__ import annotations

import pytest

import cnndsl
from cnndsl.diagnostics.apply import edited
from cnndsl.syntax.parser import keywords

NET = "net N: [3, H, W] = "
RIGHT = {
    "net": NET + "relu",
    "block": "block B = relu\n" + NET + "B",
    "def": "def B = relu\n" + NET + "B",
    "emit": NET + "emit x: relu -> emit[train] y: relu -> tanh",
    "where": NET + "relu\n  where H % 2 == 0",
    "assert": NET + "relu\n  assert params <= 1M",
    "if": NET + "if 2 > 1 then relu else tanh",
    "then": NET + "(if 2 > 1 then relu else tanh)",
    "else": NET + "if 2 > 1 then relu else tanh",
    "for": NET + "for i in 1..3 do relu",
    "in": NET + "for i in 1..3 do relu",
    "do": NET + "for i in 1..3 do relu",
    "let": NET + "let x = relu\n  x",
    "with": NET + "with conv(bias=no): conv(3, 3)",
    "again": NET + "a: (relu) -> again a",
    "and": NET + "if 2 > 1 and 3 > 2 then relu",
    "not": NET + "if not 1 > 2 then relu",
    "or": NET + "if 2 > 1 or 3 > 2 then relu",
}
SLIPS = [
    ("nett", "net"), ("ent", "net"), ("blok", "block"), ("defs", "def"), ("emti", "emit"),
    ("emitt", "emit"), ("wheer", "where"), ("asert", "assert"), ("iff", "if"), ("fi", "if"),
    ("than", "then"), ("esle", "else"), ("fro", "for"), ("on", "in"), ("od", "do"),
    ("lett", "let"), ("wiht", "with"), ("agian", "again"), ("adn", "and"), ("nto", "not"),
    ("ro", "or"),
]  # fmt: skip


@pytest.mark.parametrize(("slip", "word"), SLIPS)
def test_a_slip(slip: str, word: str) -> None:
    text = RIGHT[word]
    assert not cnndsl.loads(text).diagnostics
    (found,) = cnndsl.loads(text.replace(f"{word}", slip, 1)).diagnostics
    assert found.code in ("E0101", "E0105")
    assert found.message.endswith(f"did you mean `{word}`?")
    assert found.span is not None and found.span.text == slip
    (fix,) = found.fixes
    assert fix.checked and edited(found.span.source.text, fix.edits) == text


def test_every_slip_is_of_a_word_of_the_language() -> None:
    """And each word but the constants and fields has one; `import` needs a second file."""
    assert keywords() - set(RIGHT) <= {"import", "id", "none", "yes", "no", "oneof", "as"}


@pytest.mark.parametrize("body", ["relu conv(8, 3)", "relu tahn", "relu x", "x = relu", "relu 3"])
def test_other_mistakes_are_none_of_words(body: str) -> None:
    for found in cnndsl.loads(NET + body).diagnostics:
        assert "did you mean" not in found.message or found.code == "E0201"
