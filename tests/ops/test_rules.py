"""What operators refuse, and how they say it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from cnndsl.ops import Op, RuleError, catalogue
from cnndsl.ops.base import param, register, show, spell
from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Add, Concat, Mul
from cnndsl.ops.pool import MaxPool
from cnndsl.ops.reshape import Crop, Flatten, Pad, Slice
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import UNKNOWN, FeatureMap, Vector
from cnndsl.ops.values import Edges
from tests.ops.cases import read

H = Size.of("H")
X = FeatureMap(64, 8, 8)


def _refused(action: Callable[[], Any]) -> RuleError:
    with pytest.raises(RuleError) as caught:
        action()
    return caught.value


@pytest.mark.parametrize(
    ("text", "param", "rule", "message"),
    [
        ("conv", "out", "missing", "`conv` needs `out`"),
        ("conv(8)", "kernel", "missing", "`conv` needs `kernel`"),
        ("conv(8, 3, filters=2)", "filters", "value", "`conv` has no parameter `filters`"),
        ("conv(8, 3, out=2)", "out", "value", "`out` is given twice"),
        ("relu(1)", None, "value", "`relu` takes at most 0 parameters"),
        ("conv(2.5, 3)", "out", "value", "`out` needs a whole number, got 5/2"),
        ("conv(yes, 3)", "out", "value", "`out` needs a whole number, got yes"),
        ("conv(0, 3)", "out", "value", "`out` is at least 1, got 0"),
        ("conv(8, (3, 0))", "kernel", "value", "`kernel` is at least 1, got (3, 0)"),
        ("conv(8, (1, 2, 3))", "kernel", "value", "`kernel` needs one number or (height, width)"),
        ("conv(8, 3, padding=-1)", "padding", "value", "`padding` is at least 0"),
        ("conv(8, 3, padding=(1, 2, 3))", "padding", "value", "or (top, bottom, left, right)"),
        ("conv(8, 3, padding=valid)", "padding", "value", "whole number, got valid"),
        ("conv(8, 3, bias=1)", "bias", "value", "`bias` needs yes or no, got 1"),
        ("conv(9, 3, groups=2)", "groups", "groups", "does not divide 9 output channels"),
        ("conv(2147483648, 3)", "out", "value", "`out` is at most 2147483647"),
        ("conv_transpose(8, 3, output_padding=1)", "output_padding", "value", "1 >= max(1, 1)"),
        ("gelu(approximate=erf)", "approximate", "value", "is one of none, tanh, got erf"),
        ("dropout(p=1)", "p", "value", "`p` is at least 0 and below 1, got 1.0"),
        ("join(share=2)", "share", "value", "`share` is between 0 and 1"),
        ("lppool(0, 2)", "p", "value", "`p` is above 0"),
        ("maxpool(2, padding=2)", "padding", "value", "at most half the kernel: 2 > 2/2"),
        ("avgpool(3, padding=2)", "padding", "value", "at most half the kernel: 2 > 3/2"),
        ("upsample(2, align_corners=yes)", "align_corners", "value", "needs `mode=bilinear`"),
        ("pad(1, mode=reflect, value=1)", "value", "value", "needs `mode=constant`"),
        ("slice(3, 3)", "stop", "value", "start 3 is not below stop 3"),
        ("scale(often)", "by", "value", "`by` needs a number or `learned`, got often"),
        ("bn(eps=big)", "eps", "value", "`eps` needs a number, got big"),
    ],
)
def test_parameters_are_refused_by_name(
    text: str, param: str | None, rule: str, message: str
) -> None:
    error = _refused(lambda: read(text))
    assert (error.param, error.rule) == (param, rule)
    assert message in error.message


@pytest.mark.parametrize(
    ("text", "xs", "rule", "where", "message"),
    [
        (
            "conv(9, 3, groups=3)",
            (X,),
            "groups",
            "groups",
            "groups=3 does not divide 64 input channels (64 / 3 = 21 remainder 1)",
        ),
        ("conv_transpose(9, 3, groups=3)", (X,), "groups", "groups", "64 input channels"),
        ("group_norm(6)", (X,), "groups", "groups", "(64 / 6 = 10 remainder 4)"),
        ("channel_shuffle(7)", (X,), "groups", "groups", "(64 / 7 = 9 remainder 1)"),
        ("pixel_shuffle(3)", (X,), "channels", "factor", "(64 / 9 = 7 remainder 1)"),
        ("split(3)", (X,), "channels", "parts", "(64 / 3 = 21 remainder 1)"),
        ("prelu(num_parameters=2)", (X,), "channels", "num_parameters", "64; got 2"),
        ("slice(0, 65)", (X,), "channels", "stop", "channel 65, the input has 64"),
        ("pad_channels(65, before=2)", (X,), "channels", "out", "64 + 2 before > out=65"),
        ("flatten", (FeatureMap(64, H, 8),), "symbolic", None, "size of [64, H, 8]"),
        ("conv(8, 3)", (Vector(10),), "kind", 0, "`conv` needs a feature map [C, H, W], got a"),
        ("add", (X, Vector(64)), "kind", 1, "[64, 8, 8] and [64] differ"),
        ("concat", (X, X, Vector(64)), "kind", 2, "[64, 8, 8] and [64] differ"),
        ("add", (X, FeatureMap(32, 8, 8)), "channels", 1, "equal channels: 64 and 32"),
        ("mul", (X, FeatureMap(32, 1, 1)), "channels", 1, "equal channels: 64 and 32"),
        ("mul", (X, FeatureMap(64, 1, 8)), "space", 1, "or [64, 1, 1]; got [64, 1, 8]"),
        ("mul", (FeatureMap(64, 1, 1), X), "space", 1, "like [64, 1, 1]"),
        ("relu", (X, X), "operands", None, "`relu` needs 1 input, got 2"),
        ("add", (), "operands", None, "`add` needs at least one input, got 0"),
        ("crop(4)", (X,), "small", "amount", "`crop` leaves no height: 8 - 4 - 4 = 0"),
        ("pad(8, mode=reflect)", (X,), "small", "amount", "size of at least 9, got 8"),
    ],
)
def test_inputs_are_refused_at_the_parameter_or_operand_at_fault(
    text: str, xs: Any, rule: str, where: str | int | None, message: str
) -> None:
    error = _refused(lambda: read(text).infer(*xs))
    assert error.rule == rule
    assert where == (error.operand if error.param is None else error.param)
    assert message in error.message


def test_a_wrong_kind_says_what_to_do() -> None:
    assert _refused(lambda: Conv(8, 3).infer(Vector(10))).help == (
        "a vector has no height and width: put `conv` before `flatten`"
    )
    assert "`gap`" in _refused(lambda: Flatten().infer(FeatureMap(64, H, H))).help


def test_symbolic_sizes_pass_and_minima_are_told() -> None:
    x = FeatureMap(64, H, H)
    assert Conv(8, 7, padding=0).infer(x) == FeatureMap(8, H.plus(-6), H.plus(-6))
    assert Pad((3, 0, 2, 1), mode="reflect").needs(x) == ((H, 4), (H, 3))
    assert Crop(2).infer(x) == FeatureMap(64, H.plus(-4), H.plus(-4))
    assert MaxPool(3, 2).formula(x) == "floor((H + 2*0 - 1*(3-1) - 1)/2) + 1 = floor((H-1)/2)"
    assert Add().formula(x) == ""


def test_an_unknown_size_hides_only_what_depends_on_it() -> None:
    assert Conv(9, 3, groups=3).infer(FeatureMap(UNKNOWN, 8, H)) == FeatureMap(9, 8, H)
    assert Conv(9, 3).infer(FeatureMap(64, UNKNOWN, 8)) == FeatureMap(9, UNKNOWN, 8)
    assert Concat().infer(X, FeatureMap(UNKNOWN, 8, 8)) == FeatureMap(UNKNOWN, 8, 8)
    assert Add().infer(FeatureMap(UNKNOWN, 8, 8), X) == X
    assert Mul().infer(X, FeatureMap(64, UNKNOWN, UNKNOWN)) == X
    assert Slice(0, 3).infer(FeatureMap(UNKNOWN, 8, 8)) == FeatureMap(3, 8, 8)


def test_operators_are_values() -> None:
    conv = Conv(8, (3, 3), padding=(1, 1, 1, 1))
    assert conv == Conv(Fraction(8), 3) and conv != Conv(8, 5) and conv != "conv(8, 3)"
    assert {conv: 1}[Conv(8, 3)] == 1
    assert conv.replace(out=4) == Conv(4, 3)
    with pytest.raises(AttributeError, match="immutable"):
        conv.out = 4  # type: ignore[misc]


def test_defaults_that_follow_other_parameters() -> None:
    assert MaxPool(3) == MaxPool(3, 3) == MaxPool(3, stride="auto")
    assert MaxPool(3).text() == "maxpool(3)"
    assert Conv(8, 3, dilation=2).text(explicit=True) == (
        "conv(8, 3, stride=1, padding=2, dilation=2, groups=1, bias=auto)"
    )
    assert Conv(8, (3, 5)).padding == Edges(1, 1, 2, 2)


def test_values_are_shown_and_spelled_as_the_text_writes_them() -> None:
    assert show((True, Fraction(1, 2), Fraction(4), "word")) == "(yes, 0.5, 4, word)"
    assert spell(Edges(1, 1, 1, 1)) == "1" and spell(Edges(1, 1, 2, 2)) == "(1, 2)"
    assert spell(Edges(0, 1, 0, 1)) == "(0, 1, 0, 1)" and spell((2, 2)) == "2"
    assert spell(None) == "auto" and spell(False) == "no" and spell(1e-5) == "1e-05"


@pytest.mark.parametrize(
    "number", [float("nan"), float("inf"), Fraction(10) ** 400, 1.4e-45, -1.23456789012e-38, 1e39]
)
def test_numbers_are_finite_and_can_be_written(number: Any) -> None:
    assert _refused(lambda: read("bn").replace(eps=number)).param == "eps"


def test_declarations_that_make_no_sense_fail_at_once() -> None:
    with pytest.raises(TypeError, match="no coercion"):

        class Odd(Op):
            """An annotation that no coercion belongs to."""

            size: dict[str, int] = param(doc="sizes")

    with pytest.raises(TypeError, match="no flag `joins`"):

        class Other(Op, joins=True):
            """A flag that does not exist."""

    before = dict(catalogue())
    with pytest.raises(ValueError, match="exists"):

        class Another(Op, name="conv"):
            """The name of a built-in operator."""

    register(Conv)  # declaring the same class again, as reloading does, is fine
    assert dict(catalogue()) == before
