"""The stored tables are the grammar's, and our driver of them does what Lark's does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lark
import pytest

from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.source import Source
from cnndsl.syntax import ast, tables
from cnndsl.syntax.build import Builder
from cnndsl.syntax.lalr import Machine
from cnndsl.syntax.parser import parse
from cnndsl.syntax.scan import scan
from tests.generate import random_network, random_text
from tests.syntax.test_laws import EXAMPLES

TEXTS = [
    *(path.read_text(encoding="utf-8") for path in EXAMPLES),
    *map(random_network, range(20)),
    *map(random_text, range(300)),
]


def test_the_stored_tables_are_fresh() -> None:
    assert tables.TABLES.read_text(encoding="utf-8") == tables.generate()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_command_writes_the_same_bytes_in_every_process(seed: str, tmp_path: Path) -> None:
    """Lark's own numbering follows Python's hashes, which differ from run to run."""
    program = (
        "import pathlib, runpy, sys\n"
        "from unittest import mock\n"
        "write = mock.patch.object(pathlib.Path, 'write_text', lambda p, text, encoding: "
        "sys.stdout.write(text))\n"
        "with write: runpy.run_module('cnndsl.syntax.tables', run_name='__main__')\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert run.stdout == tables.TABLES.read_text(encoding="utf-8"), run.stderr


def test_a_changed_grammar_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "digest", lambda: "of another grammar")
    assert tables.load().digest == "of another grammar"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"digest": 1}'])
def test_damaged_tables_are_built_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tables.load()
    monkeypatch.setattr(tables, "build", lambda: made)
    monkeypatch.setattr(tables, "TABLES", tmp_path / "tables.json")
    (tmp_path / "tables.json").write_text(damage, encoding="utf-8")
    assert tables.load() is made


class _Files(Builder):
    """Reads a whole file by the grammar's own start rule."""

    def start(self, children: list[Any]) -> ast.Module:
        return ast.Module(
            tuple(c for c in children if isinstance(c, ast.Import)),
            tuple(c for c in children if isinstance(c, ast.Declaration)),
        )


def test_fresh_tables_and_the_start_rule_give_the_same_trees() -> None:
    builder = _Files()
    machine = Machine(tables.build("start"), builder)
    for text in TEXTS:
        source = Source("text", text)
        builder.source, builder.nesting = source, DEFAULT_LIMITS.nesting
        module, problems = parse(source)
        assert not problems
        assert machine.run(scan(source, DEFAULT_LIMITS).tokens) == module


class _Recorder:
    """A builder that records the names of rules and what they were given."""

    def __getattr__(self, rule: str) -> Callable[[list[Any]], Any]:
        return lambda children: (rule, [getattr(child, "text", child) for child in children])


def test_reductions_are_those_of_lark() -> None:
    machine = Machine(tables.build("start"), _Recorder())
    oracle = lark.Lark(
        tables.grammar_text(), parser="lalr", lexer="basic", maybe_placeholders=False
    )
    compared = 0
    for text in TEXTS:
        try:
            expected = oracle.parse(text)
        except lark.UnexpectedInput:  # Lark's lexer does not take words of ours for labels
            continue
        tokens = scan(Source("text", text), DEFAULT_LIMITS).tokens
        assert machine.run(tokens) == _recorded(expected)
        compared += 1
    assert compared > len(TEXTS) / 3


def _recorded(node: Any) -> Any:
    if isinstance(node, lark.Tree):
        return (str(node.data), [_recorded(child) for child in node.children])
    return str(node)


def test_every_sign_and_word_of_the_grammar_is_one_token() -> None:
    for text in tables.load().spelled:
        found = scan(Source("text", f"def {text} x"), DEFAULT_LIMITS).tokens
        assert [token.text for token in found] == ["def", text, "x"]
