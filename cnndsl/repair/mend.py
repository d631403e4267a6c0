"""Trying fixes out, within a budget that depends on the text alone."""

from __future__ import annotations

import re
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
from cnndsl.syntax.parser import parse

_ERRORS = 10  # of a file get fixes
_TRIES = 12  # fixes tried for one error
_KEPT = 3  # fixes of one error
_WORK = 20_000  # steps, nodes and lines of all checks together: about half a second
TRIED = 50_000  # steps of one network in a check; the largest of the examples takes 18,000
_SECONDS = 2.0  # a last resort; the budget above ends first, on every machine alike

_STARTER = re.compile(r"^(?:import|block|def|net)\b", re.MULTILINE)
Key = tuple[object, ...]
Findings = Iterator[tuple[str, Sequence[Diagnostic], int]]
"""Parts of a program as they are checked: name, problems, and the work it took."""
Check = Callable[[Mapping[Source, str]], Findings]
"""Checks the program with other texts."""


def mend(
    problems: Sequence[Diagnostic],
    modules: Mapping[Source, ast.Module],
    check: Check,
    work: int = 0,
) -> tuple[Diagnostic, ...]:
    """The problems with checked fixes, likeliest first; those that do not hold are left out.

    ``work`` is what one check costs, in the unit of ``check``.
    """
    errors = [d for d in problems if d.severity == "error"]
    trial = _Trial(errors, check, work)
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
    work: int
    spent: int = 0

    def __post_init__(self) -> None:
        self._end = time.process_time() + _SECONDS
        self._left = min(len(self.errors), _ERRORS)

    def kept(self, diagnostic: Diagnostic, offers: Iterator[Offer]) -> Iterator[Fix]:
        """Those that hold, in the order of the offers."""
        self._limit = self.spent + (_WORK - self.spent) // max(self._left, 1)
        self._left -= 1
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
                left = self._left_after(diagnostic, fix)
                if left is not None:
                    kept += 1
                    yield replace(fix, checked=True, left=left)
                    break

    @property
    def _over(self) -> bool:
        return self.spent + self.work > self._limit or time.process_time() > self._end

    def _left_after(self, diagnostic: Diagnostic, fix: Fix) -> int | None:
        """How many of the other errors stay; None where this one does, or a new one comes."""
        texts = _texts(fix)
        if texts is None:
            return None
        allowed = {_key(d, fix.edits) for d in self.errors if d is not diagnostic}
        if diagnostic.code.startswith("E01") and not _reads(fix.edits, texts, allowed):
            return None
        left: set[Key] = set()
        for _, found, work in self.check(texts):
            self.spent += work
            left.update(_key(d) for d in found if d.severity == "error")
            if not left <= allowed:
                return None
        return len(left)


def _reads(edits: Sequence[Edit], texts: Mapping[Source, str], allowed: set[Key]) -> bool:
    """Whether the declarations that were changed read now: far cheaper to see than the rest."""
    for source, text in texts.items():
        places = [e.span for e in edits if e.span.source is source]
        first, last = min(p.start for p in places), max(p.end for p in places)
        starts = [m.start() for m in _STARTER.finditer(source.text)]
        start = max((s for s in starts if s <= first), default=0)
        end = min((s for s in starts if s > last), default=len(source.text))
        part = text[start : end + len(text) - len(source.text)]
        for problem in parse(Source(source.name, part))[1]:
            at = problem.span.start + start if problem.span else start
            if (problem.code, source.name, at) not in allowed:
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
