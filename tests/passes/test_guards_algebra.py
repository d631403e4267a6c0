"""The guards of the algebra are needed: without one, a network goes wrong or gains nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from cnndsl.ops import activation, conv, merge, pool, regular, reshape
from cnndsl.ops.base import Op
from cnndsl.passes import cse, flatten_first, remove_identity
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine
from tests.passes.guards import breaks, fires, flow_of, rewrite

AFFINE = ("norm-to-affine", "scale-to-affine")
GATE = "e: conv({}) -> (id * (gap -> s: conv({}) -> sigmoid)) -> relu"
ANOTHER_SIZE = "a: (avgpool(2) -> conv_transpose(4, 2, stride=2))"


def net(body: str) -> str:
    """``[C, H, W] = …`` or the body alone, for four channels and any size."""
    return f"net N: {body}" if body.startswith("[") else f"net N: [4, H, W] = {body}"


def yes(*_: object) -> bool:
    return True


def no(*_: object) -> bool:
    return False


def disable(monkeypatch: pytest.MonkeyPatch, guard: str, instead: object) -> None:
    """``module.name`` below ``cnndsl.passes`` says something else."""
    module, name = guard.split(".")
    monkeypatch.setattr(importlib.import_module(f"cnndsl.passes.{module}"), name, instead)


def without_operator(step: Step) -> object:
    return cse._operands(step), cse._weights(step)


def any_convolution(step: Step) -> bool:
    return isinstance(step.op, conv.Conv)


# --- wrong without it -----------------------------------------------------------------------------

# Guard, what it says instead, rewrite, network.
WRONG: list[tuple[str, object, str, str]] = [
    ("remove_identity.keeps_type", yes, "remove-identity", "crop(1)"),
    ("remove_identity.keeps_type", yes, "remove-identity", "slice(2, 4)"),
    ("remove_identity.keeps_type", yes, "remove-identity", "gap"),
    ("remove_identity.nonnegative", yes, "remove-identity", "tanh -> relu"),
    ("nonnegative._keeps", yes, "remove-identity", "relu -> scale(-1) -> relu"),
    ("nonnegative._keeps", yes, "remove-identity", "relu -> pad(1, value=-1) -> relu"),
    ("nonnegative.sees_only_padding", no, "remove-identity",
     "[4, 1, 1] = relu -> maxpool(2, stride=1, padding=1, dilation=2) -> relu"),
    ("pool_forms.sees_whole_map", yes, "pool-forms", "[4, 7, 7] = avgpool((7, 6), stride=8)"),
    ("pool_forms.sees_whole_map", yes, "pool-forms", "[4, 7, 7] = avgpool(7, 8, padding=2)"),
    ("pool_forms.sees_whole_map", yes, "pool-forms", "maxpool(3, stride=1, padding=1)"),
    ("pool_forms.divides", yes, "pool-forms", "[4, 15, 14] = adaptive_avgpool(7)"),
    ("pool_forms.divides", yes, "pool-forms", "[4, 14, 15] = adaptive_maxpool(7)"),
    ("pool_forms.as_many", yes, "pool-forms", "[4, 8, 9] = avgpool(2, ceil=yes)"),
    ("pool_forms.as_many", yes, "pool-forms", "[4, H, W] = maxpool(3, 2, ceil=yes)"),
    ("pool_forms._part", lambda size, parts: 32, "pool-forms", "adaptive_avgpool(7)"),
    ("cse._operands", lambda step: (), "cse",
     "a: conv(4, 3) @y -> tanh @z -> relu @w -> ((y | z) + (y | w))"),
    ("cse._operands", lambda step: frozenset(s.id for s in step.inputs), "cse",
     "a: conv(4, 3) @y -> tanh @z -> ((y | y | z) + (y | z | z))"),
    ("cse._weights", lambda step: (), "cse", "(a: conv(4, 3) | b: conv(4, 3))"),
    ("cse._key", without_operator, "cse",
     "(maxpool(3, stride=1, padding=1) | avgpool(3, stride=1, padding=1))"),
    ("flatten_permutation.has_one_position", yes, "flatten-permutation",
     "[4, 3, 2] = flatten(order=hwc) -> relu"),
    ("flatten_permutation.read_by_linear_only", yes, "flatten-permutation",
     "[4, 3, 2] = flatten(order=hwc) -> (a: linear(24) + b: bn)"),
    ("sink_affine.averages_map_only", yes, "sink-affine",
     "relu -> bn -> avgpool(3, stride=2, padding=1)"),
    ("sink_affine.is_zero", yes, "sink-affine", "relu -> bn -> avgpool(3, stride=2, padding=1)"),
    ("sink_affine._shrinks", yes, "sink-affine", "relu -> bn -> maxpool(2)"),
    ("sink_affine._ends_in_linear", yes, "sink-affine", "relu -> bn -> relu"),
    ("fold_affine_forward.summand_is_constant", yes, "fold-affine-forward",
     "relu -> bn -> conv(4, 3)"),
    ("fold_affine_forward.summand_is_constant", yes, "fold-affine-forward",
     "relu -> bn -> conv_transpose(4, 3, stride=2)"),
    ("fold_affine_forward.is_zero", yes, "fold-affine-forward", "relu -> bn -> conv(4, 3)"),
    ("mean_to_sum.is_same_type", yes, "mean-to-sum", f"mean({ANOTHER_SIZE}, b: conv(4, 1))"),
    ("mean_to_sum.absorbs", yes, "mean-to-sum", "mean(a: conv(4, 3) -> silu, b: conv(4, 1))"),
    ("homogeneous.is_homogeneous", yes, "mean-to-sum",
     "mean(a: conv(4, 3) -> sigmoid, b: conv(4, 1))"),
    ("homogeneous._infers_alike", yes, "mean-to-sum",
     f"mean(({ANOTHER_SIZE} + b: conv(4, 1)), c: conv(4, 1))"),
    ("flatten_first.on_one_position", yes, "flatten-first", "[4, 3, 2] = conv(3, 1) -> flatten"),
    ("flatten_first.is_pointwise", any_convolution, "flatten-first",
     "gap -> conv(4, 1, groups=2) -> flatten"),
    ("flatten_first.is_pointwise", any_convolution, "flatten-first",
     "gap -> conv(4, 3) -> flatten"),
    ("flatten_first._CHANNELWISE", (*flatten_first._CHANNELWISE, reshape.ChannelShuffle),
     "flatten-first", "gap -> conv(4, 1) -> channel_shuffle(2) -> flatten"),
    ("hoist_gate.averages_alike", yes, "hoist-gate", GATE.format("24, 1, stride=2", "24, 1")),
    ("hoist_gate.averages_alike", yes, "hoist-gate", GATE.format("12, 3", "12, 1")),
    ("hoist_gate.averages_alike", yes, "hoist-gate", GATE.format("12, 1, groups=4", "12, 1")),
    ("hoist_gate.takes_product", yes, "hoist-gate", GATE.format("12, 1", "12, 1, groups=3")),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "instead", "name", "body"), WRONG)
def test_wrong_without(
    guard: str, instead: object, name: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = AFFINE if "affine" in name else ()
    assert not fires(name, net(body), *before)
    disable(monkeypatch, guard, instead)
    assert breaks(name, net(body), *before)


# What it is taken to know, and is used when it fires.
KNOWN: list[tuple[str, str, str]] = [
    ("fold_affine_forward.is_zero", "fold-affine-forward", "relu -> bn -> conv(4, 1)"),
    ("hoist_gate.is_zero", "hoist-gate", GATE.format("12, 1", "12, 1")),
]


@pytest.mark.parametrize(("guard", "name", "body"), KNOWN)
def test_a_summand_is_lost_without(
    guard: str, name: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fires(name, net(body), *AFFINE)
    disable(monkeypatch, guard, yes)
    assert breaks(name, net(body), *AFFINE)


def test_nothing_to_fold_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader without weights cannot take a factor in."""
    flow = flow_of(net("relu -> scale -> (conv(4, 1) | tanh)"), *AFFINE)
    disable(monkeypatch, "fold_affine_forward.read_by_sums_only", yes)
    with pytest.raises(KeyError, match="weight"):
        rewrite(flow, "fold-affine-forward")


