"""Guards of the rewrites that exchange, merge, compose and thin convolutions.

Each guard is taken away where it stands in the way: the function changes or the types refuse,
or, for guards that spare work, the work grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from cnndsl.ops.conv import Conv
from cnndsl.ops.reshape import Slice
from cnndsl.passes import average_exchange, compose_convolutions, merge_siblings
from cnndsl.passes.average_exchange import AverageExchange
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.compose_convolutions import ComposeConvolutions
from cnndsl.passes.convolutions import edges_of
from cnndsl.passes.dead_pixels import DeadPixels
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.merge_siblings import MergeSiblings
from cnndsl.passes.split_transform_merge import SplitTransformMerge
from cnndsl.passes.two_k import TwoK
from cnndsl.passes.windows import Window
from cnndsl.passes.winograd import Winograd
from tests.passes.guards import breaks, fires, flow_of, operators, rewrite
from tests.passes.hook import unmeasured
from tests.passes.oracle import assert_same

TILED = Winograd(always=True)
ENLARGE = MergeSiblings(enlarge=True)
SMALL = "16, 16"
EVEN = "\n  where H % 2 == 0, W % 2 == 0"


class Case(NamedTuple):
    """A network on which a guard refuses a rewrite, and what comes in the guard's place."""

    owner: Any
    guard: str
    instead: Callable[..., object]
    rewrite: Rewrite
    body: str
    size: str = "H, W"

    @property
    def text(self) -> str:
        return f"net N: [8, {self.size}] = {self.body}"


def name_of(case: Case) -> str:
    return f"{case.rewrite.name}-{case.guard}"


def yes(*_: object) -> bool:
    return True


def is_1x1(step: Step) -> bool:
    return isinstance(step.op, Conv) and step.op.kernel == (1, 1)


def largest_window(_: object, convs: list[Step]) -> Window:
    """That of the largest convolution, wherever the others look."""
    conv = max(convs, key=lambda step: step.op.kernel)  # type: ignore[attr-defined]
    return Window(conv.op.kernel, edges_of(conv))  # type: ignore[attr-defined]


def check(case: Case) -> None:
    assert not fires(case.rewrite, case.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case.owner, case.guard, case.instead)
        assert breaks(case.rewrite, case.text)


# --- guards without which the function changes ---------------------------------------------------

