"""Wrong programs: refused with the right code, line and path, one error for each cause."""

from __future__ import annotations

from functools import cache

import pytest

from cnndsl import Diagnostic
from tests.errors import reports

CASES = reports.cases()
SHAPES = {"E0401", "E0402", "E0403", "E0404", "E0405"}


@cache
def found_in(name: str) -> tuple[Diagnostic, ...]:
    return reports.check(CASES[name][1])


@pytest.mark.parametrize("name", CASES)
def test_code_line_and_path(name: str) -> None:
    remark, _ = CASES[name]
    found = [reports.place(d) for d in found_in(name)]
    wanted = reports.expected(remark)
    assert wanted, f"{name} says nothing to expect"
    if any(line.startswith("E") for line in wanted):
        found = [line for line in found if line.startswith("E")]
    assert found == wanted


@pytest.mark.parametrize("name", CASES)
def test_every_printed_fix_holds(name: str) -> None:
    """Applied one at a time: its error is gone, and if it was the only one, all are."""
    _, case = CASES[name]
    for diagnostic in found_in(name):
        for fix in diagnostic.fixes if diagnostic.severity == "error" else ():
            assert fix.checked
            after = reports.check(case.with_texts(reports.applied(fix)))
            errors = [d for d in after if d.severity == "error"]
            assert len(errors) == fix.left, (fix.title, errors)
            assert reports.place(diagnostic) not in map(reports.place, errors)


def test_the_corpus_is_large_and_its_errors_are_single() -> None:
    wrong = [remark for remark, _ in CASES.values() if "expect: E" in remark]
    single = [r for r in wrong if sum(e[0] == "E" for e in reports.expected(r)) == 1]
    assert len(wrong) >= 150
    assert len(single) >= 0.95 * len(wrong)


def test_most_shape_faults_get_a_fix() -> None:
    faults = [
        diagnostic
        for name, (remark, _) in CASES.items()
        if any(line[:5] in SHAPES for line in reports.expected(remark))
        for diagnostic in found_in(name)
        if diagnostic.code in SHAPES
    ]
    without = [reports.place(d) for d in faults if not d.fixes]
    assert len(faults) >= 55
    assert len(without) <= 0.1 * len(faults), without


def test_shape_faults_show_their_arithmetic() -> None:
    """A join names both sizes, an axis that changes its formula, and the step that changes it."""
    (found,) = found_in("joins/stride_on_one_side")
    assert found.path == "layer2.0" and found.trace == (
        "Bottleneck(128, stride=2), expanded from line 8",
        "Stage(Bottleneck, 128, 4, 2), expanded from line 13",
    )
    assert [(label.span.line, label.text) for label in found.labels] == [
        (5, ""),
        (4, "channels 512, height floor((H+7)/8)"),
        (5, "channels 256, height floor((H+3)/4), unchanged since layer1, line 12"),
        (4, "the paths part here: channels become 512"),
        (3, "the paths part here: height and width halve"),
    ]
    assert found.notes[0] == "channels: 512 vs 256; height and width at H=224: 28 vs 56"
    assert found.notes[1].endswith(" = floor((H+7)/8)")
    assert "+ downsample: (conv(4*c, 1, stride=stride) -> bn)" in reports.text(found)
