"""Diagnostics for people: the full form, the one-line form, and a whole report.

Every string that a file can influence is escaped here or in ``excerpt``; see ``display``.
Whether to use colours is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cnndsl.diagnostics.change import changes
from cnndsl.diagnostics.display import Paint, coloured, escape, hang, hung, plain
from cnndsl.diagnostics.excerpt import excerpts, number_width
from cnndsl.diagnostics.model import Diagnostic, Fix

WIDTH = 100
_NARROWEST, _WIDEST = 60, 200
_LABELS, _FIXES, _CALLS, _NOTES = 12, 3, 5, 12  # shown of each; more would bury the message


def render(diagnostic: Diagnostic, *, color: bool = False, width: int = WIDTH) -> str:
    """The full form, with excerpts of the source. Lines are at most ``width`` columns."""
    paint = coloured if color else plain
    width = max(_NARROWEST, min(width, _WIDEST))
    labels = diagnostic.labels[:_LABELS]
    digits = number_width(labels)
    rows = _headline(diagnostic, paint, width)
    rows += _location(diagnostic, digits, paint, width)
    if labels:
        rows += excerpts(labels, diagnostic.severity, paint, width)
    for note in _notes(diagnostic):
        rows += hung(" " * (digits + 2) + "= ", "gutter", note, paint, width)
    if diagnostic.help:
        rows += hung("help: ", "help", escape(diagnostic.help), paint, width)
    for fix in diagnostic.fixes[:_FIXES]:
        rows += _fix(diagnostic, fix, paint, width)
    return "\n".join(row.rstrip(" ") for row in rows)


def render_concise(diagnostic: Diagnostic) -> str:
    """``file:line:col: error[E0401]: message``, for tools that read lines."""
    span = diagnostic.span
    place = f"{escape(span.source.name)}:{span.line}:{span.column}: " if span else ""
    return f"{place}{_kind(diagnostic)}: {escape(diagnostic.message)}"


def render_all(
    diagnostics: Iterable[Diagnostic],
    *,
    limit: int = 50,
    color: bool = False,
    width: int = WIDTH,
    concise: bool = False,
) -> str:
    """Every diagnostic up to ``limit``, and a closing line that counts them all."""
    found = list(diagnostics)
    if not found:
        return ""
    shown = _chosen(found, limit)
    if concise:
        parts = [render_concise(d) for d in shown]
    else:
        parts = [render(d, color=color, width=width) + "\n" for d in shown]
    if len(found) > len(shown):
        parts.append(f"… and {len(found) - len(shown):,} more")
    return "\n".join([*parts, summary(found)])


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """``2 errors, 1 warning``."""
    kinds = [d.severity for d in diagnostics]
    counts = [(kinds.count("error"), "error"), (kinds.count("warning"), "warning")]
    return ", ".join(counted(n, word) for n, word in counts if n)


def counted(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _chosen(found: list[Diagnostic], limit: int) -> Sequence[Diagnostic]:
    """At most ``limit``, errors before warnings, in the order they were found."""
    if len(found) <= limit:
        return found
    order = sorted(range(len(found)), key=lambda i: found[i].severity != "error")
    return [found[i] for i in sorted(order[: max(limit, 0)])]


def _kind(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.severity}[{escape(diagnostic.code)}]"


def _headline(diagnostic: Diagnostic, paint: Paint, width: int) -> list[str]:
    kind = _kind(diagnostic)
    first, *rest = hang(f"{kind}: ", escape(diagnostic.message), width)
    lead = paint(diagnostic.severity, kind)
    return [lead + paint("bold", first[len(kind) :]), *(paint("bold", line) for line in rest)]


def _location(diagnostic: Diagnostic, digits: int, paint: Paint, width: int) -> list[str]:
    span = diagnostic.span
    origin = _origin(diagnostic)
    if span is None and not origin:
        return []
    place = f"{escape(span.source.name)}:{span.line}:{span.column}" if span else ""
    text = "   ".join(part for part in (place, origin) if part)
    return hung(" " * (digits + 1) + "--> ", "gutter", text, paint, width)


def _origin(diagnostic: Diagnostic) -> str:
    """``in layer2.0 = Bottleneck(128, stride=2), expanded from line 14``."""
    if not diagnostic.path:
        return ""
    return " = ".join(["in " + escape(diagnostic.path), *map(escape, diagnostic.trace[:1])])


def _notes(diagnostic: Diagnostic) -> list[str]:
    notes = [escape(note) for note in diagnostic.notes[:_NOTES]]
    if len(diagnostic.labels) > _LABELS:
        notes.append(f"and {counted(len(diagnostic.labels) - _LABELS, 'more place')}")
    calls = diagnostic.trace[1:] if diagnostic.path else diagnostic.trace
    notes += [escape(call) for call in calls[:_CALLS]]
    if len(calls) > _CALLS:
        notes.append(f"and {counted(len(calls) - _CALLS, 'more call')}")
    if diagnostic.instances > 1:
        notes.append(f"1 definition, {counted(diagnostic.instances, 'instance')}")
    return notes


def _fix(diagnostic: Diagnostic, fix: Fix, paint: Paint, width: int) -> list[str]:
    lead = "help: "
    if fix.checked:
        effect = "this error is gone" if fix.left else "the file compiles"
        lead = f"help (checked: {effect} after it): "
    home = diagnostic.span.source if diagnostic.span else None
    rows = hung(lead, "help", escape(fix.title), paint, width)
    return rows + changes(fix, home, paint, width)