WRONG = [
    # average-exchange
    Case(AverageExchange, "keeps_bias", yes, AverageExchange(),
         "conv(4, 1) -> avgpool(3, stride=2, padding=1)"),
    Case(average_exchange, "keeps_positions", lambda step: isinstance(step.op, Conv),
         AverageExchange(), "conv(4, 3) -> avgpool(2)"),
    Case(average_exchange, "keeps_positions", is_1x1,
         AverageExchange(), "conv(4, 1, stride=2) -> avgpool(2)"),
    Case(average_exchange, "keeps_positions", is_1x1,
         AverageExchange(), "conv(4, 1, padding=1) -> gap"),
    # merge-siblings
    Case(MergeSiblings, "grid", lambda *_: 0, MergeSiblings(),
         "conv(2, 3) -> maxpool(2) | conv(2, 3, stride=2)", SMALL),
    Case(MergeSiblings, "grid", lambda *_: 0, MergeSiblings(),
         "conv(2, 3, padding=2) -> gap | conv(2, 3, dilation=2) -> gap", SMALL),
    Case(MergeSiblings, "grid", lambda *_: 0, MergeSiblings(),
         "conv(2, 3) -> gap | conv(2, 3, groups=2) -> gap", SMALL),
    Case(MergeSiblings, "is_dense", yes, MergeSiblings(),
         "conv(4, 3, groups=2) | conv(4, 3, groups=2)"),
    Case(MergeSiblings, "window", largest_window, ENLARGE,
         "conv(4, 3, dilation=2) | conv(4, 2, dilation=2, padding=1)", SMALL),
    Case(MergeSiblings, "window", largest_window, ENLARGE,
         "conv(4, 3, stride=2, dilation=2)"
         " | conv(4, 2, stride=2, dilation=2, padding=(1, 0, 1, 0))", SMALL),
    Case(MergeSiblings, "window", largest_window, ENLARGE,
         "conv(4, 3) -> gap | conv(4, 1, padding=1) -> gap", SMALL),
    Case(MergeSiblings, "window", largest_window, ENLARGE,
         "conv(4, 3, padding=0) -> gap | conv(4, 3) -> gap", SMALL),
    # split-transform-merge
    Case(SplitTransformMerge, "shape", lambda _, branch: len(branch.steps), SplitTransformMerge(),
         "conv(2, 1) -> relu -> conv(4, 3) | conv(2, 1) -> tanh -> conv(4, 3)"),
    Case(SplitTransformMerge, "slices", lambda _, found, __: found, SplitTransformMerge(),
         "slice(4, 8) -> conv(4, 3) | slice(0, 4) -> conv(4, 3)"),
    Case(SplitTransformMerge, "slices", lambda _, found, __: found, SplitTransformMerge(),
         "slice(0, 4) -> conv(4, 3) | slice(0, 4) -> conv(4, 3)"),
    Case(SplitTransformMerge, "slices", lambda _, found, __: found, SplitTransformMerge(),
         "slice(0, 2) -> conv(4, 3) | slice(2, 4) -> conv(4, 3)"),
    Case(SplitTransformMerge, "is_in_order", yes, SplitTransformMerge(),
         "conv(2, 1) -> relu -> conv(8, 3) | id | conv(2, 1) -> relu -> conv(8, 3)"),
    Case(SplitTransformMerge, "ends_in_sum", yes, SplitTransformMerge(),
         "conv(4, 1) -> relu -> conv(8, 3, groups=2) + conv(4, 1) -> relu -> conv(8, 3, groups=2)"),
    Case(SplitTransformMerge, "is_one_size", yes, SplitTransformMerge(),
         "conv(2, 1, stride=2) -> relu -> conv(8, 1) + conv(2, 1, stride=2) -> relu -> conv(8, 1)"
         f" + maxpool(2){EVEN}"),
    # compose-convolutions
    Case(ComposeConvolutions, "is_dense", yes, ComposeConvolutions(),
         "conv(32, 1, bias=no) -> conv(8, 3, groups=2)"),
    Case(ComposeConvolutions, "is_dense", yes, ComposeConvolutions(),
         "conv(32, 1, groups=2, bias=no) -> conv(8, 3)"),
    Case(ComposeConvolutions, "sees_bias", yes, ComposeConvolutions(),
         "conv(32, 1) -> conv(8, 3)"),
    Case(compose_convolutions, "keeps_positions", is_1x1, ComposeConvolutions(),
         "conv(32, 1, stride=2) -> conv(8, 3, padding=0)"),
    Case(compose_convolutions, "keeps_positions", is_1x1, ComposeConvolutions(),
         "conv(32, 3, bias=no) -> conv(8, 1, padding=1)"),
    # dead-pixels
    Case(DeadPixels, "common_stride", lambda *_: (2, 2), DeadPixels(),
         "conv(4, 3) -> (conv(4, 1, stride=2) | conv(4, 3, stride=2))"),
    Case(DeadPixels, "common_stride", lambda *_: (2, 2), DeadPixels(),
         "conv(4, 3) -> (conv(4, 1, stride=2) -> gap | maxpool(1, stride=3) -> gap)"),
    Case(DeadPixels, "is_positionwise", yes, DeadPixels(),
         "conv(4, 3) -> conv_transpose(4, 3, padding=1) -> conv(4, 1, stride=2)"),
    Case(DeadPixels, "is_positionwise", yes, DeadPixels(),
         f"(conv(8, 3, stride=2) + maxpool(2)) -> conv(4, 1, stride=2){EVEN}"),
    Case(DeadPixels, "fits", yes, DeadPixels(),
         "maxpool(3, stride=2, ceil=yes) -> conv(4, 1, stride=2)"),
    # winograd
    Case(Winograd, "is_plain", yes, TILED, "conv(4, 3, stride=2)", SMALL),
    Case(Winograd, "is_plain", yes, TILED, "conv(4, 3, dilation=2)", SMALL),
    Case(Winograd, "is_plain", yes, TILED, "conv(4, 3, groups=2)", SMALL),
    Case(Winograd, "is_plain", yes, TILED, "conv(4, 5)", SMALL),
    Case(Winograd, "has_numbers", yes, TILED, "conv(4, 3)"),
    # two-k
    Case(TwoK, "is_product", lambda _, step: isinstance(step.op, Conv), TwoK(pays=True),
         "conv(8, 1) + conv(8, 3)"),
    Case(TwoK, "is_product", lambda _, step: isinstance(step.op, Conv), TwoK(pays=True),
         "relu -> conv(8, 1, groups=2) + conv(8, 1, groups=2)"),
    Case(TwoK, "is_one_size", yes, TwoK(pays=True),
         f"maxpool(2) + conv(8, 1, stride=2) + conv(8, 1, stride=2){EVEN}"),
]  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=name_of)
def test_without_the_guard_the_function_changes(case: Case) -> None:
    check(case)


