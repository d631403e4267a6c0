"""The name that was probably meant.

Five sources, surest first: the same name but for case and underscores; the name another
framework uses for it; a slip of the fingers; a name that begins so; a slip in another framework's
name. Better silent than silly: a far-off guess sends people the wrong way.
"""

from __future__ import annotations

from collections.abc import Iterable

from cnndsl.diagnostics.aliases import ALIASES

_LONGEST = 64
_LONG_ALIAS = 6
_DIGITS = str.maketrans("", "", "0123456789")


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The one of ``candidates`` that ``name`` was probably meant to be, or None."""
    names = [c for c in dict.fromkeys(candidates) if c != name]
    if not names or not name or len(name) > _LONGEST:
        return None
    ways = (_same, _alias, _slip, _start, _slip_of_alias)
    return next((meant for way in ways if (meant := way(name, names))), None)


def distance(a: str, b: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours; ``limit + 1`` when above."""
    if abs(len(a) - len(b)) > limit or _unshared(a, b) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, older[j - 2] + 1)
            row.append(best)
        if min(row) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def _unshared(a: str, b: str) -> int:
    """Letters of one without a partner in the other: at least so many steps lie between."""
    alone = 0
    for char in a:
        if char in b:
            b = b.replace(char, "", 1)
        else:
            alone += 1
    return max(alone, len(b))


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _same(name: str, names: list[str]) -> str | None:
    folded = _folded(name)
    return next((c for c in names if folded and _folded(c) == folded), None)


def _alias(name: str, names: list[str]) -> str | None:
    known = set(names)
    folded = _folded(name)
    for key in (folded, _without_rank(folded)):
        meant = next((c for c in ALIASES.get(key, ()) if c in known), None)
        if meant:
            return meant
    return None


def _without_rank(folded: str) -> str:
    return folded.removesuffix("1d").removesuffix("2d").removesuffix("3d")


def _slip_of_alias(name: str, names: list[str]) -> str | None:
    """``bacthnorm`` is ``batchnorm``: one slip in a long name of another framework."""
    folded = _without_rank(_folded(name))
    if len(folded) < _LONG_ALIAS:
        return None
    keys = sorted(key for key in ALIASES if len(key) >= _LONG_ALIAS and key[0] == folded[0])
    near = (k for k in keys if _digits(k) == _digits(folded) and distance(folded, k, 1) == 1)
    return next((meant for key in near if (meant := _alias(key, names))), None)


def _slip(name: str, names: list[str]) -> str | None:
    """The nearest by typing distance; a name of one or two letters has no typing distance."""
    folded = _folded(name)
    found = []
    for candidate in names:
        other = _folded(candidate)
        limit = _tolerance(min(len(folded), len(other)))
        if limit and not _numbered(folded, other):
            steps = distance(folded, other, limit)
            if steps <= limit:
                odd = folded[:1] != other[:1], _digits(folded) != _digits(other)
                found.append((steps, *odd, -len(other), candidate))
    return min(found)[-1] if found else None


def _tolerance(length: int) -> int:
    return 0 if length < 3 else 1 if length < 6 else 2 if length < 10 else 3


def _numbered(a: str, b: str) -> bool:
    """``conv1`` and ``conv2`` are two names, not a slip."""
    return len(a) == len(b) and a.translate(_DIGITS) == b.translate(_DIGITS)


def _digits(name: str) -> str:
    return "".join(char for char in name if char.isdigit())


def _start(name: str, names: list[str]) -> str | None:
    """``maxpool2d`` is ``maxpool``, and ``pad`` is ``padding`` when nothing else starts so."""
    folded = _folded(name)
    inside = [c for c in names if len(c) >= 3 and folded.startswith(_folded(c))]
    longest = max(inside, key=len, default="")
    if longest and len(_folded(longest)) * 2 >= len(folded):
        return longest
    beyond = [c for c in names if len(folded) >= 3 and _folded(c).startswith(folded)]
    return beyond[0] if len(beyond) == 1 else None
