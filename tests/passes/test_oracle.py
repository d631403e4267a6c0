"""The measure itself: what it must tell apart, and what it must not."""

from __future__ import annotations

import pytest
import torch

import cnndsl
from cnndsl.ops.conv import Conv
from cnndsl.ops.norm import BatchNorm
from cnndsl.passes.flow import Flow
from cnndsl.weights.expr import concat
from tests.passes import edits
from tests.passes.drawn import Drawn
from tests.passes.exact import exact_steps
from tests.passes.oracle import Comparison, Options, assert_same, sizes_of
from tests.passes.planted import nudged
from tests.passes.values import Scale, Values

DEEP = "for i in 1..30 do c{i}: (conv(8, 3) -> relu)"


def flow_of(body: str, dims: str = "[4, H, W]") -> Flow:
    return Flow(cnndsl.loads(f"net N: {dims} = {body}").net().graph)


# --- sensitive, and not nervous -------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 7, 15, 29])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("inside", [True, False])
def test_oracle_is_not_lax(layer: int, seed: int, inside: bool) -> None:
    """A millionth of one of 576 weights shows behind up to 29 layers, in the results alone.

    Leaky, because a weight whose filter is never active could have any value.
    """
    before = flow_of(DEEP.replace("relu", "leaky_relu(0.3)"))
    after = before.copy()
    step = edits.steps(after, Conv)[layer]
    edits.remake(after, step, weights={**step.weights, "weight": nudged(step.weights["weight"])})
    with pytest.raises(AssertionError, match="values differ"):
        assert_same(before, after, inside=inside, seed=seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("norms", [False, True])
def test_other_orders_of_sums_are_the_same(seed: int, norms: bool) -> None:
    """Every layer adds its channels up in another order, by weights that are a rounding off."""
    before = flow_of(DEEP.replace("-> relu", "-> bn -> relu") if norms else DEEP)
    after = before.copy()
    for step in edits.steps(after, Conv)[1:]:
        weight = step.weights["weight"]
        halves = [weight.slice(1, 0, 4), weight.slice(1, 4, 8)]
        (x,) = step.inputs
        turned = after.add(*_turned(after, x))
        weights = {**step.weights, "weight": concat(halves[::-1], 1) * 3.0 / 3.0}
        edits.remake(after, step, inputs=(turned,), weights=weights)
    assert_same(before, after, seed=seed)


def _turned(flow: Flow, x):  # type: ignore[no-untyped-def]
    from cnndsl.ops.merge import Concat
    from cnndsl.ops.reshape import Slice

    return Concat(), [flow.add(Slice(4, 8), (x,)), flow.add(Slice(0, 4), (x,))]


def test_the_scale_starts_anew_at_each_layer() -> None:
    """|W| |x| + |b| of the last layer with the values it reads, however deep it is."""
    flow = flow_of(DEEP)
    drawn = Drawn(flow, {"H": 4, "W": 4})
    values = Values(drawn)
    found = values(flow)
    step = flow.results[0]
    conv = step.inputs[0]
    weights = values.weights(conv.weights)
    x = found[conv.inputs[0].id].abs()
    expected = torch.nn.functional.conv2d(
        x, weights["weight"].abs(), weights["bias"].abs(), padding=1
    )
    scale = Scale(values, found)
    torch.testing.assert_close(scale(conv), expected)
    assert (scale(step) >= found[step.id]).all()
    assert float(scale(conv).max()) < 100 * float(found[conv.id].abs().max())


@pytest.mark.parametrize(
    "body",
    ["bn", "layer_norm", "group_norm(2)", "(id * tanh)", "mean(id, relu)", "(id | relu) -> gap",
     "silu", "softmax", "lrn(3)", "upsample(2, mode=bilinear)", "conv_transpose(4, 3)", "prelu",
     "scale(-3)", "scale", "linear(3)", "max(id, tanh)", "gmp", "pad(1, value=-2)", "maxpool(2)"],
)  # fmt: skip
def test_the_scale_is_never_below_the_value(body: str) -> None:
    flow = flow_of(body)
    values = Values(Drawn(flow, {"H": 4, "W": 5}))
    found = values(flow)
    scale = Scale(values, found)(flow.results[0])
    value = found[flow.results[0].id]
    assert scale.shape == value.shape and (scale >= value.abs() * (1 - 1e-12)).all()


def test_a_chain_s_scale_is_that_of_its_links() -> None:
    from cnndsl.passes.base import Trace
    from cnndsl.passes.fuse_epilogue import FuseEpilogue

    plain = flow_of("conv(4, 3) -> relu")
    fused = plain.copy()
    FuseEpilogue().run(fused, Trace())
    assert len(fused) < len(plain)
    values = Values(Drawn(plain, {"H": 4, "W": 5}))
    scales = [Scale(values, values(flow))(flow.results[0]) for flow in (plain, fused)]
    torch.testing.assert_close(*scales)


# --- what is drawn --------------------------------------------------------------------------------


def test_normalisations_are_awkward() -> None:
    flow = flow_of("conv(64, 1) -> bn")
    found = Drawn(flow, {"H": 3, "W": 3}).parameters
    scale, variance = found["1.weight"], found["1.running_var"]
    assert (scale == 0).any() and (scale < 0).any() and (scale > 0).any()
    assert (variance < 1e-6).any() and (variance > 1e3).any()
    assert float(found["1.running_mean"].abs().max()) > 3 and (found["1.bias"] != 0).all()


def test_whole_numbers_are_whole() -> None:
    drawn = Drawn(flow_of("conv(16, 3) -> bn(eps=0)"), {"H": 5, "W": 5}, whole=True)
    numbers = [*drawn.inputs, *(v for k, v in drawn.parameters.items() if "var" not in k)]
    for number in numbers:
        assert torch.equal(number, number.round()) and float(number.abs().max()) <= 2
    assert (drawn.parameters["0.weight"] != 0).any()


def test_two_sizes_and_a_batch() -> None:
    flow = flow_of("conv(4, 3, padding=0) -> maxpool(2)")
    small, large = sizes_of(flow)
    assert small == {"H": 4, "W": 4} and large["H"] > 8 and large["H"] != large["W"]
    assert Drawn(flow, small).inputs[0].shape == (2, 4, 4, 4)
    assert sizes_of(flow_of("relu", "[4, 3, 5]")) == [{}]


# --- the other two laws ---------------------------------------------------------------------------


def test_nan_may_not_vanish_nor_appear() -> None:
    before = flow_of("conv(4, 1)")
    wider, same = before.copy(), before.copy()
    for flow, edges in ((wider, 1), (same, 0)):
        (step,) = edits.steps(flow, Conv)
        weight = step.weights["weight"].pad((0, 0), (0, 0), (edges, edges), (edges, edges))
        op = step.op.replace(kernel=(1 + 2 * edges,) * 2, padding=(edges,) * 4)
        edits.remake(flow, step, op, weights={**step.weights, "weight": weight})
    assert_same(before, same)
    assert_same(before, wider, spreads=True)
    with pytest.raises(AssertionError, match="NaN is new"):
        assert_same(before, wider)
    with pytest.raises(AssertionError, match="NaN is gone"):
        assert_same(wider, before)


def test_the_last_bit_matters_where_it_can() -> None:
    before = flow_of("conv(4, 3) -> bn(eps=0) -> relu -> avgpool(2)")
    after = before.copy()
    edits.fold(after)
    assert Comparison(before).bits(after, Options()) == 1
    step = edits.steps(after, Conv)[0]
    weight = step.weights["weight"] * (1 + 2.0**-51)
    edits.remake(after, step, weights={**step.weights, "weight": weight})
    assert_same(before, after)
    with pytest.raises(AssertionError, match="not the same to the bit"):
        assert_same(before, after, exact=True, inside=False)


@pytest.mark.parametrize(
    ("body", "is_exact"),
    [
        ("conv(4, 3) -> maxpool(2)", True), ("bn(eps=0)", True), ("bn", False),
        ("avgpool(2)", True), ("avgpool(3)", False), ("silu", False), ("mean(id, relu)", True),
        ("mean(id, relu, tanh)", False), ("scale(0.1)", False), ("scale(0.5)", True),
        ("avgpool(2, ceil=yes)", False), ("conv(4, 1) -> id * gap", True),
    ],
)  # fmt: skip
def test_which_sums_are_exact(body: str, is_exact: bool) -> None:
    flow = flow_of(body, "[4, 8, 8]")
    values = Values(Drawn(flow, {}, whole=True))
    assert (flow.results[0].id in exact_steps(flow, values(flow), values)) == is_exact


def test_a_result_that_went_missing() -> None:
    before = flow_of("emit h: relu -> tanh")
    after = before.copy()
    after.results.pop()
    with pytest.raises(AssertionError, match="came or went"):
        assert_same(before, after)


def test_every_step_that_stays_is_compared() -> None:
    """The place of the mistake is named, not only the result that shows it."""
    before = flow_of("a: conv(4, 1) -> b: bn -> c: conv(4, 1)")
    after = before.copy()
    (norm,) = edits.steps(after, BatchNorm)
    after.replace(norm, norm.inputs[0])
    with pytest.raises(AssertionError, match=r"step 3 \(c: conv"):
        assert_same(before, after)