def test_without_the_guard_sizes_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joins take it that sizes agree, so it is the values that do not fit."""
    text = "net N: [8, H, W] = maxpool(3, stride=1) -> conv(8, 1, padding=1) + conv(8, 1)"
    assert not fires(TwoK(pays=True), text)
    monkeypatch.setattr(TwoK, "is_product", lambda _, step: is_1x1(step))
    with pytest.raises(RuntimeError, match="must match"):
        rewrite(flow_of(text), TwoK(pays=True))


def test_a_bias_stays_behind_an_average_that_counts_padding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "net N: [16, H, W] = avgpool(3, stride=1, padding=1) -> conv(2, 1)"
    assert operators(_after(text, AverageExchange())) == ["conv", "avgpool", "affine"]
    monkeypatch.setattr(AverageExchange, "keeps_bias", yes)
    assert breaks(AverageExchange(), text)


def test_a_sum_of_activations_has_no_weights_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    branch = "conv(2, 1) -> conv(8, 3) -> relu"
    text = f"net N: [8, H, W] = {branch} + {branch}"
    assert not fires(SplitTransformMerge(), text)
    monkeypatch.setattr(SplitTransformMerge, "ends_in_sum", yes)
    with pytest.raises(KeyError):
        rewrite(flow_of(text), SplitTransformMerge())


def test_a_concatenation_keeps_the_size_it_settled_on(monkeypatch: pytest.MonkeyPatch) -> None:
    one = "conv(4, 1, stride=2)"
    text = f"net N: [8, H, W] = {one} | {one} | maxpool(2){EVEN}"
    assert operators(_after(text, MergeSiblings())).count("slice") == 2
    assert not fires(MergeSiblings(slices=False), text)
    monkeypatch.setattr(merge_siblings, "is_one_size", yes)
    assert breaks(MergeSiblings(), text)


# --- guards without which the work grows ---------------------------------------------------------

DEARER = [
    Case(AverageExchange, "may_move", yes, AverageExchange(),
         "conv(4, 1) @c -> (avgpool(2) | c -> maxpool(2))"),
    Case(AverageExchange, "may_move", yes, AverageExchange(),
         "avgpool(3, stride=1, padding=1) @p -> (conv(2, 1) | p)"),
    Case(AverageExchange, "reads_less", yes, AverageExchange(),
         "avgpool(3, stride=1, padding=1) -> conv(32, 1)"),
    Case(SplitTransformMerge, "is_private", yes, SplitTransformMerge(),
         "conv(2, 1) -> relu @m -> conv(8, 3) | conv(2, 1) -> relu -> conv(8, 3) | m"),
    Case(ComposeConvolutions, "may_go", yes, ComposeConvolutions(),
         "conv(6, 1, bias=no) -> (conv(8, 1) | id)"),
    Case(compose_convolutions, "_saved", lambda *_: 1, ComposeConvolutions(),
         "conv(2, 1, bias=no) -> conv(8, 3)"),
    Case(DeadPixels, "is_inside", yes, DeadPixels(),
         "conv(4, 3) @y -> conv(4, 1, stride=2) -> emit all: y -> relu"),
    Case(DeadPixels, "is_private", yes, DeadPixels(),
         "conv(4, 3) @y -> (relu -> conv(4, 1, stride=2) | y -> conv(4, 3, stride=2))"),
    Case(TwoK, "may_go", yes, TwoK(pays=True),
         "conv(8, 1) @y -> relu -> conv(8, 1) + y"),
]  # fmt: skip


@pytest.mark.parametrize("case", DEARER, ids=name_of)
def test_without_the_guard_the_work_grows(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    before = flow_of(case.text)
    assert not fires(case.rewrite, case.text)
    monkeypatch.setattr(case.owner, case.guard, case.instead)
    after = flow_of(case.text)
    # One sweep: the same place would be found again and again.
    with unmeasured():
        assert any(case.rewrite.visit(s, after) for s in list(after) if s.id in after.steps)
    assert_same(before, after)
    assert _work(after) > _work(before)


def _work(flow: Flow) -> tuple[int, int]:
    """Multiply-accumulates, then values that are written."""
    return flow.total_macs(), sum(flow.values(step) for step in flow)


def _after(text: str, which: Rewrite) -> Flow:
    flow = flow_of(text)
    rewrite(flow, which)
    return flow


# --- options -------------------------------------------------------------------------------------

SLICED = "conv(4, 1) -> relu -> conv(4, 3) | conv(4, 1) -> relu -> conv(4, 3)"
WHOLE = "conv(4, 3) | conv(6, 3) | id"
APART = "conv(4, 3) | id | conv(6, 3)"


@pytest.mark.parametrize(("body", "slices"), [(SLICED, 2), (WHOLE, 0), (APART, 2)])
def test_slices_are_left_only_where_they_may_be(body: str, slices: int) -> None:
    text = f"net N: [16, 32, 32] = {body}"
    found = _after(text, MergeSiblings())
    assert sum(isinstance(step.op, Slice) for step in found) == slices
    assert fires(MergeSiblings(slices=False), text) == (slices == 0)


def test_slices_that_an_engine_takes_apart_need_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge_siblings, "_becomes_operand", yes)
    found = _after(f"net N: [16, 32, 32] = {SLICED}", MergeSiblings(slices=False))
    assert "slice" in operators(found)


ENLARGED = [
    "conv(4, 3) | conv(4, 1)",
    "conv(4, 3, stride=2) | conv(4, 1, stride=2)",
    "conv(4, (1, 3)) | conv(4, (3, 1)) | conv(4, 5)",
    "conv(4, 3, dilation=2) | conv(4, 1, dilation=2)",
    "conv(4, 4, padding=(1, 2, 1, 2)) | conv(4, 2, padding=(0, 1, 0, 1), bias=no)",
]


@pytest.mark.parametrize("body", ENLARGED)
def test_smaller_windows_are_laid_into_the_largest(body: str) -> None:
    text = f"net N: [8, 16, 16] = {body}"
    assert operators(_after(text, ENLARGE)) == ["conv"]
    assert not fires(MergeSiblings(), text)


def test_windows_that_do_not_fit_are_named() -> None:
    text = "net N: [8, H, W] = conv(4, 3, dilation=2) | conv(4, 2, dilation=2, padding=1)"
    (event,) = rewrite(flow_of(text), ENLARGE).missed
    assert event.text == "the windows of the convolutions on this input do not fit together"


def test_an_enlarged_window_spreads_what_is_not_a_number() -> None:
    text = f"net N: [8, 16, 16] = {ENLARGED[0]}"
    before, after = flow_of(text), _after(text, ENLARGE)
    assert_same(before, after, spreads=True)
    with pytest.raises(AssertionError, match="NaN is new"):
        assert_same(before, after)


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({"enlarge": True, "macs": 0.001}, ENLARGED[0]),  # products with zeros
        ({"copy": 1_000.0}, SLICED),
        ({"launch": 0, "read": 0.0}, WHOLE),
    ],
)
def test_costs_decide(changed: dict[str, Any], body: str) -> None:
    text = f"net N: [8, 16, 16] = {body}"
    free = {name: value for name, value in changed.items() if name == "enlarge"}
    assert fires(MergeSiblings(**free), text)
    trace = rewrite(flow_of(text), MergeSiblings(**changed))
    assert not trace.fired
    assert "does not pay" in trace.missed[0].text


def test_two_products_as_one_are_an_option() -> None:
    text = "net N: [8, H, W] = relu -> conv(8, 1) + conv(8, 1, stride=1)"
    (event,) = rewrite(flow_of(text), TwoK()).missed
    assert event.text == "one product over both inputs does not pay: they would be copied"
    assert fires(TwoK(pays=True), text)


@pytest.mark.parametrize(
    ("channels", "size", "tile"),
    [
        (256, "56, 56", "4x4"),
        (512, "28, 28", "4x4"),
        (512, "14, 14", "4x1"),
        (128, "28, 28", "4x1"),
        (64, "56, 56", "4x1"),
        (64, "224, 224", ""),  # as many values as products
        (512, "7, 7", ""),  # as many weights
    ],
)
def test_tiles_pay_by_their_costs(channels: int, size: str, tile: str) -> None:
    flow = flow_of(f"net N: [{channels}, {size}] = conv({channels}, 3)")
    (conv,) = (step for step in flow if step.inputs)
    with unmeasured():  # the oracle would take seconds for these sizes
        found = Winograd().visit(conv, flow)
    if tile:
        assert found == Fired(f"a 3x3 convolution by tiles of {tile}")
    else:
        assert isinstance(found, Missed)
