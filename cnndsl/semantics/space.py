"""Search spaces: how many networks a net with ``oneof`` describes, and picking one.

The size is exact. A choice whose alternatives leave everything outside them unchanged
multiplies, and many such choices are tried at a time; one that changes the rest (a number of
channels, say) is followed down every alternative. Every alternative is expanded on the way,
so a space that passes holds no invalid network.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from cnndsl.diagnostics import Diagnostic
from cnndsl.semantics import errors
from cnndsl.semantics.net import Expansion
from cnndsl.semantics.state import Choice, Chooser, Region

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


def explore(expand: Expand, script: Script | None = None, *, budget: bool = False) -> SpaceFound:
    """The exact number of networks, each of them checked.

    With a ``budget`` no choice is independent of another: every network is expanded by itself.
    """
    explorer = _Explorer(expand, budget)
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
    if value in map(str, range(choice.options)):
        return int(value)
    listed = ", ".join(f"{i} ({text})" for i, text in enumerate(texts))
    raise ValueError(f"`{choice.path}` is one of {listed}, not {value}")


class _Wrong(Exception):
    def __init__(self, problems: tuple[Diagnostic, ...]) -> None:
        super().__init__()
        self.problems = problems


class _TooLong(_Wrong):
    """Counting is given up: this says nothing of any network."""


@dataclass
class _Explorer:
    expand: Expand
    budget: bool = False
    expansions: int = 0
    spent: int = 0

    def count(self, script: dict[str, int]) -> int:
        """All networks that follow the script."""
        found = self._at(script)
        return self._count_among(script, [c.path for c in self._free(found, script)], found)

    def _count_among(self, script: dict[str, int], paths: list[str], found: Expansion) -> int:
        """Networks that differ in these choices, and in those that they open."""
        total = 1
        script = dict(script)
        waiting = list(paths)
        while waiting:
            joint, inner = self._jointly(script, waiting, found)
            if joint:
                total *= math.prod(joint.values())
                script |= dict.fromkeys(joint, 0)
                waiting = [p for p in waiting if p not in joint and p not in inner]
                continue
            self._check_work(found, waiting)
            path = waiting.pop(0)
            taken = self._alternatives(script, path)
            points = [[c.path for c in self._free(e, {**script, path: 0})] for e in taken]
            common = set(points[0]).intersection(*points[1:])
            here = [p for p in waiting if p in common]
            moved = self._moves(path, points, common, taken)
            if moved and not common.issubset(waiting):
                raise self._too_long(found)  # of those not counted here some may have moved too
            if moved or self.budget or len({_outside(e, [path]) for e in taken}) > 1:
                # what follows depends on this choice: count it anew for each alternative
                return total * sum(
                    self._count_among(
                        {**script, path: i},
                        [p for p in point if p in waiting or p not in common],
                        taken[i],
                    )
                    for i, point in enumerate(points)
                )
            total *= sum(
                self._count_among(
                    {**script, path: i}, [p for p in point if p not in common], taken[i]
                )
                for i, point in enumerate(points)
            )
            script[path] = 0
            waiting = here
        return total

    @staticmethod
    def _moves(
        path: str, points: list[list[str]], common: set[str], taken: list[Expansion]
    ) -> bool:
        """Whether an alternative gives choices behind it other paths, as `id` does: no position.

        Else a choice that is not there for every alternative was opened by one.
        """
        for point, expansion in zip(points, taken, strict=True):
            region = expansion.regions.get(path)
            if region is not None:
                opened = {q.path for q in expansion.choices[slice(*region.choices)]}
                if not opened.issuperset(p for p in point if p not in common):
                    return True
        return False

    def _check_work(self, found: Expansion, waiting: list[str]) -> None:
        """Gives up at once: each alternative of what reaches further is expanded by itself."""
        far = sum(c.options for c in found.choices if c.path in waiting and not _region(found, c))
        if found.spent * far > 2 * _MOST_WORK:
            raise self._too_long(found)
        if self.budget:
            ways = math.prod(c.options for c in found.choices if c.path in waiting)
            if ways > _MOST_EXPANSIONS:
                raise self._too_long(found, over=True)

    # --- many choices at a time -----------------------------------------------------------

    def _jointly(
        self, script: dict[str, int], waiting: list[str], found: Expansion
    ) -> tuple[dict[str, int], set[str]]:
        """Networks by choice, for the first choices that no other depends on; and their inner."""
        if self.budget:
            return {}, set()
        choices = [c for c in found.choices if c.path in waiting and _region(found, c)]
        inner = {q.path for c in choices for q in _opened(found, c)}
        outer = [c for c in choices if c.path not in inner]
        while len(outer) > 1:
            before = self.expansions
            ways = self._ways(script, outer, found)
            if isinstance(ways, dict):
                within = {q.path for c in outer for q in _opened(found, c)}
                return ways, within
            self.expansions = before  # a vain attempt costs work, and no right to count on
            outer = outer[:ways]
        return {}, set()

    def _ways(
        self, script: dict[str, int], choices: list[Choice], first: Expansion
    ) -> dict[str, int] | int:
        """Networks by choice, from taking in all of them the first alternative, the second, …

        Where that changes nothing outside them, and they all give the same types, each choice
        sees the same around it whatever is taken in the others: the numbers multiply. If not,
        the answer is how many of the choices, from the first, may still do so.
        """
        paths = [choice.path for choice in choices]
        ways = dict.fromkeys(paths, 0)
        around = _around(first, paths)
        for i in range(max(choice.options for choice in choices)):
            taken = {c.path: min(i, c.options - 1) for c in choices}
            found = self._taking(script, taken) if i else first
            if (now := _around(found, paths)) != around:
                return _first_difference(around, now, len(paths))
            there = {**script, **taken}
            known = {c.path: c for c in found.choices}
            opened = {
                c.path: [q for q in _opened(found, known[c.path]) if q.options > 1]
                for c in choices
                if i < c.options
            }
            within = {q.path for inner in opened.values() for q in inner}
            counted = self._nested(there, [c for c in found.choices if c.path in within], found)
            if counted is None:
                return len(paths) // 2
            for path, inner in opened.items():
                ways[path] += math.prod(counted.get(q.path, 1) for q in inner)
        return ways

    def _nested(
        self, script: dict[str, int], choices: list[Choice], found: Expansion
    ) -> dict[str, int] | None:
        """The same for choices that alternatives opened."""
        if not choices:
            return {}
        if not all(_region(found, choice) for choice in choices):
            return None
        inner = {q.path for c in choices for q in _opened(found, c)}
        ways = self._ways(script, [c for c in choices if c.path not in inner], found)
        return ways if isinstance(ways, dict) else None

    def _taking(self, script: dict[str, int], taken: dict[str, int]) -> Expansion:
        """The network that takes these; if it is wrong, the fewest of them that make it so."""
        try:
            return self._at({**script, **taken})
        except _TooLong:
            raise
        except _Wrong as wrong:
            raise self._blamed(script, list(taken.items()), wrong) from None

    def _blamed(
        self, script: dict[str, int], taken: list[tuple[str, int]], wrong: _Wrong
    ) -> _Wrong:
        low, high = 0, len(taken)  # right with the first `low`, wrong with the first `high`
        while high - low > 1:
            middle = (low + high) // 2
            found = self._wrong({**script, **dict(taken[:middle])})
            low, high = (low, middle) if found else (middle, high)
            wrong = found or wrong
        return self._wrong({**script, **dict(taken[high - 1 : high])}) or wrong

    def _wrong(self, script: dict[str, int]) -> _Wrong | None:
        try:
            self._at(script)
        except _TooLong:
            raise
        except _Wrong as wrong:
            return wrong
        return None

    # --- expansions -----------------------------------------------------------------------

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
            raise self._too_long(found)
        return found

    def _too_long(self, found: Expansion, over: bool = False) -> _TooLong:
        over = over or self.expansions > _MOST_EXPANSIONS
        what, limit = ("expansions", _MOST_EXPANSIONS) if over else ("steps", _MOST_WORK)
        what = f"{what} to count it"
        if self.budget:  # the budget of all couples choices that nothing else does
            what += ", and its budget asks for each network by itself"
        return _TooLong((errors.expansion_limit(found.choices[0].span, what, limit),))

    @staticmethod
    def _free(found: Expansion, script: Mapping[str, int]) -> list[Choice]:
        """Choices still to be made; one alternative alone leaves nothing to choose."""
        return [c for c in found.choices if c.path not in script and c.options > 1]


def _region(found: Expansion, choice: Choice) -> Region | None:
    return found.regions.get(choice.path)


def _opened(found: Expansion, choice: Choice) -> tuple[Choice, ...]:
    """The choices that the alternative taken opened, and those within them."""
    region = found.regions[choice.path]
    return found.choices[slice(*region.choices)]


def _outside(found: Expansion, paths: list[str]) -> tuple[object, ...]:
    """Operators and types of everything but the alternatives taken at ``paths``."""
    assert found.graph is not None
    within: set[int] = set()
    for path in paths:
        if path in found.regions:
            within.update(range(*found.regions[path].nodes))
    return tuple((n.op, n.type) for n in found.graph if n.id not in within)


def _around(found: Expansion, paths: list[str]) -> tuple[object, ...]:
    """All that may differ around choices, those first that tell which choice differs."""
    graph = found.graph
    assert graph is not None
    regions = [found.regions.get(path) for path in paths]
    known = {c.path: c for c in found.choices}
    inner = {q.path for p in paths if p in found.regions for q in _opened(found, known[p])}
    return (
        *(region and region.leaves for region in regions),
        _outside(found, paths),
        tuple((c.path, c.arguments) for c in found.choices if c.path not in inner),
        tuple((o.name, o.train) for o in graph.outputs),
        (graph.facts.valid, graph.facts.minimum),
    )


def _first_difference(before: tuple[object, ...], now: tuple[object, ...], count: int) -> int:
    """How many of the choices come before the one by which something differs."""
    for position in range(count):
        if before[position] != now[position]:
            return position
    return count // 2
