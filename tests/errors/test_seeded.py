"""Mistakes put into the zoo: one error for each, on the line where it was made."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import cnndsl
from cnndsl import Diagnostic
from cnndsl.ops import catalogue

EXAMPLES = Path(__file__).parents[2] / "examples"
FAULTS = 160
_COMMENT = re.compile(r"#[^\n]*")


class Fault(NamedTuple):
    """A file with one mistake in it."""

    name: str
    lines: set[int]
    """Where it was made; for a missing bracket also where its partner stands."""
    text: str
    codes: frozenset[str]


Mistake = Callable[[str, re.Match[str]], str]


def _swapped(text: str, found: re.Match[str]) -> str:
    """Two letters of a word change places."""
    word = found.group(1)
    return found.group().replace(word, word[0] + word[2] + word[1] + word[3:], 1)


def _one_more(text: str, found: re.Match[str]) -> str:
    number = found.group(1)
    return found.group().replace(number, str(int(number) + 1), 1)


def _nothing(text: str, found: re.Match[str]) -> str:
    return ""


NAMES = {"E0201"}
SIZES = {"E0401", "E0402", "E0403", "E0404", "E0405"}
SHAPES = {f"E040{i}" for i in range(1, 7)} | {"E0207", "E0302", "E0303", "E0306", "E0501"}
_LAYER = "|".join(sorted(n for n in catalogue() if len(n) > 2 and n[1] != n[2]))
MISTAKES: list[tuple[str, Mistake, set[str]]] = [
    (rf"\b({_LAYER})\(", _swapped, NAMES),
    (r"(?<=[(, ])(stride|kernel|padding|groups)=", _swapped, {"E0301"}),
    (r"-> (?=[a-z])", _nothing, {"E0101"}),
    (r"\)(?= ->)", _nothing, {"E0104", "E0101"}),
    (r"\bstride=([23])\b", _one_more, SHAPES),
    (r"\bconv\(([0-9]+),", _one_more, SHAPES),
    (r"\bpadding=([0-9])\b", _one_more, SHAPES),
    (r"\bgroups=([0-9]+)\b", _one_more, SHAPES),
    (r"\bupsample\(([0-9]+)", _one_more, SHAPES),
    (r"\bmaxpool\(([0-9]+),", _one_more, SHAPES),
]


def faults() -> Iterator[Fault]:
    """Places where a mistake can be made: kinds in turn, in an order drawn once."""
    rng = random.Random(0)
    kinds = [list(_places(*mistake)) for mistake in MISTAKES]
    for kind in kinds:
        rng.shuffle(kind)
    for row in zip_longest(*kinds):
        yield from (fault for fault in row if fault is not None)


def _places(pattern: str, mistake: Mistake, codes: set[str]) -> Iterator[Fault]:
    for path in sorted(EXAMPLES.glob("*.cnn")):
        text = path.read_text(encoding="utf-8")
        code = _COMMENT.sub(_blank, text)
        for match in re.finditer(pattern, code) if path.stem != "nas" else ():
            changed = text[: match.start()] + mistake(text, match) + text[match.end() :]
            places = {match.start()}
            if match.group() == ")":
                places.add(_partner(code, match.start()))
            lines = {text.count("\n", 0, place) + 1 for place in places}
            yield Fault(path.name, lines, changed, frozenset(codes))


def _partner(code: str, at: int) -> int:
    depth = 1
    while depth:
        at -= 1
        depth += (code[at] == ")") - (code[at] == "(")
    return at


def _blank(found: re.Match[str]) -> str:
    return " " * len(found.group())


def lines_of(diagnostic: Diagnostic) -> set[int]:
    """Every line the report points at: its places from first to last line, and its calls."""
    lines = {int(n) for call in diagnostic.trace for n in re.findall(r"line ([0-9]+)$", call)}
    for label in diagnostic.labels:
        last = label.span.source.position(label.span.end)[0]
        lines.update(range(label.span.line, last + 1))
    return lines


def test_seeded_faults() -> None:
    single = right = total = fixed = shapes = 0
    wrong: list[str] = []
    for fault in faults():
        program = cnndsl.loads(fault.text, name=fault.name, root=EXAMPLES)
        errors = [d for d in program.diagnostics if d.severity == "error"]
        if not errors:
            continue  # another network, and a sound one
        total += 1
        single += len(errors) == 1
        right += any(fault.lines & lines_of(d) for d in errors)
        if errors[0].code in SIZES:
            shapes += 1
            fixed += bool(errors[0].fixes)
        if len(errors) > 1 or errors[0].code not in fault.codes:
            wrong.append(f"{fault.name}:{fault.lines} {[(d.code, d.message) for d in errors]}")
        if total == FAULTS:
            break
    assert total >= 0.5 * FAULTS
    assert single >= 0.95 * total, wrong
    assert right >= 0.98 * total
    assert shapes >= 20 and fixed >= 0.9 * shapes
    assert len(wrong) <= 0.05 * total, wrong
