"""``cnndsl import torch``: a module's text and weights, both or neither."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cnndsl
from tests.cli.runner import cnndsl as run

FACTORIES = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())

class Odd(nn.Module):
    def forward(self, x):
        return x.cumsum(1)

def number():
    return 3

def broken():
    raise ValueError("no such weights\\nsecond line \\x1b[31m")

def leaves():
    raise SystemExit(0)

class Talks(nn.Module):
    def forward(self, x):
        print("running")
        return x.relu()

def talks():
    print("making")
    return Talks()

evil = nn.Sequential()
evil.add_module("a'; import os\\x1b[31m", nn.Conv2d(3, 4, 1))
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a module of factories, which no other test has imported."""
    (tmp_path / "cnndsl_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "cnndsl_factories", raising=False)


def test_text_and_weights() -> None:
    found = run("import", "torch", "cnndsl_factories:net", "--example", "1,3,8,8", "-o", "net.cnn")
    assert (found.code, found.err) == (0, "")
    first, second, third = found.out.splitlines()
    assert (first, second) == ("wrote net.cnn: 1 line", "wrote net.safetensors: 129 numbers")
    assert third.startswith("largest difference to the module: ")
    text = "net Sequential: [3, H, W] = conv(4, 3, bias=yes) -> bn -> relu\n"
    assert Path("net.cnn").read_text() == text
    theirs = __import__("cnndsl_factories").net().eval()
    x = torch.randn(2, 3, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(cnndsl.restore("net.safetensors").eval()(x), theirs(x))
    again = run("import", "torch", "cnndsl_factories:net", "-o", "net.cnn")
    assert (again.code, again.err) == (
        2, "error: net.cnn exists already: --force replaces it\n"
    )  # fmt: skip


def test_text_alone() -> None:
    words = ("import", "torch", "cnndsl_factories:net", "--example", "1,3,8,8", "--name", "Mine")
    found = run(*words, "--no-weights", "-o", "mine.cnn")
    assert found.code == 0
    assert Path("mine.cnn").read_text().startswith("net Mine: [3, H, W] =")
    assert not Path("mine.safetensors").exists()


def test_what_the_module_prints_is_no_part_of_its_text() -> None:
    found = run("import", "torch", "cnndsl_factories:talks", "--example", "1,3,8,8")
    assert (found.code, found.out) == (0, "net Talks: [3, H, W] = relu\n")
    assert found.err.startswith("making\nrunning\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cnndsl_factories"], "`cnndsl_factories` is not of the form package.module:factory"),
        (["no_such_module:net"], "importing it fails: ModuleNotFoundError: No module named"),
        (["cnndsl_factories:nat"], "importing it fails: AttributeError: module"),
        (["cnndsl_factories:number"], "it gives int, not an nn.Module"),
        (["cnndsl_factories:broken"], "calling it fails: ValueError: no such weights"),
        (["cnndsl_factories:leaves"], "calling it fails: SystemExit: 0"),
        (["cnndsl_factories:Odd"], "the module: cumsum has no counterpart in the language"),
        (["cnndsl_factories:evil"], "`a'; import os\\x1b[31m` cannot be a label"),
        (["cnndsl_factories:net", "--example", "1,3,8"], "an input is a feature map [N, C, H, W]"),
        (["cnndsl_factories:net", "--limit", "nodes=2"], "cannot be a step: more than 2 layers"),
        (["cnndsl_factories:net", "--example", "1,x"], "--example takes a shape such as"),
        (["cnndsl_factories:net", "--example", "9999,9999,999"], "9999,9999,999: between 1 and"),
        (["cnndsl_factories:net", "--example", "1,4,8,8"], "torch.export cannot record it: "),
    ],
)  # fmt: skip
def test_one_sentence_and_no_file(words: list[str], message: str) -> None:
    found = run("import", "torch", *words, "-o", "net.cnn")
    assert (found.code, found.out) == (2, "")
    assert message in found.err and "\x1b" not in found.err
    assert not list(Path().glob("net.*"))


def test_help_says_that_code_runs() -> None:
    assert "This RUNS CODE" in run("import", "torch", "--help").out
