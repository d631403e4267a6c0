"""Diagnostics for programs: ``cnndsl.diagnostics/1``.

The schema is ``cnndsl/schemas/diagnostics-1.json``. Lines and columns count from 1 and
offsets from 0, all in code points; ``end`` is the place just behind the range. Within one
version, fields are only added. Strings are as they are: whoever shows them escapes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cnndsl.diagnostics.model import Diagnostic, Edit, Fix, Label
from cnndsl.source import Span

SCHEMA = "cnndsl.diagnostics/1"


def to_json(diagnostics: Iterable[Diagnostic]) -> dict[str, Any]:
    """Plain dictionaries and lists, ready for ``json.dumps``."""
    found = list(diagnostics)
    return {
        "schema": SCHEMA,
        "errors": sum(d.severity == "error" for d in found),
        "warnings": sum(d.severity == "warning" for d in found),
        "diagnostics": [_diagnostic(d) for d in found],
    }


def place(span: Span) -> dict[str, Any]:
    """A range of a file."""
    return {
        "file": span.source.name,
        "start": _point(span, span.start),
        "end": _point(span, span.end),
    }


def _point(span: Span, offset: int) -> dict[str, int]:
    line, column = span.source.position(offset)
    return {"line": line, "column": column, "offset": offset}


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "labels": [_label(label, index == 0) for index, label in enumerate(diagnostic.labels)],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
        "fixes": [_fix(fix) for fix in diagnostic.fixes],
        "path": diagnostic.path,
        "trace": list(diagnostic.trace),
        "instances": diagnostic.instances,
    }


def _label(label: Label, primary: bool) -> dict[str, Any]:
    return {"primary": primary, "text": label.text, "span": place(label.span)}


def _fix(fix: Fix) -> dict[str, Any]:
    return {"title": fix.title, "checked": fix.checked, "edits": [_edit(e) for e in fix.edits]}


def _edit(edit: Edit) -> dict[str, Any]:
    return {"span": place(edit.span), "text": edit.text}
