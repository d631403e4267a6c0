"""A map file from pairs of names: a few patterns where the names follow one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.checkpoints.rules import Rule, Rules, rule

_NUMBER = re.compile(r"\d+")
_HOLES = "abcdefghijklmnopqrstuvwxyz"

Pair = tuple[str, str]
"""Their name of a module, and ours."""


def propose(pairs: Sequence[Pair], others: Sequence[str] = ()) -> list[Rule]:
    """Rules that make the second name of each pair of the first, and touch no ``others``.

    Patterns where several names follow one; a pattern that would do anything else than the
    pairs say is left away for plain lines.
    """
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    lead = _lead(changed)
    if lead is not None and _is_exact([lead], pairs, others):
        return [lead]
    found: list[Rule] = []
    for group in _grouped(changed):
        pattern = _pattern(group) if len(group) > 1 else None
        if pattern is not None and _is_exact([pattern], group, ()):
            found.append(pattern)
        else:
            found.extend(rule(old, new) for old, new in group)
    if _is_exact(found, pairs, others):
        return found
    inner_first = sorted(changed, key=lambda pair: -pair[0].count("."))
    return [rule(old, new) for old, new in inner_first]


def _is_exact(rules: Sequence[Rule], pairs: Sequence[Pair], others: Sequence[str]) -> bool:
    wanted = dict(pairs)
    try:
        names, _ = Rules(rules).apply([*wanted, *others])
    except WeightsError:
        return False
    return names == {**{name: name for name in others}, **wanted}


def _lead(pairs: Sequence[Pair]) -> Rule | None:
    """One beginning that all names have on one side only."""
    if len(pairs) < 2:
        return None
    old, new = pairs[0]
    if old.endswith(f".{new}"):
        return rule(f"{old[: -len(new)]}**", "**")
    if new.endswith(f".{old}"):
        return rule("**", f"{new[: -len(old)]}**")
    return None


def _grouped(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs that are alike but for numbers."""
    groups: dict[Pair, list[Pair]] = {}
    for old, new in pairs:
        groups.setdefault((_NUMBER.sub("#", old), _NUMBER.sub("#", new)), []).append((old, new))
    return list(groups.values())


def _pattern(group: Sequence[Pair]) -> Rule | None:
    """The rule of a group; None where its numbers do not follow from each other."""
    old = [_NUMBER.findall(pair[0]) for pair in group]
    new = [_NUMBER.findall(pair[1]) for pair in group]
    taken: dict[int, str] = {}
    right: list[str] = []
    for place in range(len(new[0])):
        values = [numbers[place] for numbers in new]
        same = len(set(values)) == 1
        source = next(
            (i for i in range(len(old[0])) if i not in taken and [n[i] for n in old] == values),
            None,
        )
        if same or source is None:
            if not same:
                return None
            right.append(values[0])
        else:
            taken[source] = _HOLES[len(taken) % len(_HOLES)]
            right.append(f"{{{taken[source]}}}")
    left = [f"{{{taken[i]}}}" if i in taken else old[0][i] for i in range(len(old[0]))]
    if any(i not in taken and len({n[i] for n in old}) > 1 for i in range(len(old[0]))):
        return None
    try:
        return rule(_filled(group[0][0], left), _filled(group[0][1], right))
    except WeightsError:
        return None


def _filled(name: str, numbers: Sequence[str]) -> str:
    rest = iter(numbers)
    return _NUMBER.sub(lambda _: next(rest), name)
