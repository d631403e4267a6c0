"""Guards of the rewrites that move a max-pool past another step."""

import pytest
import torch

from cnndsl.engines.apply import Plain
from cnndsl.passes import exchange_relu_maxpool
from cnndsl.passes.base import Trace
from cnndsl.passes.exchange_relu_maxpool import ExchangeReluMaxpool
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.maxpool_past_affine import MaxpoolPastAffine
from tests.passes.guards import flow_of, operators, rewrite


def _yes(*_: object) -> bool:
    return True


def assert_nan_is_lost(before: Flow, after: Flow) -> None:
    """What a zero makes of -inf, which loses every window afterwards."""
    x = torch.zeros(1, 3, 4, 4)
    x[0, 0, 0, 0] = -torch.inf
    (want,), (got,) = (Plain(flow, {})(x) for flow in (before, after))
    assert (want.isnan() & ~got.isnan()).any()


def _pooled(activation: str, pool: str = "maxpool(2)", after: str = "id") -> str:
    return f"net N: [3, H, W] = (id | avgpool(3, 1, 1)) -> {activation} -> {pool} -> {after}"


def _one_input(step: Step) -> bool:
    return len(step.inputs) == 1


@pytest.mark.parametrize(
    "activation", ["relu", "relu6", "hardsigmoid", "sigmoid", "tanh", "leaky_relu(0.2)", "elu"]
)
@pytest.mark.parametrize("pool", ["maxpool(3, 2, 1)", "maxpool(2, ceil=yes)", "gmp"])
def test_rising_functions_change_places(activation: str, pool: str) -> None:
    flow = flow_of(_pooled(activation, pool))
    assert rewrite(flow, "exchange-relu-maxpool").fired
    assert operators(flow)[-2:] == [pool.partition("(")[0], activation.partition("(")[0]]


@pytest.mark.parametrize(
    "activation",
    ["silu", "gelu", "hardswish", "prelu(6)", "leaky_relu(-0.5)", "elu(-1)"],
)
def test_functions_that_may_fall_stay(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(_pooled(activation))
    assert not rewrite(flow, "exchange-relu-maxpool").fired
    monkeypatch.setattr(exchange_relu_maxpool, "never_falls", _one_input)
    with pytest.raises(AssertionError):
        rewrite(flow, "exchange-relu-maxpool")


def test_a_slope_of_zero_makes_nan_of_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(_pooled("leaky_relu(0)"))
    assert not rewrite(flow, "exchange-relu-maxpool").fired
    monkeypatch.setattr(exchange_relu_maxpool, "never_falls", _one_input)
    twin = flow.copy()
    assert rewrite(twin, "exchange-relu-maxpool").fired
    assert_nan_is_lost(flow, twin)


def test_another_reader_needs_the_activated_map(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [3, H, W] = (id | id) -> relu -> (maxpool(2) | avgpool(2))"
    flow = flow_of(text)
    before = sum(flow.values(step) for step in flow)
    assert not rewrite(flow, "exchange-relu-maxpool").fired
    monkeypatch.setattr(ExchangeReluMaxpool, "only_pooled", _yes)
    rewrite(flow, "exchange-relu-maxpool")
    assert sum(flow.values(step) for step in flow) > before


def test_a_window_holds_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    # At H = 2 the window looks at rows -1 and 2.
    text = _pooled("relu", "maxpool(2, 2, 1, dilation=3)", "sigmoid")
    flow = flow_of(text)
    assert rewrite(flow, "exchange-relu-maxpool").missed
    monkeypatch.setattr(exchange_relu_maxpool, "holds_a_value", _yes)
    with pytest.raises(AssertionError):
        rewrite(flow, "exchange-relu-maxpool")


def test_it_may_be_told_to_pass_convolutions() -> None:
    flow = flow_of("net N: [3, H, W] = conv(4, 3) -> relu -> maxpool(2)")
    ExchangeReluMaxpool(past_kernels=True).run(flow, Trace())
    assert operators(flow)[-2:] == ["maxpool", "relu"]


# --- maxpool-past-affine ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "net N: [3, H, W] = conv(4, 3, bias=no) -> maxpool(2) -> bn",
        "net N: [3, H, W] = bn -> maxpool(3, 2, 1)",
    ],
)
def test_a_factor_may_be_negative(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(text, "norm-to-affine")
    assert rewrite(flow, "maxpool-past-affine").missed
    monkeypatch.setattr(MaxpoolPastAffine, "is_rising", _yes)
    with pytest.raises(AssertionError):
        rewrite(flow, "maxpool-past-affine")


def test_a_factor_of_zero_makes_nan_of_infinity(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of("net N: [3, H, W] = scale(0) -> maxpool(2)", "scale-to-affine")
    assert rewrite(flow, "maxpool-past-affine").missed
    monkeypatch.setattr(MaxpoolPastAffine, "is_rising", _yes)
    twin = flow.copy()
    assert rewrite(twin, "maxpool-past-affine").fired
    assert_nan_is_lost(flow, twin)


def test_a_pooled_map_with_another_reader_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net N: [3, H, W] = conv(4, 3) -> maxpool(2) @x -> bn(affine=no) + x"
    flow = flow_of(text, "norm-to-affine")
    before = sum(flow.values(step) for step in flow)
    assert not rewrite(flow, "maxpool-past-affine").fired
    monkeypatch.setattr(MaxpoolPastAffine, "one_reader", _yes)
    rewrite(flow, "maxpool-past-affine")
    assert sum(flow.values(step) for step in flow) > before


def test_it_does_not_go_back_and_forth() -> None:
    text = "net N: [3, H, W] = conv(4, 3) -> maxpool(2) -> bn(affine=no) -> maxpool(2)"
    flow = flow_of(text, "norm-to-affine")
    assert len(rewrite(flow, "maxpool-past-affine").fired) <= 2
