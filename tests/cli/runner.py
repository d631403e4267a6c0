"""Running the command line inside the test process, and transcripts of it as corpus cases."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from cnndsl.cli import app

ROOT = Path(__file__).parents[2]
_FILE = re.compile(r"^=== (.+)\n", re.MULTILINE)


class Run(NamedTuple):
    code: int
    out: str
    err: str


def cnndsl(*words: str, stdin: str | bytes | None = None, **environment: str) -> Run:
    """``cnndsl WORDS`` without a terminal."""
    clean = {"NO_COLOR": None, "FORCE_COLOR": None, **environment}
    result = CliRunner(env=clean).invoke(app, words, input=stdin, prog_name="cnndsl")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Run(result.exit_code, result.stdout, result.stderr)


def transcript(text: str) -> Mapping[str, str]:
    """Lines ``$ cnndsl …``, then files ``=== name`` that the commands find and may change."""
    commands, *parts = _FILE.split(text)
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for name, content in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(content, encoding="utf-8")
        runs = [cnndsl(*_words(line)) for line in commands.splitlines() if line]
        changed = _changed(files)
    sections = {"exit": " ".join(str(run.code) for run in runs)}
    sections |= {"stdout": "".join(run.out for run in runs)}
    sections |= {"stderr": "".join(run.err for run in runs)}
    return {name: text for name, text in {**sections, **changed}.items() if text}


def _words(line: str) -> list[str]:
    import shlex

    prompt, program, *words = shlex.split(line)
    assert (prompt, program) == ("$", "cnndsl"), f"not a command: {line}"
    return words


def _changed(files: Mapping[str, str]) -> dict[str, str]:
    """What stands in files that are new or have another text now."""
    found: dict[str, str] = {}
    for folder, _, names in os.walk("."):
        for name in sorted(names):
            path = Path(folder, name)
            text = path.read_text(encoding="utf-8", errors="replace")
            if files.get(path.as_posix()) != text:
                found[f"file {path.as_posix()}"] = text
    return found
