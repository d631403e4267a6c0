"""Names of the text as names of Python: the only way by which one reaches emitted code."""

from __future__ import annotations

import keyword
import re

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN = frozenset(
    """
    ChannelLinear ChannelNorm Draw DropPath F FOLDED HEADS Join NamedTuple NetDropPath Tensor
    draw fold i in_channels isinstance layer nn range self super torch tuple
    """.split()  # noqa: SIM905 - a list would be longer
)
"""What emitted code says itself."""


def is_attribute(label: str) -> bool:
    """Whether a module's child of this label is reached as ``self.label``.

    A name with two underscores in front would be changed by Python.
    """
    plain = _WORD.fullmatch(label) and not keyword.iskeyword(label)
    return bool(plain) and not label.startswith("__")


def identifier(name: str) -> str:
    """A variable, parameter or field like ``name``: ASCII, no keyword, nothing that we use."""
    found = re.sub(r"[^A-Za-z0-9_]", "_", name) or "x"
    found = found if not (found[0].isdigit() or found.startswith("__")) else f"x{found}"
    return f"{found}_" if keyword.iskeyword(found) or found in _TAKEN else found


def class_name(name: str) -> str:
    """``double_conv`` as ``DoubleConv``; a name with capitals stays."""
    found = identifier(name)
    if found[0].isupper():
        return found
    parts = [part for part in found.split("_") if part]
    return identifier("".join(part[0].upper() + part[1:] for part in parts) or "Block")


def fresh(name: str, taken: set[str]) -> str:
    """The name, with the first number that makes it new; it is taken from now on."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}{number}"
    taken.add(free)
    return free


def literal(text: str) -> str:
    """A string constant."""
    return f'"{text}"' if re.fullmatch(r"[A-Za-z0-9_.-]*", text) else ascii(text)
