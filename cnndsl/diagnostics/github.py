"""Diagnostics as workflow commands, which GitHub shows beside the lines of a change."""

from __future__ import annotations

from collections.abc import Iterable

from cnndsl.diagnostics.display import escape
from cnndsl.diagnostics.model import Diagnostic

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def render_github(diagnostics: Iterable[Diagnostic]) -> str:
    """One ``::error …::message`` line each; notes and help are further lines of the message."""
    return "\n".join(_command(diagnostic) for diagnostic in diagnostics)


def _command(diagnostic: Diagnostic) -> str:
    help = [f"help: {diagnostic.help}"] if diagnostic.help else []
    help += [f"help: {fix.title}" for fix in diagnostic.fixes]
    lines = [diagnostic.message, *(f"= {note}" for note in diagnostic.notes), *help]
    # each line is escaped before they are joined, so only our own line breaks are left
    message = "\n".join(escape(line) for line in lines).translate(_DATA)
    properties = ",".join(
        f"{key}={escape(str(value)).translate(_PROPERTY)}"
        for key, value in _properties(diagnostic).items()
    )
    return f"::{diagnostic.severity} {properties}::{message}"


def _properties(diagnostic: Diagnostic) -> dict[str, object]:
    span = diagnostic.span
    found: dict[str, object] = {}
    if span:
        source = span.source
        line, column = source.position(span.start)
        last, stop = source.position(span.end)
        found = {"file": source.name, "line": line, "endLine": last}
        if last == line:  # columns are read only within one line
            found |= {"col": column, "endColumn": stop}
    return found | {"title": diagnostic.code}
