"""Self-contained cases in text files: what goes in, and what must come out.

A case is ``corpus/<kind>/**/<name>.txt``: a remark for the reader, if any, then sections::

    --- input
    def f = a->b
    --- output
    def f = a -> b

A kind is a function from the text of ``input`` to the sections that follow it. To add one,
write the function and name it in ``KINDS``. ``pytest tests/test_corpus.py --update`` rewrites
the sections after ``input`` to what comes out now; read the difference before you commit it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source
from tests.cli.runner import transcript
from tests.errors.reports import report
from tests.outline.rolled import rolled
from tests.passes.reports import rewritten

FOLDER = Path(__file__).parent / "corpus"
_HEADING = re.compile(r"^--- (.+)\n", re.MULTILINE)
Kind = Callable[[str], Mapping[str, str]]


def formatted(text: str) -> Mapping[str, str]:
    """The text laid out, or why it cannot be."""
    output, problems = format_source(Source("input", text))
    if output is not None:
        return {"output": output}
    lines = [f"{p.code} {p.span.line}:{p.span.column} {p.message}\n" for p in problems if p.span]
    return {"problems": "".join(lines)}


KINDS: dict[str, Kind] = {
    "cli": transcript,
    "errors": report,
    "fmt": formatted,
    "passes": rewritten,
    "reroll": rolled,
}


def cases() -> list[Path]:
    return sorted(path for path in FOLDER.rglob("*") if path.is_file())


def kind_of(case: Path) -> Kind:
    return KINDS[case.relative_to(FOLDER).parts[0]]


def read(case: Path) -> dict[str, str]:
    """The sections of a case by name, in order; the remark before them has the name ``""``."""
    names = ["", *_HEADING.findall(text := case.read_text(encoding="utf-8"))]
    return dict(zip(names, _HEADING.split(text)[::2], strict=True))


def render(sections: Mapping[str, str]) -> str:
    """The text of a case file."""
    parts = [f"--- {name}\n{text}" if name else text for name, text in sections.items()]
    return "".join(parts)


def outcome(case: Path) -> dict[str, str]:
    """The case as it would be written now."""
    given = read(case)
    result = {name: _whole(text) for name, text in kind_of(case)(given["input"]).items()}
    return {"": given[""], "input": given["input"], **result}


def _whole(text: str) -> str:
    """Ends with a line break, so that the next heading starts a line."""
    return text if not text or text.endswith("\n") else text + "\n"
