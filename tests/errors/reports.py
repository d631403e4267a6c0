"""Wrong programs of the corpus: read, checked, and reported as a person sees it.

The remark of a case says what it is about, then one line per diagnostic::

    expect: E0401 line 5 in layer2.0

The input is ``main.cnn``; after a line ``=== blocks.cnn`` comes another file, and
``=== ask net=Tiny`` says what to do beyond checking: ``net=NAME``, ``compile``, a limit
(``files=3``), or ``link=NAME:TARGET`` for a symbolic link beside the file.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import cnndsl
from cnndsl import CnnError, Diagnostic, Limits, Program
from cnndsl.diagnostics import Fix
from cnndsl.diagnostics.apply import edited
from cnndsl.diagnostics.text import render, render_all
from cnndsl.source import Source

MAIN = "main.cnn"
FOLDER = Path(__file__).parents[1] / "corpus" / "errors"
_HEADING = re.compile(r"^=== (.+)\n", re.MULTILINE)
_LIMITS = {field.name for field in fields(Limits)}


@dataclass(frozen=True)
class Case:
    """One wrong program: its files, and what is asked of it."""

    files: Mapping[str, str]
    ask: Mapping[str, str]

    @property
    def limits(self) -> Limits:
        return replace(Limits(), **{k: int(v) for k, v in self.ask.items() if k in _LIMITS})

    def with_texts(self, texts: Mapping[Source, str]) -> Case:
        """The same program after a change."""
        return replace(self, files={**self.files, **{s.name: t for s, t in texts.items()}})


def parse(text: str) -> Case:
    files = {MAIN: text}
    ask: dict[str, str] = {}
    names = [MAIN, *_HEADING.findall(text)]
    for name, body in zip(names, _HEADING.split(text)[::2], strict=True):
        if name.startswith("ask "):
            ask.update((k, v) for k, _, v in (w.partition("=") for w in name.split()[1:]))
        else:
            files[name] = body
    return Case(files, ask)


@contextmanager
def opened(case: Case) -> Iterator[Program]:
    """The program, with its other files in a folder of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in case.files.items():
            if path != MAIN:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8", newline="\n")
        if "link" in case.ask:
            link, _, target = case.ask["link"].partition(":")
            (folder / link).symlink_to(folder / target)
        yield cnndsl.loads(case.files[MAIN], name=MAIN, root=folder, limits=case.limits)


def check(case: Case) -> tuple[Diagnostic, ...]:
    """What is wrong with the program, and with what is asked of it."""
    with opened(case) as program:
        if "net" in case.ask:
            return program.net(case.ask["net"]).diagnostics
        if "compile" in case.ask:
            try:
                program.net().compile()
            except CnnError as error:
                return error.diagnostics
        return program.diagnostics


def report(text: str) -> Mapping[str, str]:
    """The kind of the corpus: every diagnostic in full."""
    return {"output": rendered(parse(text))}


def rendered(case: Case) -> str:
    return render_all(check(case))


def applied(fix: Fix) -> dict[Source, str]:
    """The new text of every file that a fix changes."""
    texts = {}
    for source in {edit.span.source for edit in fix.edits}:
        text = edited(source.text, [e for e in fix.edits if e.span.source is source])
        assert text is not None
        texts[source] = text
    return texts


def text(diagnostic: Diagnostic) -> str:
    return render(diagnostic)


def place(diagnostic: Diagnostic) -> str:
    """A diagnostic as a line ``expect:`` has it."""
    span = diagnostic.span
    parts = [diagnostic.code]
    if span is not None:
        parts += [span.source.name] * (span.source.name != MAIN) + [f"line {span.line}"]
    return " ".join([*parts, *([f"in {diagnostic.path}"] if diagnostic.path else [])])


@cache
def cases() -> Mapping[str, tuple[str, Case]]:
    """The remark and the program of every case, by name."""
    found: dict[str, tuple[str, Case]] = {}
    for path in sorted(FOLDER.rglob("*.txt")):
        remark, _, rest = path.read_text(encoding="utf-8").partition("--- input\n")
        text = re.split(r"^--- .+\n", rest, flags=re.MULTILINE)[0]
        found[path.relative_to(FOLDER).with_suffix("").as_posix()] = remark, parse(text)
    return found


def expected(remark: str) -> list[str]:
    return re.findall(r"^expect: (.+)$", remark, re.MULTILINE)
