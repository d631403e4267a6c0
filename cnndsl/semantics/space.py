"""Search spaces: how many networks a net with ``oneof`` describes, and picking one.

The size is exact. A choice whose alternatives leave everything outside them unchanged
multiplies; one that changes the rest (a number of channels, say) is followed down every
alternative. Every alternative is expanded on the way, so a space that passes holds no
invalid network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from cnndsl.diagnostics import Diagnostic
from cnndsl.semantics import errors
from cnndsl.semantics.net import Expansion
from cnndsl.semantics.state import Choice, Chooser

Script = Mapping[str, int]
Expand = Callable[[Chooser], Expansion]
_MOST_EXPANSIONS = 4096
_MOST_WORK = 1_000_000  # steps and nodes of all expansions together


class SpaceFound(NamedTuple):
    """``size`` is None where a network of the space is wrong, or counting is too long.

    ``spent`` is the work of all expansions together.
    """

    size: int | None
    problems: tuple[Diagnostic, ...]
    spent: int


def follow(script: Script) -> Chooser:
    """Takes what the script says; leaves other choices open."""
    return lambda path, count: script.get(path)


def drawn(seed: int, script: Script | None = None) -> Chooser:
    """Draws every choice that the script leaves open, evenly among its alternatives.

    A choice's draw depends on the seed and its path only, not on the order of the text.
    """
    fixed = script or {}

    def choose(path: str, count: int) -> int:
        taken = fixed.get(path)
        return random.Random(f"{seed}:{path}").randrange(count) if taken is None else taken

    return choose


def explore(expand: Expand, script: Script | None = None) -> SpaceFound:
    """The exact number of networks, each of them checked."""
    explorer = _Explorer(expand)
    try:
        return SpaceFound(explorer.count(dict(script or {})), (), explorer.spent)
    except _Wrong as wrong:
        return SpaceFound(None, wrong.problems, explorer.spent)


def settle(choices: tuple[Choice, ...], wanted: Mapping[str, str | int]) -> dict[str, int]:
    """Indices of what a person asked for by number or by the alternative's text.

    Raises ValueError, in words, for a path or an alternative that does not exist.
    """
    known = {choice.path: choice for choice in choices}
    script: dict[str, int] = {}
    for path, value in wanted.items():
        if path not in known:
            raise ValueError(f"no choice `{path}`; choices: {', '.join(known) or 'none'}")
        script[path] = _index(known[path], str(value).strip())
    return script


def _index(choice: Choice, value: str) -> int:
    texts = [" ".join(text.split()) for text in choice.alternatives]
    if texts.count(" ".join(value.split())) == 1:
        return texts.index(" ".join(value.split()))
    if value.isdigit() and int(value) < choice.options:
        return int(value)
    listed = ", ".join(f"{i} ({text})" for i, text in enumerate(texts))
    raise ValueError(f"`{choice.path}` is one of {listed}, not {value}")


class _Wrong(Exception):
    def __init__(self, problems: tuple[Diagnostic, ...]) -> None:
        super().__init__()
        self.problems = problems


@dataclass
class _Explorer:
    expand: Expand
    expansions: int = 0
    spent: int = 0

    def count(self, script: dict[str, int]) -> int:
        """All networks that follow the script."""
        free = self._free(self._at(script), script)
        return self._count_among(script, [c.path for c in free])

    def _count_among(self, script: dict[str, int], paths: list[str]) -> int:
        """Networks that differ in these choices, and in those that they open."""
        total = 1
        script = dict(script)
        waiting = list(paths)
        while waiting:
            path = waiting.pop(0)
            taken = self._alternatives(script, path)
            points = [[c.path for c in self._free(e, {**script, path: 0})] for e in taken]
            common = set(points[0]).intersection(*points[1:])
            here = [p for p in waiting if p in common]
            if len({_outside(e, path) for e in taken}) > 1:
                # what follows depends on this choice: count it anew for each alternative
                return total * sum(
                    self._count_among(
                        {**script, path: i}, [p for p in found if p in waiting or p not in common]
                    )
                    for i, found in enumerate(points)
                )
            total *= sum(
                self._count_among({**script, path: i}, [p for p in found if p not in common])
                for i, found in enumerate(points)
            )
            script[path] = 0
            waiting = here
        return total

    def _alternatives(self, script: dict[str, int], path: str) -> list[Expansion]:
        first = self._at({**script, path: 0})
        count = next(c.options for c in first.choices if c.path == path)
        return [first, *(self._at({**script, path: i}) for i in range(1, count))]

    def _at(self, script: dict[str, int]) -> Expansion:
        self.expansions += 1
        found = self.expand(follow(script))
        self.spent += found.spent
        if found.graph is None:
            note = ", ".join(f"{path}={index}" for path, index in script.items())
            raise _Wrong(
                tuple(
                    replace(d, notes=(*d.notes, f"with the choice {note}")) if note else d
                    for d in found.diagnostics
                )
            )
        if self.expansions > _MOST_EXPANSIONS or self.spent > _MOST_WORK:
            over = self.expansions > _MOST_EXPANSIONS
            what, limit = ("expansions", _MOST_EXPANSIONS) if over else ("steps", _MOST_WORK)
            span = found.choices[0].span
            raise _Wrong((errors.expansion_limit(span, f"{what} to count it", limit),))
        return found

    @staticmethod
    def _free(found: Expansion, script: Mapping[str, int]) -> list[Choice]:
        return [c for c in found.choices if c.path not in script]


def _outside(found: Expansion, path: str) -> tuple[object, ...]:
    """Operators and types of everything but the alternative taken at ``path``."""
    first, last = found.choice_nodes.get(path, (0, 0))
    assert found.graph is not None
    return tuple((n.op, n.type) for n in found.graph if not first <= n.id < last)
