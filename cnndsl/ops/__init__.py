"""Operators: one class each, declared in the families imported here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cnndsl.ops import activation, conv, linear, merge, norm, pool, regular, reshape
from cnndsl.ops.base import _CATALOGUE, Op, RuleError
from cnndsl.ops.plugins import PluginProblem, load_plugins

__all__ = [
    "Op",
    "PluginProblem",
    "RuleError",
    "activation",
    "built_in",
    "catalogue",
    "conv",
    "find_op",
    "linear",
    "load_plugins",
    "merge",
    "norm",
    "pool",
    "regular",
    "reshape",
]


def catalogue() -> Mapping[str, type[Op]]:
    """Every operator known so far by name: the built-in ones, and plug-ins once loaded."""
    return MappingProxyType(_CATALOGUE)


def built_in(name: str) -> bool:
    """Whether the language itself has an operator of this name, whatever is installed."""
    found = _CATALOGUE.get(name)
    return found is not None and found.__module__.startswith(f"{__name__}.")


def find_op(name: str) -> type[Op] | None:
    """The operator of this name; plug-ins are loaded when no built-in one has it."""
    found = _CATALOGUE.get(name)
    if found is None:
        load_plugins()
        found = _CATALOGUE.get(name)
    return found
