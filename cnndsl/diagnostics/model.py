"""Problems as values. The words and codes live in each phase's ``errors.py``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from cnndsl.source import Span

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Label:
    """A place with a remark; the primary one (the first) says where the problem is."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``span`` by ``text`` (an empty span inserts)."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that a tool may make. ``checked``: the changed program was compiled.

    ``left`` counts the other errors that stay, each with a fix of its own or none.
    """

    title: str
    edits: tuple[Edit, ...]
    checked: bool = False
    left: int = 0


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: what, where, why, and how to mend it."""

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    fixes: tuple[Fix, ...] = ()
    severity: Severity = "error"
    path: str = ""
    trace: tuple[str, ...] = ()
    instances: int = 1
    cause: object = field(default=None, compare=False, repr=False)

    @property
    def span(self) -> Span | None:
        return self.labels[0].span if self.labels else None


class CnnError(Exception):
    """Raised when a module is asked of a program that has errors.

    ``diagnostics`` holds every error and warning of the program.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(self._summary())

    def _summary(self) -> str:
        from cnndsl.diagnostics.text import render_concise

        return "\n".join(render_concise(d) for d in self.diagnostics)


class Collector:
    """Gathers diagnostics; instances of one definition merge into one."""

    def __init__(self) -> None:
        self._found: dict[tuple[object, ...], Diagnostic] = {}
        self._said: set[tuple[str, Span]] = set()

    def add(self, diagnostic: Diagnostic) -> None:
        key = _key(diagnostic)
        known = self._found.get(key)
        if known is None:
            self._found[key] = diagnostic
            self._said.update((diagnostic.code, label.span) for label in diagnostic.labels)
        else:
            self._found[key] = replace(known, instances=known.instances + 1)

    def has(self, diagnostic: Diagnostic) -> bool:
        """Whether this would be one more instance: whoever knows may spare the words."""
        return _key(diagnostic) in self._found

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def merge(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Adds what was not said before about the same place."""
        self.extend([d for d in diagnostics if (d.code, d.span) not in self._said])

    @property
    def all(self) -> tuple[Diagnostic, ...]:
        """In the order of finding, which follows the text."""
        return tuple(self._found.values())

    @property
    def failed(self) -> bool:
        return any(d.severity == "error" for d in self._found.values())


def _key(diagnostic: Diagnostic) -> tuple[object, ...]:
    span = diagnostic.span
    place = (span.source.name, span.start, span.end) if span else (diagnostic.message,)
    return (diagnostic.code, *place)
