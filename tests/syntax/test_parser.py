"""What the parser says about mistakes, and that one leaves the others' declarations readable."""

from __future__ import annotations

import pytest

from cnndsl.source import Source
from cnndsl.syntax import ast
from cnndsl.syntax.parser import parse
from tests.generate import random_text

MISTAKES = {
    "def f = a b": ("E0101", "expected `->` or another sign or `,`, found `b`"),
    "def f = conv(3 a=3)": ("E0101", "expected `->` or another sign or `,` or `)`, found `a`"),
    "def f = for i in 1..3 f": ("E0101", "expected `->` or another sign or `do`, found `f`"),
    "def f = if a -> b": ("E0101", "found the end of the file"),
    "def f =\ndef g = a": ("E0101", "found `def`, which starts a declaration"),
    "def f = a +": ("E0101", "expected a layer or a number, found the end of the file"),
    "def f = -": ("E0101", "expected a layer or a number"),
    "def = 3": ("E0101", "expected a name, found `=`"),
    "def f = 1.5: b": ("E0101", "`1.5` cannot continue a label"),
    "def f = a{i}1.5: b": ("E0101", "`1.5` cannot continue a label"),
    "def f = a ? b": ("E0102", "`?` has no meaning here"),
    "def f = a → b": ("E0102", "`U+2192` has no meaning here"),
    'def f = "open\n a': ("E0103", 'no closing `"`'),
    "def f = (a -> b": ("E0104", "this `(` is never closed"),
    "def f = a)": ("E0104", "this `)` closes nothing"),
    "def f = (a]": ("E0104", "`]` does not close `(`"),
    "conv(64, 3)": ("E0105", "a file is a list of declarations"),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text: str) -> None:
    code, words = MISTAKES[text]
    _, problems = parse(Source("text", text))
    assert problems[0].code == code
    assert words in problems[0].message


def test_a_run_of_strange_characters_is_one_mistake() -> None:
    _, problems = parse(Source("text", "def f = $%&?!§ a"))
    assert [p.span.text for p in problems if p.span] == ["$", "&?!§"]


def test_one_mistake_leaves_the_others_readable() -> None:
    text = "def a = b\ndef c = (\nimport 3 (x, y)\ndef d = e f\nblock g = $\nnet h: [3] = i"
    module, problems = parse(Source("text", text))
    assert [p.span.line for p in problems if p.span] == [2, 3, 4, 5]
    assert [d.name.text for d in module.declarations] == ["a", "h"]
    assert set(module.broken) == {"c", "x", "y", "d", "g"}


def test_hidden_characters_leave_the_declaration_readable() -> None:
    module, problems = parse(Source("text", 'def a = "\u202e" b'))
    assert [p.code for p in problems] == ["E0111"]
    assert [d.name.text for d in module.declarations] == ["a"]


def test_spans_are_where_the_text_is() -> None:
    text = 'block B(c, k = 3)[w] = "doc" with conv(bias=no): let n = a{c}x: f(c) n -> (-1 + id)'
    module, problems = parse(Source("text", text))
    assert not problems
    declaration = module.declarations[0]
    assert declaration.span.text == text
    found = {type(node): node.span.text for node in ast.walk(declaration)}
    assert found[ast.Param] == "k = 3"
    assert found[ast.LabelText] == "a{c}x"
    assert found[ast.Labelled] == "a{c}x: f(c)"
    assert found[ast.Let] == "let n = a{c}x: f(c)"
    assert found[ast.Infix] == "-1 + id"
    assert found[ast.Number] == "-1"
    assert found[ast.Group] == "(-1 + id)"


def test_a_node_is_higher_than_what_it_is_made_of() -> None:
    """Nested in any way, no tree is past the limit of nesting."""
    for seed in range(200):
        module, _ = parse(Source("text", random_text(seed)))
        for node in ast.walk(*module.declarations):
            highest = max((part.depth for part in ast.children(node)), default=0)
            assert node.depth > highest or highest == 1, node  # names are no level


def test_signs_join_by_strength() -> None:
    module, _ = parse(Source("text", "def f = a -> b * c -> d | e + f - g * h / i % j"))
    total = module.declarations[0].body.results[0]
    assert isinstance(total, ast.Infix) and total.op == "-"
    joined, product = total.operands
    assert isinstance(joined, ast.Infix) and joined.op == "+"
    assert isinstance(product, ast.Infix) and product.op == "%"
    concat = joined.operands[0]
    assert isinstance(concat, ast.Infix) and concat.op == "|"
    gate = concat.operands[0]
    assert isinstance(gate, ast.Infix) and gate.op == "*"
    assert all(isinstance(operand, ast.Chain) for operand in gate.operands)


def test_joins_are_flat_and_other_signs_nest_to_the_left() -> None:
    module, _ = parse(Source("text", "def f = a + b + c, a - b - c, a | b | c, a / b / c"))
    counts = [len(r.operands) for r in module.declarations[0].body.results]  # type: ignore[attr-defined]
    assert counts == [3, 2, 3, 2]
