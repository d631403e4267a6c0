"""The README's commands do what stands below them; ``--update`` writes what they print now."""

from __future__ import annotations

import re
import shlex
from contextlib import chdir
from pathlib import Path

import pytest

from tests.cli.runner import ROOT, cnndsl
from tests.passes.hook import unmeasured

README = ROOT / "README.md"
_FILE = re.compile(r"^```cnn (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CONSOLE = re.compile(r"^```console\n\$ cnndsl ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\b\d[\d.]* m?s\b|(?<=median of )\d+")  # a slow machine runs less often


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The repository's examples, and the files that the README shows."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for name, text in _FILE.findall(README.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def printed(words: str) -> str:
    run = cnndsl(*shlex.split(words))
    return run.err + run.out


def test_what_the_commands_print(folder: Path, request: pytest.FixtureRequest) -> None:
    text = README.read_text(encoding="utf-8")
    shown = _CONSOLE.findall(text)
    assert [words.split()[0] for words, _ in shown] == ["check", "check", "check", "compile"]
    # The rewrites of the examples are measured in tests/passes; here each of a ResNet-50's would
    # take more time than all the commands.
    with chdir(folder), unmeasured():
        real = [(words, printed(words)) for words, _ in shown]
    if request.config.getoption("--update"):
        blocks = (f"```console\n$ cnndsl {words}\n{answer}```" for words, answer in real)
        text = _CONSOLE.sub(lambda _: next(blocks), text)
        README.write_text(text, encoding="utf-8", newline="\n")
        shown = real
    for (words, before), (_, now) in zip(shown, real, strict=True):
        assert _TIME.sub("TIME", before) == _TIME.sub("TIME", now), words


def test_the_two_commands() -> None:
    """Each is one line that does all of its set-up; the second is what .ci/run looks for."""
    lines = re.findall(r"^python3 -m venv .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 2
    run, tests = lines
    (console,) = (w for w, _ in _CONSOLE.findall(README.read_text("utf-8")) if w[:7] == "compile")
    assert run.endswith(f".venv/bin/cnndsl {console}")
    pattern = re.search(r"grep .* '(.*)' README.md", (ROOT / ".ci" / "run").read_text())
    assert pattern is not None
    assert re.fullmatch(pattern[1].rstrip("$"), tests)
    for path in re.findall(r"(?:examples|tests)/\S+", "\n".join(lines)):
        assert (ROOT / path).is_file(), path


def test_the_python_example_runs(folder: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README.read_text("utf-8"), re.M | re.S)
    with chdir(folder):
        names: dict[str, object] = {}
        exec(compile(code, "README.md", "exec"), names)
    assert len(names["model"].state_dict()) == 320  # type: ignore[attr-defined]
