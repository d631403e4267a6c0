"""What the pages say is true: every example in them checks clean, every figure is the code's."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest

import cnndsl
from cnndsl.cli.app import COMMANDS
from cnndsl.engines.choose import AUTO, ENGINES
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.passes.pipeline import REWRITES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```cnn\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, text in enumerate(_FENCE.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("text", BLOCKS)
def test_examples_check_clean(text: str) -> None:
    program = cnndsl.loads(text, root=ROOT / "examples")
    assert program.nets
    assert not program.diagnostics


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_size_of_the_search_space_in_the_text() -> None:
    text = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
    space = next(block for block in _FENCE.findall(text) if "oneof" in block)
    size = cnndsl.loads(space).space().size
    assert f"number of networks ({size} here)" in text
    assert cnndsl.loads(space).space().choose({"op1.0": "conv(c, 5)"}).size < size


def test_the_table_of_limits_is_the_code() -> None:
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", text, re.MULTILINE))
    assert rows == {name: f"{value:,}" for name, value in asdict(DEFAULT_LIMITS).items()}


def test_every_command_has_its_line() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert all(f"| `{name}" in text for name in COMMANDS)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("x: conv(8, 3)", "x.weight x.bias"),
        ("x: (conv(8, 3))", "x.0.weight x.0.bias"),
        ("relu -> conv(2, 1)", "1.weight 1.bias"),
        ("a: relu -> conv(2, 1)", "1.weight 1.bias"),
        ("layer1: (B(3) -> B(3))", "layer1.0.c.weight layer1.1.c.weight"),
        ("for i in 1..2 do unit{i}: B(3)", "unit1.c.weight unit2.c.weight"),
    ],
)
def test_names(text: str, keys: str) -> None:
    """The table of docs/naming.md."""
    file = f"block B(n) = c: conv(n, 1, bias=no)\nnet N: [3, H, W] = {text}\n"
    assert list(cnndsl.loads(file).net().compile().state_dict()) == keys.split()


def test_every_rewrite_is_in_the_table() -> None:
    text = (ROOT / "docs" / "optimiser.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE)) == set(REWRITES)


def test_every_engine_is_in_the_table() -> None:
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)) == {*ENGINES, AUTO}
