"""Fixes applied in memory: whole or not at all, first come first served."""

from hypothesis import given
from hypothesis import strategies as st

from cnndsl.diagnostics import Diagnostic, Edit, Fix, Label
from cnndsl.diagnostics.apply import apply_fixes, edited, plan_fixes
from cnndsl.source import Source, Span
from tests.diagnostics.places import at

MAIN = Source("main.cnn", "net A: [3, H, W] = cnov(8, 3) -> rleu -> cnov(4, 1)\n")
UNIT = Source("unit.cnn", "def Unit(c) = conv(c, 3)\n")


def problem(*edits: Edit, checked: bool = True) -> Diagnostic:
    return Diagnostic("E0201", "no", (Label(edits[0].span),), fixes=(Fix("f", edits, checked),))


def insert(source: Source, offset: int, text: str) -> Edit:
    return Edit(Span(source, offset, offset), text)


def test_fixes_of_several_places_and_files() -> None:
    found = [
        problem(Edit(at(MAIN, "cnov", 1), "conv")),
        problem(Edit(at(MAIN, "cnov"), "conv")),
        problem(Edit(at(MAIN, "rleu"), "relu"), insert(UNIT, 0, "# units\n")),
    ]
    assert apply_fixes(found) == {
        MAIN: "net A: [3, H, W] = conv(8, 3) -> relu -> conv(4, 1)\n",
        UNIT: "# units\ndef Unit(c) = conv(c, 3)\n",
    }
    assert MAIN.text.count("cnov") == 2


def test_one_fix_may_change_the_same_place_of_two_files() -> None:
    found = problem(Edit(Span(MAIN, 0, 3), "x"), Edit(Span(UNIT, 0, 3), "x"))
    assert {text[:2] for text in apply_fixes([found]).values()} == {"x "}


def test_nothing_to_do() -> None:
    assert apply_fixes([]) == {}
    assert (
        apply_fixes([Diagnostic("E0201", "no"), Diagnostic("E0201", "no", fixes=(Fix("f", ()),))])
        == {}
    )


def test_only_checked_fixes_unless_told() -> None:
    found = [problem(Edit(at(MAIN, "rleu"), "relu"), checked=False)]
    assert apply_fixes(found) == {}
    assert "relu" in apply_fixes(found, only_checked=False)[MAIN]


def test_the_first_suitable_fix_of_a_diagnostic_is_taken() -> None:
    fixes = (
        Fix("unchecked", (Edit(at(MAIN, "rleu"), "elu"),)),
        Fix("first", (Edit(at(MAIN, "rleu"), "relu"),), checked=True),
        Fix("second", (Edit(at(MAIN, "rleu"), "silu"),), checked=True),
    )
    plan = plan_fixes([Diagnostic("E0201", "no", fixes=fixes)])
    assert "-> relu ->" in plan.texts[MAIN]
    assert [fix.title for _, fix in plan.done] == ["first"]


def test_overlapping_fixes_first_wins_and_the_rest_is_reported_whole() -> None:
    first = problem(Edit(at(MAIN, "cnov(8, 3)"), "conv(8, 3)"))
    second = problem(insert(UNIT, 0, "# units\n"), Edit(at(MAIN, "8"), "16"))
    third = problem(Edit(at(MAIN, "rleu"), "relu"))
    plan = plan_fixes([first, second, third])
    assert plan.texts == {MAIN: "net A: [3, H, W] = conv(8, 3) -> relu -> cnov(4, 1)\n"}
    assert plan.left == ((second, second.fixes[0]),)
    assert [d for d, _ in plan.done] == [first, third]


def test_the_same_change_twice_is_one_change() -> None:
    found = [problem(insert(MAIN, 0, "# a\n")), problem(insert(MAIN, 0, "# a\n"))]
    plan = plan_fixes(found)
    assert plan.texts[MAIN].startswith("# a\nnet") and len(plan.done) == 2 and not plan.left


def test_two_insertions_at_one_place_clash_but_neighbours_do_not() -> None:
    clash = plan_fixes([problem(insert(MAIN, 4, "x")), problem(insert(MAIN, 4, "y"))])
    assert clash.texts[MAIN].startswith("net xA") and len(clash.left) == 1
    span = at(MAIN, "rleu")
    touching = plan_fixes(
        [
            problem(Edit(span, "relu")),
            problem(insert(MAIN, span.start, "a: ")),
            problem(insert(MAIN, span.end, " @t")),
            problem(insert(MAIN, span.start + 1, "!")),
        ]
    )
    assert "-> a: relu @t ->" in touching.texts[MAIN] and len(touching.left) == 1


def test_edits_outside_the_text_or_over_each_other_are_left() -> None:
    beyond = problem(Edit(Span(MAIN, 5, 500), ""))
    crossed = problem(Edit(Span(MAIN, 0, 5), "x"), Edit(Span(MAIN, 3, 8), "y"))
    backward = problem(Edit(Span(MAIN, 8, 5), "x"))
    plan = plan_fixes([beyond, crossed, backward])
    assert plan.texts == {} and len(plan.left) == 3
    assert edited("abc", [Edit(Span(MAIN, 0, 4), "")]) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6), st.sampled_from(["", "x", "yz"]))))
def test_whatever_the_fixes_the_text_is_that_of_the_taken_ones(
    places: list[tuple[int, int, str]],
) -> None:
    source = Source("a.cnn", "abcdefghijklmnopqrst")
    found = [problem(Edit(Span(source, start, start + n), text)) for start, n, text in places]
    plan = plan_fixes(found)
    assert len(plan.done) + len(plan.left) == len(found)
    edits = {(e.span.start, e.span.end, e.text) for _, fix in plan.done for e in fix.edits}
    text = source.text
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    assert plan.texts == ({source: text} if edits else {})
