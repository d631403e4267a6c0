"""How expressions of emitted code are written down before numbers become parameters.

A term (``cnndsl.outline.families``) of one of these forms:

* ``("call", callee, arguments)``; the callee is Python's words, ``("child", path)`` or
  ``("class", number)``; an argument is ``("arg", keyword, default, term)`` and is left out
  where it is the default; ``keyword`` is "" for one by position.
* ``("text", parts, tight)``: words and terms in a row; ``tight`` where an operand
  that is itself an expression needs brackets.
* ``("index", start, stop)``: a slice.
* ``("wire", i)``: a value; ``Leaf``: a number.
"""

from __future__ import annotations

from typing import Any

from cnndsl.outline.families import Leaf, Term

NONE = "None"
"""No default: the argument is always written."""


def call(callee: Term, *arguments: Term) -> Term:
    return ("call", callee, arguments)


def arg(name: str, value: Any, default: Any = NONE, keyword: str = "") -> Term:
    """An argument; ``name`` is what a parameter for it is called."""
    return ("arg", keyword, plain(default), Leaf(name, plain(value)))


def option(keyword: str, value: Any, default: Any = NONE, name: str = "") -> Term:
    """An argument by keyword."""
    return arg(name or keyword, value, default, keyword)


def text(*parts: Term, tight: bool = True) -> Term:
    return ("text", parts, tight)


def given(term: Term) -> Term:
    """An argument that is a term itself."""
    return ("arg", "", NONE, term)


def index(start: Term, stop: Term) -> Term:
    """A slice; "" for an end that is left out."""
    return ("index", start, stop)


def plain(value: Any) -> Any:
    """``(3, 3)`` as 3, named tuples as tuples."""
    if isinstance(value, tuple):
        found = tuple(value)
        return found[0] if len(found) == 2 and found[0] == found[1] else found
    return value
