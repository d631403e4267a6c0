"""Module paths, by the language's rules: labels name, unlabelled steps count.

A label is a step's name and, on a group, a namespace. Every step that becomes a module
takes a position in its namespace; an unlabelled one is named by it.
"""

from __future__ import annotations

from typing import Any

from cnndsl.semantics.vocabulary import words
from cnndsl.source import Span


def fits_label(value: Any) -> bool:
    """Whether ``{…}`` in a label may have this value: a whole number or a word of the language."""
    if isinstance(value, str):
        return value in words()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


class Namespace:
    """One level of module names.

    ``sharing``: an `again` that stands in the namespace of this path walks paths that exist.
    """

    __slots__ = ("children", "count", "joins", "path", "sharing", "taken")

    def __init__(self, path: str = "", sharing: str | None = None) -> None:
        self.path, self.sharing = path, sharing
        self.count = 0
        self.joins = 0
        self.taken: dict[str, Span] = {}

    def join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def take(self, label: str | None, span: Span) -> tuple[str, Span | None]:
        """The path of the next step, and the place of an earlier step that has it."""
        name = label if label is not None else str(self.count)
        self.count += 1
        earlier = self.taken.get(name) if self.sharing is None else None
        self.taken.setdefault(name, span)
        return self.join(name), earlier

    def open(self, label: str, span: Span) -> tuple[Namespace, Span | None]:
        """The namespace of a labelled group."""
        path, earlier = self.take(label, span)
        return Namespace(path, self.sharing), earlier

    def repeating(self, path: str) -> Namespace:
        """The namespace of what an `again` repeats that stands here."""
        return Namespace(path, self.path if self.sharing is None else self.sharing)
