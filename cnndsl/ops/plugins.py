"""Operators from other packages, through the entry-point group ``cnndsl.ops``.

An entry names a module (or a class in it); importing it declares its operators. A package
that fails is reported and leaves nothing behind; a text file can never name one.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from cnndsl.ops.base import _CATALOGUE

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "cnndsl.ops"


class PluginProblem(NamedTuple):
    """Why a package's operators are not there."""

    plugin: str
    message: str

    def __str__(self) -> str:
        return f"operators of {self.plugin} are not available: {self.message}"


@cache
def load_plugins() -> tuple[PluginProblem, ...]:
    """Loads every installed package of operators, once; what went wrong, in order."""
    from importlib.metadata import entry_points  # slow, and most files need no plug-in

    try:
        found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    except Exception as error:  # unreadable metadata of any installed package
        return (PluginProblem("installed packages", _words(error)),)
    problems = (_load(entry) for entry in found)
    return tuple(problem for problem in problems if problem is not None)


def _load(entry: EntryPoint) -> PluginProblem | None:
    before = dict(_CATALOGUE)
    try:
        entry.load()
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything
        _CATALOGUE.clear()
        _CATALOGUE.update(before)
        return PluginProblem(f"`{entry.name}` ({entry.value})", _words(error))
    return None


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
