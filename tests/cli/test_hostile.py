"""Names and texts of strangers move no cursor, forge no line and become no markup."""

from __future__ import annotations

import csv
import io
import sys
import unicodedata
from pathlib import Path

import pytest

from cnndsl.views.table import FORMATS, Column, Line, Table
from tests.cli.runner import cnndsl

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\rerror: fake",
    "a\nerror[E0000]: forged",
    "\u202egnp.exe",
    "\u2066hidden\u2069",
    "zero\u200bwidth",
    "\x9b31m",
    "\udce9 broken bytes",
]


def visible(text: str) -> bool:
    """No control, format or surrogate characters but our own line breaks."""
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") for c in text)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@pytest.mark.parametrize(
    "words",
    [["check"], ["check", "--format", "concise"], ["check", "--json"], ["fmt"], ["fmt", "--check"],
     ["check", "--format", "github"], ["check", "--format", "sarif"], ["summary"], ["compile"]],
    ids=" ".join,
)  # fmt: skip
def test_file_names(name: str, words: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    path = folder / f"{name}.cnn"
    try:
        path.write_text("net A: [3, H, W] = cnov(8, 3) ->\n")
    except (OSError, UnicodeError):
        pytest.skip("this system has no such file names")
    target = folder if words[0] in ("check", "fmt") else path
    run = cnndsl(*words, str(target))
    assert run.code in (1, 2)
    assert run.out + run.err
    assert visible(run.out + run.err)
    run = cnndsl(*words, str(path) + "x")
    assert visible(run.out + run.err)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_arguments(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.cnn"
    path.write_text("net A(n = 1): [3, H, W] = conv(n, 3)\n")
    file = str(path)
    attempts = [
        [text], ["check", f"--{text}"], ["check", file, "--set", f"n={text}"],
        ["check", file, "--set", text], ["check", file, "--at", f"H={text}"],
        ["check", file, "--choose", f"{text}=1"], ["check", file, "--net", text],
        ["check", file, "--limit", f"{text}=1"], ["check", file, "--root", text],
        ["explain", text], ["ops", text], ["new", text], ["summary", file, "--style", text],
        ["compile", file, "--run", text], ["compile", file, "-o", text],
    ]  # fmt: skip
    for words in attempts:
        run = cnndsl(*words)
        assert run.code in (1, 2), words
        assert visible(run.out + run.err), words


def test_calls_in_a_table(tmp_path: Path) -> None:
    """A block's row shows the call as the text has it, comments included."""
    path = tmp_path / "a.cnn"
    path.write_text(
        "block U(c) = conv: conv(c, 3) -> relu\n"
        "net A: [3, H, W] = u: U(# =1+1 | <b> \\evil{} & $x$ `\n 4) -> relu\n"
    )
    for kind in ("text", "markdown", "latex", "csv"):
        run = cnndsl("summary", str(path), "--format", kind)
        assert run.code == 0, run.err
        assert visible(run.out)
    assert r"\<b\>" in cnndsl("summary", str(path), "--format", "markdown").out
    assert (
        r"\textbackslash{}evil\{\} \& \$x\$"
        in cnndsl("summary", str(path), "--format", "latex").out
    )


def test_cells_stay_cells() -> None:
    cells = ['=HYPERLINK("x")', "a | b", "a & b \\\\ c", "% no comment\n\\input{x}", "@SUM(1)"]
    table = Table("t\n\\input{x}", (Column("x"),), [Line((c,)) for c in cells], ("n\n\\input{y}",))
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](table))))
    assert len(rows) == 1 + len(cells)
    assert not any(row[0][:1] in "=+-@" for row in rows)
    for line in FORMATS["markdown"](table).splitlines():
        assert line.replace("\\|", "").count("|") in (0, 2)
    latex = FORMATS["latex"](table).splitlines()
    assert not any(line.startswith("\\input") for line in latex)
    assert sum(line.endswith(r"\\") for line in latex) == 1 + len(cells)


def test_a_screen_gets_no_control_characters_from_a_diff(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnndsl.cli.fmt import _diff
    from cnndsl.source import Source

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Screen())
    monkeypatch.setenv("NO_COLOR", "1")
    assert visible(_diff(Source("a\x1b[1m", "x\x1b[2J\n"), "y\u202e\n"))
