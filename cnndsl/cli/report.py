"""Diagnostics in the format that was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from cnndsl.cli.terminal import err, line, wants_color, width
from cnndsl.diagnostics import Diagnostic

FORMATS = ("full", "concise", "json", "github", "sarif")
MACHINE = ("json", "github", "sarif")
"""These are the report: they go to stdout, alone."""


def report(diagnostics: Sequence[Diagnostic], *, concise: bool = False, limit: int = 50) -> None:
    """For people, on stderr; nothing where there is nothing to say."""
    if not diagnostics:
        return
    from cnndsl.diagnostics.text import render_all

    color, columns = wants_color(sys.stderr), width(sys.stderr)
    err(render_all(diagnostics, limit=limit, color=color, width=columns, concise=concise))


def report_to_machine(
    kind: str, diagnostics: Sequence[Diagnostic], nets: Sequence[dict[str, Any]]
) -> None:
    """For programs, on stdout."""
    if kind == "github":
        from cnndsl.diagnostics.github import render_github

        text = render_github(diagnostics)
        if text:
            line(text)
    elif kind == "sarif":
        import cnndsl
        from cnndsl.diagnostics.sarif import to_sarif

        write_json(to_sarif(diagnostics, cnndsl.__version__))
    else:
        from cnndsl.diagnostics.as_json import to_json

        write_json({**to_json(diagnostics), "nets": list(nets)})


def write_json(document: dict[str, Any]) -> None:
    """ASCII only, so that no terminal and no locale changes it."""
    line(json.dumps(document, indent=2))


def has_errors(diagnostics: Sequence[Diagnostic]) -> bool:
    return any(d.severity == "error" for d in diagnostics)
