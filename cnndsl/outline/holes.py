"""What may differ between terms that are alike: numbers, names of values, numbers in labels."""

from __future__ import annotations

import re
from typing import Any, NamedTuple


class Auto:
    """Stands for a parameter that has its default."""

    def __repr__(self) -> str:
        return "AUTO"


AUTO = Auto()


class Expr(str):
    """A value computed in the text."""

    __slots__ = ()


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_OWN = {"in.channels", "or", "and", "not"}


def words(text: Expr) -> set[str]:
    """The parameters and variables that an expression reads."""
    return {*_NAME.findall(text)} - _OWN


class Tapped(NamedTuple):
    """A hole: the value that gets a name here."""

    node: int


class Read(NamedTuple):
    """A hole: the value with a name that is read here."""

    node: int


Hole = Any


class Label(NamedTuple):
    """A part of a module path; the number at its end may be computed."""

    stem: str
    number: int | Expr | None = None

    @classmethod
    def of(cls, name: str) -> Label:
        stem = name.rstrip("0123456789")
        digits = name[len(stem) :]
        if digits and (digits == "0" or digits[0] != "0") and len(digits) < 6:
            return cls(stem, int(digits))
        return cls(name)

    @property
    def name(self) -> str:
        return self.stem if self.number is None else f"{self.stem}{self.number}"


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()
"""The default of a parameter that has none."""
