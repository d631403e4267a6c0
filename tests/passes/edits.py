"""Small edits of a flow by hand: legal ones, and the same with one thing forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnndsl.ops.base import Op
from cnndsl.ops.conv import Conv, ConvTranspose
from cnndsl.ops.merge import Concat
from cnndsl.ops.norm import BatchNorm
from cnndsl.ops.pool import AvgPool
from cnndsl.ops.reshape import Slice
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import Expr, concat, full


def steps(flow: Flow, kind: type[Op]) -> list[Step]:
    """The steps of one kind, inputs first."""
    return [step for step in flow if step.inputs and isinstance(step.op, kind)]


def remake(
    flow: Flow,
    step: Step,
    op: Op | None = None,
    inputs: tuple[Step, ...] | None = None,
    weights: Mapping[str, Expr] | None = None,
) -> Step:
    """Puts a step like it in its place, with some parts changed."""
    new = flow.add(
        op if op is not None else step.op,
        inputs if inputs is not None else step.inputs,
        weights if weights is not None else step.weights,
        step.origins,
    )
    flow.replace(step, new)
    return new


def fold(flow: Flow, **wrong: bool) -> None:
    """Normalisation into the convolution before it."""
    (norm,) = steps(flow, BatchNorm)
    (conv,) = norm.inputs
    weight, bias = _factor_and_summand(norm, wrong)
    old = conv.weights["weight"]
    along = weight.columns(4) if wrong.get("wrong_axis") else _per_filter(weight, conv, wrong)
    own = conv.weights.get("bias", full(bias.shape, 0))
    moved = own if wrong.get("bias_as_it_was") else own * weight
    if wrong.get("bias_forgotten"):
        moved = full(bias.shape, 0)
    weights = {"weight": old * along, "bias": moved + bias}
    new = flow.add(conv.op.replace(bias=True), conv.inputs, weights, conv.origins)
    flow.replace(norm, new)
    if wrong.get("two_readers"):
        flow.replace(conv, new)


def _factor_and_summand(norm: Step, wrong: Mapping[str, bool]) -> tuple[Expr, Expr]:
    w = norm.weights
    variance = w["running_var"]
    if not wrong.get("eps_forgotten"):
        variance = variance + norm.op.eps  # type: ignore[attr-defined]
    deviation = variance if wrong.get("no_root") else variance.sqrt()
    weight = w["weight"] / deviation
    if wrong.get("scale_forgotten"):
        weight = full(weight.shape, 1) / deviation
    if wrong.get("neighbour"):
        weight = concat([weight.slice(0, 1, weight.shape[0]), weight.slice(0, 0, 1)])
    shift = w["running_mean"] if wrong.get("mean_unscaled") else w["running_mean"] * weight
    if wrong.get("mean_forgotten"):
        shift = full(shift.shape, 0)
    start = full(shift.shape, 0) if wrong.get("shift_forgotten") else w["bias"]
    return weight, start + shift if wrong.get("mean_added") else start - shift


def _per_filter(weight: Expr, conv: Step, wrong: Mapping[str, bool]) -> Expr:
    if not isinstance(conv.op, ConvTranspose):
        return weight.rows(4)
    inputs, outputs, *_ = conv.weights["weight"].shape
    groups = conv.op.groups
    each = weight.reshape(groups, 1, outputs)
    if wrong.get("group_order"):
        each = concat([each.slice(0, 1, groups), each.slice(0, 0, 1)])
    return (full((groups, inputs // groups, 1), 1) * each).reshape(inputs, outputs, 1, 1)


def merge(flow: Flow, **wrong: bool) -> None:
    """Two convolutions of one input that are concatenated: a 1x1 and a 3x3 as one 3x3."""
    (join,) = steps(flow, Concat)
    small, large = join.inputs
    edges = ((0, 0), (0, 0), *([(0, 2), (0, 2)] if wrong.get("off_centre") else [(1, 1)] * 2))
    parts = [small.weights["weight"].pad(*edges), large.weights["weight"]]
    biases = [small.weights["bias"], large.weights["bias"]]
    if wrong.get("order"):
        parts.reverse()
    if wrong.get("order") or wrong.get("bias_order"):
        biases.reverse()
    op = large.op.replace(out=small.channels + large.channels)
    weights = {"weight": concat(parts), "bias": concat(biases)}
    flow.replace(join, flow.add(op, large.inputs, weights, join.origins))


def split(flow: Flow, **wrong: bool) -> None:
    """Two convolutions of one input as one, and slices of it."""
    one, two = steps(flow, Conv)[:2]
    parts = [step.weights["weight"] for step in (one, two)]
    biases = [step.weights["bias"] for step in (one, two)]
    c = one.channels
    op = one.op.replace(out=2 * c)
    weights = {"weight": concat(parts), "bias": concat(biases)}
    whole = flow.add(op, one.inputs, weights)
    places = [(0, c), (c, 2 * c)]
    if wrong.get("swapped"):
        places.reverse()
    if wrong.get("off_by_one"):
        places[1] = (c - 1, 2 * c - 1)
    for step, (start, stop) in zip((one, two), places, strict=True):
        flow.replace(step, flow.add(Slice(start, stop), (whole,)))


def group(flow: Flow, **wrong: bool) -> None:
    """Slices, a convolution each and a concatenation, as one convolution in groups."""
    (join,) = steps(flow, Concat)
    convs = list(join.inputs)
    if wrong.get("order"):
        convs.reverse()
    x = convs[0].inputs[0].inputs[0]
    weights = {key: concat([conv.weights[key] for conv in convs]) for key in ("weight", "bias")}
    op = convs[0].op.replace(out=join.channels, groups=len(convs))
    flow.replace(join, flow.add(op, (x,), weights))


def pool_first(flow: Flow, **changed: Any) -> None:
    """``conv 1x1 -> avgpool`` the other way round; ``changed``: parameters of the pool."""
    (pool,) = steps(flow, AvgPool)
    (conv,) = pool.inputs
    moved = flow.add(pool.op.replace(**changed), conv.inputs)
    flow.replace(pool, flow.add(conv.op, (moved,), conv.weights))


def forward(flow: Flow, **_: bool) -> None:
    """A normalisation into the convolution after it, its shift into the bias."""
    (norm,) = steps(flow, BatchNorm)
    (conv,) = norm.users.values()
    weight, bias = _factor_and_summand(norm, {})
    old = conv.weights["weight"]
    shift = (old * bias.columns(4)).sum(1, 2, 3)
    weights = {"weight": old * weight.columns(4), "bias": conv.weights["bias"] + shift}
    flow.replace(conv, flow.add(conv.op, norm.inputs, weights))


def affine(flow: Flow) -> Step:
    """The normalisation as an affine step."""
    (norm,) = steps(flow, BatchNorm)
    weight, bias = _factor_and_summand(norm, {})
    return remake(flow, norm, Affine(), weights={"weight": weight, "bias": bias})


def exchange(flow: Flow, first: type[Op]) -> None:
    """A step of this kind and the one after it change places."""
    (one,) = steps(flow, first)
    (two,) = one.users.values()
    moved = flow.add(two.op, one.inputs, two.weights)
    flow.replace(two, flow.add(one.op, (moved,), one.weights))
