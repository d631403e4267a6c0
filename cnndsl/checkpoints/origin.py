"""The network that weights belong to, written beside them: a file that stands alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cnndsl.checkpoints.bounds import WeightsError

VERSION = "1"
_LEAD = "cnndsl."

Parameter = int | float | Fraction | bool | str


@dataclass(frozen=True)
class Origin:
    """A text with what it imports, and which of its networks is meant.

    ``imports`` are texts by the path that they are imported by. In a file's metadata each
    field is a key of its own (``cnndsl.text``, ``cnndsl.net``, …), texts and JSON; what is
    empty is left out.
    """

    text: str
    net: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    at: Mapping[str, int] = field(default_factory=dict)
    imports: Mapping[str, str] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        found = {"version": VERSION, "text": self.text}
        if self.net is not None:
            found["net"] = self.net
        values = {name: _plain(value) for name, value in self.parameters.items()}
        for key, given in (("parameters", values), ("at", self.at), ("imports", self.imports)):
            if given:
                found[key] = json.dumps(dict(given), sort_keys=True)
        return {_LEAD + key: value for key, value in found.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Origin | None:
        """None where the file carries no text. WeightsError when it cannot be read."""
        text = metadata.get(f"{_LEAD}text")
        if text is None:
            return None
        version = metadata.get(f"{_LEAD}version", "")
        if version != VERSION:
            raise WeightsError("its text was written by another version of cnndsl")
        return cls(
            text,
            metadata.get(f"{_LEAD}net"),
            _values(metadata, "parameters", _parameter),
            _values(metadata, "at", _size),
            _values(metadata, "imports", _text),
        )


def _plain(value: Parameter) -> object:
    return [value.numerator, value.denominator] if isinstance(value, Fraction) else value


def _values(metadata: Mapping[str, str], key: str, read: Callable[[object], Any]) -> dict[str, Any]:
    try:
        found = json.loads(metadata.get(_LEAD + key, "{}"), parse_constant=_size)
        if not isinstance(found, dict):
            raise ValueError
        return {name: read(value) for name, value in found.items()}
    except (ValueError, RecursionError, ArithmeticError):
        raise WeightsError(f"its {_LEAD}{key} cannot be read") from None


def _parameter(value: object) -> Parameter:
    if isinstance(value, list):
        numerator, denominator = map(_size, value)
        return Fraction(numerator, denominator)
    if isinstance(value, str | int | float):
        return value
    raise ValueError


def _size(value: object) -> int:
    if type(value) is not int:
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value
