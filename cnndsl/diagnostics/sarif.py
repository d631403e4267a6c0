"""Diagnostics as a SARIF 2.1.0 log, with the fixes as replacements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cnndsl.diagnostics.explain import explanation, title
from cnndsl.diagnostics.model import Diagnostic, Fix
from cnndsl.source import Span

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_sarif(diagnostics: Iterable[Diagnostic], version: str = "") -> dict[str, Any]:
    """One run with one rule for each code that occurs; ready for ``json.dumps``."""
    found = list(diagnostics)
    rules = sorted({d.code for d in found})
    driver: dict[str, Any] = {"name": "cnndsl", "rules": [_rule(code) for code in rules]}
    if version:
        driver["version"] = version
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(d, rules.index(d.code)) for d in found],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    level = "warning" if code.startswith("W") else "error"
    rule: dict[str, Any] = {"id": code, "defaultConfiguration": {"level": level}}
    page = explanation(code)
    if page:
        rule["shortDescription"] = {"text": title(code)}
        rule["help"] = {"text": page, "markdown": page}
    return rule


def _result(diagnostic: Diagnostic, index: int) -> dict[str, Any]:
    lines = [diagnostic.message, *diagnostic.notes]
    if diagnostic.help:
        lines.append(f"help: {diagnostic.help}")
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": index,
        "level": diagnostic.severity,
        "message": _message("\n".join(lines)),
        "occurrenceCount": diagnostic.instances,
    }
    locations = [
        _location(label.span) | ({"message": _message(label.text)} if label.text else {})
        for label in diagnostic.labels
    ]
    if diagnostic.path and locations:
        locations[0]["logicalLocations"] = [{"fullyQualifiedName": diagnostic.path}]
    result["locations"] = locations[:1]
    result["relatedLocations"] = [
        {"id": number, **location} for number, location in enumerate(locations[1:], 1)
    ]
    result["fixes"] = [_fix(fix) for fix in diagnostic.fixes if fix.edits]
    return {key: value for key, value in result.items() if value != []}


def _message(text: str) -> dict[str, str]:
    """Braces are doubled: a single one would open a placeholder."""
    return {"text": text.replace("{", "{{").replace("}", "}}")}


def _location(span: Span) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": _artifact(span), "region": _region(span)}}


def _artifact(span: Span) -> dict[str, str]:
    from urllib.parse import quote

    name = span.source.name.replace("\\", "/")
    return {"uri": quote(name.encode("utf-8", "surrogatepass"), safe="/")}


def _region(span: Span) -> dict[str, int]:
    line, column = span.source.position(span.start)
    last, stop = span.source.position(span.end)
    return {
        "startLine": line,
        "startColumn": column,
        "endLine": last,
        "endColumn": stop,
        "charOffset": span.start,
        "charLength": span.end - span.start,
    }


def _fix(fix: Fix) -> dict[str, Any]:
    """The edits grouped by file."""
    files: dict[str, dict[str, Any]] = {}
    for edit in fix.edits:
        artifact = _artifact(edit.span)
        change = files.setdefault(
            artifact["uri"], {"artifactLocation": artifact, "replacements": []}
        )
        change["replacements"].append(
            {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}
        )
    return {"description": _message(fix.title), "artifactChanges": list(files.values())}
