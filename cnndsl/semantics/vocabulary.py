"""Words that parameters take as values."""

from __future__ import annotations

from functools import lru_cache

from cnndsl.ops import catalogue


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    """Every choice of every operator's parameters, such as ``row``; and ``auto``."""
    found = {"auto"}
    for op in catalogue().values():
        for declared in op.params.values():
            found.update(declared.choices)
    return frozenset(found)
