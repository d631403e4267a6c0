"""Values of a JSON document that a stranger wrote: each knows its place, and is what is asked for.

::

    root = At(json.loads(text))
    root.get("nodes").items(10)[3].get("id").whole()   # or JsonProblem("nodes[3].id: needs …")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from cnndsl.diagnostics.display import escape

_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
_LARGEST = 2**53  # beyond it, readers of JSON differ
_DEEPEST = 4
_LONGEST = 64  # numbers of one value; texts that are values


class JsonProblem(ValueError):
    """What is wrong with a document, in one line that is safe to show.

    ``place``: where, as ``nodes[3].inputs[0]``; "" for the document itself.
    """

    def __init__(self, place: str, message: str) -> None:
        self.place, self.message = escape(place, 200), escape(message)
        super().__init__(f"{self.place}: {self.message}" if place else self.message)


@dataclass(frozen=True)
class At:
    """A value and its place."""

    value: Any
    place: str = ""

    def problem(self, message: str) -> JsonProblem:
        return JsonProblem(self.place, message)

    def get(self, key: str) -> At:
        """A field that must be there."""
        found = self.find(key)
        if found is None:
            raise self.problem(f"`{key}` is missing")
        return found

    def find(self, key: str) -> At | None:
        """A field that may be left out."""
        record = self.record()
        if key not in record:
            return None
        return At(record[key], f"{self.place}.{key}" if self.place else key)

    def record(self) -> Mapping[str, Any]:
        record: Mapping[str, Any] = self._of(dict)
        return record

    def items(self, most: int) -> list[At]:
        """The values of a list of at most so many."""
        values = self._of(list)
        if len(values) > most:
            raise self.problem(f"has {len(values):,} entries, and at most {most:,} are read")
        return [At(value, f"{self.place}[{index}]") for index, value in enumerate(values)]

    def text(self) -> str:
        text: str = self._of(str)
        return text

    def flag(self) -> bool:
        flag: bool = self._of(bool)
        return flag

    def whole(self, least: int = 0, most: int = _LARGEST) -> int:
        """A whole number between the two, both included."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int):
            raise self.problem(f"needs a whole number, got {_shown(number)}")
        if not least <= number <= most:
            raise self.problem(f"is between {least:,} and {most:,}, got {_shown(number)}")
        return number

    def parameter(self, depth: int = 0) -> Any:
        """A parameter's value: null, true or false, a finite number, a word, or a tuple of them."""
        value = self.value
        if isinstance(value, list) and depth < _DEEPEST:
            return tuple(item.parameter(depth + 1) for item in self.items(_LONGEST))
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str) and len(value) <= _LONGEST:
            return value
        if isinstance(value, int | float) and abs(value) <= _most(value) and isfinite(value):
            return value
        raise self.problem(f"is no value of a parameter: {_shown(value)}")

    def _of(self, kind: type) -> Any:
        if not isinstance(self.value, kind):
            raise self.problem(f"needs {_NAMES[kind]}, got {_shown(self.value)}")
        return self.value


def _most(value: int | float) -> float:
    return _LARGEST if isinstance(value, int) else float("inf")


def _shown(value: object) -> str:
    """A value in a few letters."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST:
        return "a number past 2^53"
    if isinstance(value, dict | list):
        return _NAMES[type(value)]
    if isinstance(value, str):
        return "an empty text" if not value else f"`{value[:_LONGEST]}`"
    return "null" if value is None else str(value).lower()[:_LONGEST]
