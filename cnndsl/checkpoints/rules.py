"""Map files: which foreign name means which of ours.

One rule a line, the first that fits a name is used; a name that none fits stays as it is::

    # the old names of DenseNet
    features.denseblock{b}.denselayer{l}.norm.{i} -> features.denseblock{b}.denselayer{l}.norm{i}
    module.** -> **
    head -> -

A rule speaks of modules and of single tensors alike: what follows the named module is kept.
``{b}`` is a number, ``*`` one part of a name between dots, ``**`` any number of parts; each
stands on the right too. ``-`` takes nothing over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cnndsl.checkpoints.bounds import NAME, WeightsError
from cnndsl.diagnostics.display import escape

HEADING = "# cnndsl weights map 1"
DROPPED = "-"
_ARROW = " -> "
_RULES = 10_000
_HOLE = re.compile(r"\{(\w+)\}|(\*\*?)")
_PATTERNS = {"*": "([^.]+)", "**": "(.+)", "{": r"(?<!\d)(\d+)(?!\d)"}


@dataclass(frozen=True)
class Rule:
    """``line`` is its place in the file, from 1."""

    old: str
    new: str
    line: int
    pattern: re.Pattern[str]
    pieces: Sequence[str | int]
    """The new name: texts, and numbers of the pattern's groups."""

    def apply(self, name: str) -> str | None:
        """The name in the network; None where the rule does not speak of it."""
        found = self.pattern.fullmatch(name)
        if found is None:
            return None
        if self.new == DROPPED:
            return DROPPED
        return "".join(p if isinstance(p, str) else found[p] for p in self.pieces) + found["rest"]

    def text(self) -> str:
        return f"{self.old}{_ARROW}{self.new}"


class Rules:
    """A map file's rules, in order."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)

    def apply(self, names: Iterable[str]) -> tuple[dict[str, str], list[Rule]]:
        """New names by old ones, dropped ones left out, and the rules that fitted nothing.

        Raises WeightsError when two names become one.
        """
        found: dict[str, str] = {}
        owners: dict[str, str] = {}
        used: set[int] = set()
        for name in names:
            new = name
            for index, rule in enumerate(self.rules):
                given = rule.apply(name)
                if given is not None:
                    new = given
                    used.add(index)
                    break
            if new == DROPPED:
                continue
            if new in owners:
                raise WeightsError(
                    f"the map makes `{escape(new)}` of two: `{escape(owners[new])}` and "
                    f"`{escape(name)}`"
                )
            found[name] = new
            owners[new] = name
        return found, [rule for index, rule in enumerate(self.rules) if index not in used]


def parse(text: str) -> Rules:
    """The rules of a map file. Raises WeightsError with the line that is none."""
    rules = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        old, arrow, new = stripped.partition(_ARROW)
        if not arrow or not old.strip() or not new.strip():
            raise WeightsError(f"line {number}: a rule is `OLD -> NEW`, not `{escape(line, 80)}`")
        rules.append(rule(old.strip(), new.strip(), number))
    if len(rules) > _RULES:
        raise WeightsError(f"there are {len(rules):,} rules: at most {_RULES:,}")
    return Rules(rules)


def rule(old: str, new: str, line: int = 0) -> Rule:
    """One rule. Raises WeightsError when it can be understood in no way, or in two."""
    where = f"line {line}: " if line else ""
    if max(len(old), len(new)) > NAME or not (old + new).isprintable():
        raise WeightsError(f"{where}`{escape(old, 40)}` is no name")
    holes: list[str] = []
    parts = []
    end = 0
    for hole in _HOLE.finditer(old):
        _check_hole(old, hole, holes, where)
        parts.append(re.escape(old[end : hole.start()]))
        parts.append(_PATTERNS[hole[2] or "{"])
        holes.append(hole[1] or hole[2])
        end = hole.end()
    parts.append(re.escape(old[end:]))
    pattern = re.compile("".join(parts) + r"(?P<rest>(?:\..+)?)")
    return Rule(old, new, line, pattern, _pieces(new, holes, where))


def _check_hole(old: str, hole: re.Match[str], holes: list[str], where: str) -> None:
    """Every name fits a rule in one way, which is found without trying many."""
    before, behind = old[: hole.start()][-1:], old[hole.end() :][:1]
    if hole[2] and not (before in ("", ".") and behind in ("", ".")):
        raise WeightsError(f"{where}`{hole[2]}` stands for whole parts between dots")
    if hole[1] and (before == "}" or behind == "{"):
        raise WeightsError(f"{where}two numbers need something between them")
    name = hole[1] or hole[2]
    if name in holes:
        raise WeightsError(f"{where}`{escape(hole[0])}` stands twice on the left")


def _pieces(new: str, holes: list[str], where: str) -> list[str | int]:
    pieces: list[str | int] = []
    end = 0
    for hole in _HOLE.finditer(new):
        name = hole[1] or hole[2]
        if name not in holes:
            raise WeightsError(f"{where}`{escape(hole[0])}` is not on the left")
        pieces += [new[end : hole.start()], holes.index(name) + 1]
        end = hole.end()
    return [*pieces, new[end:]]


def write(rules: Iterable[Rule], remarks: Mapping[str, Sequence[str]] | None = None) -> str:
    """A map file; ``remarks`` are comments by their heading, for what a person must decide."""
    lines = [HEADING, *(rule.text() for rule in rules)]
    for heading, remark in (remarks or {}).items():
        lines += ["", f"# {heading}", *(f"#? {line}" for line in remark)]
    return "\n".join(lines) + "\n"
