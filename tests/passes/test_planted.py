"""Would the oracle notice? Planted mistakes are all caught, and nothing that is right is."""

from __future__ import annotations

import pytest

import cnndsl
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import REWRITES
from tests.passes.oracle import assert_same
from tests.passes.planted import EDITS, LEGAL, PAIRS, Broken, Edit

PLANTED = {
    **{name: (f"net N: [4, H, W] = {body}", edit) for name, (body, edit) in EDITS.items()},
    **{
        name: (f"net N: [4, H, W] a, [4, H, W] b = {body}", edit)
        for name, (body, edit) in PAIRS.items()
    },
}


def flow_of(text: str) -> Flow:
    if "flatten(order" in text or "ceil" in text:  # else types tell the mistake already
        text = text.replace("H, W", "7, 5")
    return Flow(cnndsl.loads(text).net().graph)


def edited(text: str, edit: Edit) -> tuple[Flow, Flow]:
    before = flow_of(text)
    after = before.copy()
    edit(after)
    return before, after


def test_there_are_many() -> None:
    assert len(PLANTED) >= 40


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_caught(name: str) -> None:
    before, after = edited(*PLANTED[name])
    with pytest.raises(AssertionError):
        assert_same(before, after)


@pytest.mark.parametrize("name", PLANTED)
def test_it_is_caught_in_the_results_alone(name: str) -> None:
    before, after = edited(*PLANTED[name])
    with pytest.raises(AssertionError, match="result"):
        assert_same(before, after, inside=False)


def test_a_mistake_behind_what_was_right_is_caught() -> None:
    """Numbers and values of the rewrites before are used again, and hide nothing."""
    flow = flow_of("net N: [4, H, W] = conv(4, 3) -> id -> bn -> dropout(0.5) -> relu -> gap")
    trace = Trace()
    for name in ("remove-identity", "norm-to-affine", "fold-affine"):
        assert REWRITES[name].run(flow, trace)
    with pytest.raises(AssertionError, match="values differ"):
        Broken().run(flow, trace)


@pytest.mark.parametrize("name", LEGAL)
@pytest.mark.parametrize("seed", range(5))
def test_no_false_alarm(name: str, seed: int) -> None:
    body, edit = LEGAL[name]
    before, after = edited(f"net N: [4, H, W] = {body}", edit)
    assert_same(before, after, seed=seed)
