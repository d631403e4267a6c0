"""Trying fixes out, within a budget that depends on the text alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cnndsl.diagnostics import Diagnostic, Edit, Fix
from cnndsl.diagnostics.apply import edited
from cnndsl.repair.candidates import candidates
from cnndsl.repair.offers import Offer
from cnndsl.repair.places import Places
from cnndsl.source import Source, Span
from cnndsl.syntax import ast

_ERRORS = 10  # of a file get fixes
_TRIES = 12  # fixes tried for one error
_KEPT = 3  # fixes of one error
_WORK = 12_000  # nodes and lines that all checks together may read: about half a second
_SECONDS = 0.9  # a last resort; the budget above ends first, on every machine alike

Key = tuple[object, ...]
Check = Callable[[Mapping[Source, str]], Iterator[tuple[Sequence[Diagnostic], int]]]
"""Checks the program with other texts: problems as they are found, and the work it took."""


def mend(
    problems: Sequence[Diagnostic], modules: Mapping[Source, ast.Module], check: Check
) -> tuple[Diagnostic, ...]:
    """The problems with checked fixes, likeliest first; those that do not hold are left out."""
    errors = [d for d in problems if d.severity == "error"]
    trial = _Trial(errors, check)
    places = Places(modules)
    chosen = {id(d) for d in errors[:_ERRORS]}
    return tuple(
        replace(d, fixes=tuple(trial.kept(d, candidates(d, places)))) if id(d) in chosen
        else _plain(d)
        for d in problems
    )  # fmt: skip


def _plain(diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, fixes=()) if diagnostic.fixes else diagnostic


@dataclass
class _Trial:
    """One program's errors, and what may still be spent on them."""

    errors: Sequence[Diagnostic]
    check: Check
    spent: int = 0

    def __post_init__(self) -> None:
        self._end = time.monotonic() + _SECONDS
        self._limit = 0
        self._share = _WORK // max(min(len(self.errors), _ERRORS), 1)

    def kept(self, diagnostic: Diagnostic, offers: Iterator[Offer]) -> Iterator[Fix]:
        """Those that hold, in the order of the offers."""
        self._limit = self.spent + self._share
        kept = tried = 0
        seen: set[tuple[Edit, ...]] = set()
        for offer in offers:
            for fix in offer if isinstance(offer, tuple) else (offer,):
                if kept == _KEPT or tried == _TRIES or self._over:
                    return
                if not fix.edits or fix.edits in seen:
                    continue
                seen.add(fix.edits)
                tried += 1
                if self._holds(diagnostic, fix):
                    kept += 1
                    yield replace(fix, checked=True, left=len(self.errors) - 1)
                    break

    @property
    def _over(self) -> bool:
        return self.spent >= self._limit or time.monotonic() > self._end

    def _holds(self, diagnostic: Diagnostic, fix: Fix) -> bool:
        texts = _texts(fix)
        if texts is None:
            return False
        allowed = {_key(d, fix.edits) for d in self.errors if d is not diagnostic}
        for found, work in self.check(texts):
            self.spent += work
            if any(d.severity == "error" and _key(d) not in allowed for d in found):
                return False
        return True


def _texts(fix: Fix) -> dict[Source, str] | None:
    """The changed files; None where the edits do not fit together."""
    texts: dict[Source, str] = {}
    for source in dict.fromkeys(e.span.source for e in fix.edits):
        text = edited(source.text, [e for e in fix.edits if e.span.source is source])
        if text is None or text == source.text:
            return None
        texts[source] = text
    return texts


def _key(diagnostic: Diagnostic, edits: Sequence[Edit] = ()) -> Key:
    """What makes an error the same before and after a change elsewhere in the text."""
    span = diagnostic.span
    if span is None:
        return (diagnostic.code, diagnostic.message)
    return (diagnostic.code, span.source.name, _moved(span, edits))


def _moved(span: Span, edits: Sequence[Edit]) -> int:
    """Where the start of a span lies after the edits before it."""
    shift = 0
    for edit in edits:
        if edit.span.source is span.source and edit.span.end <= span.start:
            shift += len(edit.text) - (edit.span.end - edit.span.start)
    return span.start + shift