# When each may be the identity, and a network where it is not.
IDENTITY: list[tuple[type[Op], str]] = [
    (pool.MaxPool, "maxpool(3, stride=1, padding=1)"),
    (pool.AvgPool, "avgpool(3, stride=1, padding=1)"),
    (reshape.Upsample, "upsample(1, mode=bilinear)"),
    (reshape.ChannelShuffle, "channel_shuffle(2)"),
    (regular.Scale, "scale(0.5)"),
    (regular.Scale, "scale"),
    (merge.Add, "add(id, id)"),
    (merge.Mul, "mul(id, id)"),
    (merge.Max, "max(id, tanh)"),
    (merge.Mean, "mean(id, tanh)"),
    (activation.ReLU, "tanh -> relu"),
    (activation.LeakyReLU, "tanh -> leaky_relu"),
    (activation.ELU, "tanh -> elu"),
    (activation.ReLU6, "scale(9) -> relu -> relu6"),
]


@pytest.mark.parametrize(("op", "body"), IDENTITY)
def test_no_identity(op: type[Op], body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fires("remove-identity", net(body))
    monkeypatch.setitem(remove_identity._IDENTITY, op, yes)
    assert breaks("remove-identity", net(body))


def test_a_join_is_the_mean_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(remove_identity._IDENTITY, merge.Join, yes)
    assert breaks("remove-identity", net("join(id, tanh)"))


# --- nothing gained without it --------------------------------------------------------------------


def reader_of(kind: type[Op]) -> Callable[..., Any]:
    """``Flow.only_user`` as if there were no reader but this."""
    return lambda flow, step: next((u for u in step.users.values() if isinstance(u.op, kind)), None)


def cost(flow: Flow) -> tuple[int, int, int]:
    """Multiply-accumulates, steps, and values that are read, at the flow's sizes."""
    reads = sum(flow.values(source) for step in flow for source in step.inputs)
    return flow.total_macs(), len(flow), reads


IDLE: list[tuple[str, object, str, str]] = [
    ("flatten_permutation.read_by_linear_only", yes, "flatten-permutation",
     "[4, 3, 2] = flatten(order=hwc) -> emit h: id -> linear(5)"),
    ("flow.Flow.only_user", reader_of(Affine), "fold-affine", "conv(4, 3) @x -> bn -> (relu | x)"),
    ("flow.Flow.only_user", reader_of(Affine), "fold-affine",
     "conv(4, 3, bias=no) -> emit h: id -> bn"),
    ("flow.Flow.only_user", reader_of(pool.GlobalAvgPool), "sink-affine",
     "relu -> bn -> (id * (gap -> conv(4, 1) -> sigmoid))"),
    ("sink_affine._shrinks", yes, "sink-affine",
     "relu -> bn -> avgpool(2, stride=1, padding=1, count_include_pad=no)"),
    ("merge_affines.read_only_by", yes, "merge-affines", "relu -> bn @x -> scale(2) -> relu + x"),
    ("merge_affines.read_only_by", yes, "merge-affines", "relu -> bn -> emit h: id -> scale(2)"),
    ("fold_affine_forward.read_by_sums_only", yes, "fold-affine-forward",
     "relu -> bn -> emit h: id -> conv(4, 1)"),
    ("homogeneous.read_only_by", yes, "mean-to-sum",
     "a: conv(4, 3) @x -> mean(relu, b: conv(4, 1)) + x"),
    ("flatten_first.read_only_by", yes, "flatten-first",
     "gap -> conv(4, 1) @x -> flatten -> linear(4) -> relu | (x -> tanh -> flatten)"),
    ("hoist_gate.reads_less", yes, "hoist-gate", f"[16, H, W] = {GATE.format('4, 1', '4, 1')}"),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "instead", "name", "body"), IDLE)
def test_idle_without(
    guard: str, instead: object, name: str, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = AFFINE if "affine" in name else ()
    assert not fires(name, net(body), *before)
    flow = flow_of(net(body), *before)
    known = cost(flow)
    if guard == "flow.Flow.only_user":
        monkeypatch.setattr(Flow, "only_user", instead)
    else:
        disable(monkeypatch, guard, instead)
    assert rewrite(flow, name).fired
    assert all(more >= least for more, least in zip(cost(flow), known, strict=True))
