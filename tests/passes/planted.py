"""Miscompiles, one a line: a network, and an edit that changes what it computes.

Where an edit of ``edits`` is legal by itself, the line says what is forgotten; the rest are
edits that are always wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cnndsl.ops import activation, conv, linear, merge, norm, pool, regular, reshape
from cnndsl.ops.base import Op
from cnndsl.ops.values import Edges
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import RUNNING, Chain, Link
from cnndsl.weights.expr import Expr, concat, full
from tests.passes import edits
from tests.passes.edits import remake, steps

Edit = Callable[[Flow], object]
Change = Callable[[Expr], Expr]


def reading(flow: Flow, kind: type[Op], *, op: Op | None = None, **changed: Any) -> None:
    """A step with other parameters, or another operator."""
    step = steps(flow, kind)[0]
    remake(flow, step, op or step.op.replace(**changed))


def weighing(flow: Flow, kind: type[Op], change: Change, name: str = "weight") -> None:
    """A step with another weight."""
    step = steps(flow, kind)[0]
    remake(flow, step, weights={**step.weights, name: change(step.weights[name])})


def wiring(flow: Flow, kind: type[Op], inputs: Callable[[Step], tuple[Step, ...]]) -> None:
    """A step that reads something else."""
    step = steps(flow, kind)[0]
    remake(flow, step, inputs=inputs(step))


def losing(flow: Flow, kind: type[Op]) -> None:
    """The step is gone; what read it reads what it read."""
    step = steps(flow, kind)[0]
    flow.replace(step, step.inputs[0])


def doubling(flow: Flow, kind: type[Op]) -> None:
    """The step twice, one after the other."""
    step = steps(flow, kind)[0]
    again = flow.add(step.op, step.inputs, step.weights)
    remake(flow, step, inputs=(again, *step.inputs[1:]))


def only_operand(flow: Flow, kind: type[Op], operand: int) -> None:
    """Only this operand of a join is left."""
    step = steps(flow, kind)[0]
    flow.replace(step, step.inputs[operand])


def results_swapped(flow: Flow) -> None:
    flow.results.reverse()


def inputs_swapped(flow: Flow) -> None:
    (step,) = steps(flow, merge.Add)
    wanted = step.inputs[0]
    remake(flow, wanted, inputs=(flow.inputs[1],))


def strides_swapped(flow: Flow) -> None:
    """``conv 1x1 -> conv 3x3, stride=2`` strides first."""
    one, two = steps(flow, conv.Conv)
    first = flow.add(one.op.replace(stride=(2, 2)), one.inputs, one.weights)
    op = two.op.replace(stride=(1, 1), padding=Edges(1, 1, 1, 1))
    flow.replace(two, flow.add(op, (first,), two.weights))


def max_past_affine(flow: Flow) -> None:
    edits.affine(flow)
    edits.exchange(flow, pool.MaxPool)


def average_past_affine(flow: Flow) -> None:
    edits.affine(flow)
    (average,) = steps(flow, pool.AvgPool)
    (affine,) = average.inputs
    moved = flow.add(average.op, affine.inputs)
    flow.replace(average, flow.add(affine.op, (moved,), affine.weights))


def chained(flow: Flow, *links: tuple[Op, tuple[int, ...]]) -> None:
    """The sum and relu of ``conv -> bn`` and the input, fused as ``links`` say."""
    (add,) = steps(flow, merge.Add)
    (relu,) = add.users.values()
    op = Chain(tuple(Link(*link) for link in links))
    flow.replace(relu, flow.add(op, add.inputs))


def one_for_two(flow: Flow) -> None:
    """Two modules that are written alike as one."""
    one, two = steps(flow, conv.Conv)[:2]
    flow.replace(two, one)


def mean_as_sum(flow: Flow, divisor: float) -> None:
    (mean,) = steps(flow, merge.Mean)
    total = flow.add(merge.Add(), mean.inputs)
    flow.replace(mean, flow.add(regular.Scale(by=1 / divisor), (total,)))


def pad_into_pool(flow: Flow) -> None:
    """A max-pool's border never wins; zeros do."""
    (best,) = steps(flow, pool.MaxPool)
    padded = flow.add(reshape.Pad(amount=Edges(1, 1, 1, 1)), best.inputs)
    remake(flow, best, best.op.replace(padding=(0, 0)), (padded,))


def pad_into_conv(flow: Flow) -> None:
    (padding,) = steps(flow, reshape.Pad)
    (reader,) = padding.users.values()
    remake(flow, reader, reader.op.replace(padding=padding.op.amount), padding.inputs)  # type: ignore[attr-defined]


def nothing_added(flow: Flow) -> None:
    """``a * 0 + b`` is ``b``, but for a NaN in ``a``."""
    (add,) = steps(flow, merge.Add)
    flow.replace(add, add.inputs[1])


def nudged(expr: Expr, at: float = 1e-6) -> Expr:
    """One weight a millionth larger."""
    shape = expr.shape
    one = full((1,) * len(shape), at).pad(*((0, size - 1) for size in shape))
    return expr * (one + full(shape, 1))


def rolled(expr: Expr) -> Expr:
    """The filters in another order."""
    return concat([expr.slice(0, 1, expr.shape[0]), expr.slice(0, 0, 1)])


CONV, POOL = conv.Conv, pool.AvgPool
FOLD = "conv(4, 3, bias=yes) -> bn"
TRANSPOSED = "conv_transpose(4, 3, padding=1) -> bn"
RESIDUAL = "relu -> (conv(4, 3) -> bn + id) -> relu"
SIBLINGS = "(a: conv(2, 1) | b: conv(2, 3)) -> conv(4, 3)"
TWO = "(a: conv(4, 3) + b: conv(4, 3) -> relu) -> conv(4, 1)"
GROUPS = "(slice(0, 2) -> a: conv(3, 3) | slice(2, 4) -> b: conv(3, 3)) -> relu"
PARTIAL = "conv(4, 1) -> avgpool(3, stride=1, padding=1)"
GATE = "conv(4, 3) -> id * (gap -> conv(4, 1) -> sigmoid) -> conv(4, 1)"
MANY = "for i in 1..{} do c{{i}}: (conv(4, 3) -> relu)"
MORE = "for i in 1..{} do d{{i}}: (conv(4, 3) -> relu)"
MEAN = "mean(a: conv(4, 1), b: conv(4, 1), id)"
FLAT = "flatten(order=hwc) -> linear(5)"
S = (RUNNING,)

EDITS: dict[str, tuple[str, Edit]] = {
    f"fold: {name}": (body, partial(edits.fold, **{name: True}))
    for body, names in [
        (FOLD, ["bias_forgotten", "bias_as_it_was", "eps_forgotten", "no_root", "wrong_axis",
                "scale_forgotten", "neighbour", "mean_unscaled", "mean_forgotten", "mean_added",
                "shift_forgotten"]),
        (TRANSPOSED, ["eps_forgotten", "mean_added"]),
        ("conv(4, 3, bias=yes) @t -> bn -> (id | t) -> relu", ["two_readers"]),
        ("conv_transpose(4, 3, padding=1, groups=2) -> bn", ["group_order"]),
    ] for name in names
} | {
    "fold: transposed factor on the other axis":
        (TRANSPOSED, lambda f: edits.fold(f, wrong_axis=False) or weighing(
            f, conv.ConvTranspose, lambda w: w.permute(1, 0, 2, 3))),
    "fold forward: a shift before zero padding": ("bn -> conv(4, 3)", edits.forward),
    "merge: kernel enlarged off-centre": (SIBLINGS, partial(edits.merge, off_centre=True)),
    "merge: concatenated in another order": (SIBLINGS, partial(edits.merge, order=True)),
    "merge: biases in another order": (SIBLINGS, partial(edits.merge, bias_order=True)),
    "merge: slices swapped": (TWO, partial(edits.split, swapped=True)),
    "merge: slice off by one": (TWO, partial(edits.split, off_by_one=True)),
    "groups: in another order": (GROUPS, partial(edits.group, order=True)),
    "groups: filters in another order":
        ("conv(4, 3, groups=2)", lambda f: weighing(f, CONV, rolled)),
    "shuffle: another number of groups":
        ("conv(8, 1) -> channel_shuffle(2)",
         lambda f: reading(f, reshape.ChannelShuffle, groups=4)),
    "average: bias inside an average that counts padding": (PARTIAL, edits.pool_first),
    "average: padding no longer counts":
        ("conv(4, 1, bias=no) -> avgpool(3, stride=1, padding=1)",
         partial(edits.pool_first, count_include_pad=False)),
    "average: padding counts":
        ("conv(4, 1) -> avgpool(3, stride=2, padding=1, count_include_pad=no)",
         partial(edits.pool_first, count_include_pad=True)),
    "average: a shift past padding that counts":
        ("bn -> avgpool(3, stride=2, padding=1)", average_past_affine),
    "average: exchanged with relu":
        ("conv(4, 3) -> relu -> avgpool(2)", lambda f: edits.exchange(f, activation.ReLU)),
    "average: the largest instead":
        ("avgpool(2)", lambda f: reading(f, POOL, op=pool.MaxPool(kernel=(2, 2)))),
    "average: of what is added": ("gap -> conv(4, 1)",
        lambda f: reading(f, pool.GlobalAvgPool, op=pool.GlobalMaxPool())),
    "pool: ceil made padding":
        ("maxpool(2, ceil=yes)",
         lambda f: reading(f, pool.MaxPool, ceil=False, padding=(1, 1))),
    "pool: dilation lost":
        ("maxpool(3, stride=1, dilation=2)",
         lambda f: reading(f, pool.MaxPool, kernel=(5, 5), dilation=(1, 1))),
    "pool: zeros win": ("maxpool(3, stride=2, padding=1)", pad_into_pool),
    "pool: past a factor that may be negative":
        ("maxpool(3, stride=2, padding=1) -> bn", max_past_affine),
    "pool: exchanged with silu":
        ("conv(4, 1) -> silu -> maxpool(2)", lambda f: edits.exchange(f, activation.SiLU)),
    "conv: dilation lost":
        ("conv(4, 3, dilation=2)",
         lambda f: reading(f, CONV, dilation=(1, 1), padding=Edges(1, 1, 1, 1))),
    "conv: asymmetric padding mirrored":
        ("conv(4, 2, padding=(0, 1, 0, 1))",
         lambda f: reading(f, CONV, padding=Edges(1, 0, 1, 0))),
    "conv: mirrored": ("conv(4, 3)", lambda f: weighing(f, CONV, lambda w: w.permute(0, 1, 3, 2))),
    "conv: filters and channels exchanged":
        ("conv(4, 3)", lambda f: weighing(f, CONV, lambda w: w.permute(1, 0, 2, 3))),
    "conv: bias twice":
        ("conv(4, 1)", lambda f: weighing(f, CONV, lambda b: b + b, "bias")),
    "conv: a border of zeros lost":
        ("pad(1, mode=replicate) -> conv(4, 3, padding=0)", pad_into_conv),
    "conv: a border of ones lost": ("pad(1, value=1) -> conv(4, 3, padding=0)", pad_into_conv),
    "conv: stride pushed through a 3x3":
        ("conv(4, 1) -> conv(4, 3, stride=2)", strides_swapped),
    "linear: transposed":
        ("gap -> flatten -> linear(4)",
         lambda f: weighing(f, linear.Linear, lambda w: w.permute(1, 0))),
    "flatten: another order": (FLAT, lambda f: reading(f, reshape.Flatten, order="chw")),
    "flatten: height and width exchanged":
        (FLAT, lambda f: reading(f, reshape.Flatten, order="whc")),
    "residual: relu before the sum":
        (RESIDUAL, lambda f: wiring(f, merge.Add, lambda s: (
            f.add(activation.ReLU(), s.inputs[:1]), s.inputs[1]))),
    "residual: overwritten":
        (RESIDUAL, lambda f: wiring(f, merge.Add, lambda s: (s.inputs[0], s.inputs[0]))),
    "residual: the value before the activation":
        (RESIDUAL, lambda f: wiring(f, merge.Add, lambda s: (s.inputs[0], f.inputs[0]))),
    "residual: dropped":
        (RESIDUAL, lambda f: only_operand(f, merge.Add, 0)),
    "chain: relu before the sum":
        (RESIDUAL, lambda f: chained(f, (activation.ReLU(), (0,)), (merge.Add(), (RUNNING, 1)))),
    "chain: another operand":
        (RESIDUAL, lambda f: chained(f, (merge.Add(), (1, 1)), (activation.ReLU(), S))),
    "chain: no activation":
        (RESIDUAL, lambda f: chained(f, (merge.Add(), (0, 1)), (regular.Dropout(), S))),
    "gate: applied twice": (GATE, lambda f: doubling(f, merge.Mul)),
    "gate: lost": (GATE, lambda f: losing(f, merge.Mul)),
    "gate: no sigmoid": (GATE, lambda f: losing(f, activation.Sigmoid)),
    "mean: a sum": (MEAN, partial(mean_as_sum, divisor=1)),
    "mean: of one less": (MEAN, partial(mean_as_sum, divisor=2)),
    "mean: largest": ("mean(conv(4, 1), id)", lambda f: reading(f, merge.Mean, op=merge.Max())),
    "dropout: scale kept":
        ("conv(4, 1) -> dropout(0.5)",
         lambda f: reading(f, regular.Dropout, op=regular.Scale(by=0.5))),
    "droppath: scale kept":
        ("conv(4, 1) -> droppath(0.1)",
         lambda f: reading(f, regular.DropPath, op=regular.Scale(by=1 / 0.9))),
    "scale: lost": ("scale(0.5) -> conv(4, 1)", lambda f: losing(f, regular.Scale)),
    "scale: twice": ("scale -> conv(4, 1)", lambda f: doubling(f, regular.Scale)),
    "activation: without its ceiling":
        ("scale(8) -> relu6", lambda f: reading(f, activation.ReLU6, op=activation.ReLU())),
    "activation: slope lost":
        ("leaky_relu(0.2)", lambda f: reading(f, activation.LeakyReLU, op=activation.ReLU())),
    "activation: approximate":
        ("gelu", lambda f: reading(f, activation.GELU, approximate="tanh")),
    "norm: another epsilon": ("bn(eps=1e-3)", lambda f: reading(f, norm.BatchNorm, eps=1e-5)),
    "concat: another order":
        ("(conv(4, 1) | id)", lambda f: wiring(f, merge.Concat, lambda s: s.inputs[::-1])),
    "cse: two modules as one": ("(a: conv(4, 3) | b: conv(4, 3))", one_for_two),
    "upsample: another mode":
        ("upsample(2)", lambda f: reading(f, reshape.Upsample, mode="bilinear")),
    "outputs: swapped": ("emit h: relu -> tanh", results_swapped),
    "a millionth of one weight":
        (MANY.format(30), lambda f: weighing(f, CONV, nudged)),
    "a millionth of one weight, late":
        (MANY.format(30) + " -> conv(4, 1, groups=4)", lambda f: weighing(f, CONV, nudged)),
}  # fmt: skip

PAIRS: dict[str, tuple[str, Edit]] = {
    "inputs: the other one": ("a -> relu + b -> tanh", inputs_swapped),
    "NaN is lost": ("a -> scale(0) + b", nothing_added),
}
"""Edits of a network with two inputs."""

LEGAL: dict[str, tuple[str, Edit]] = {
    "fold": (FOLD, edits.fold),
    "fold, transposed": (TRANSPOSED, edits.fold),
    "fold, in groups": ("conv_transpose(4, 3, padding=1, groups=2) -> bn", edits.fold),
    "fold, deep": (f"{MANY.format(30)} -> {FOLD} -> {MORE.format(30)}", edits.fold),
    "fold, depthwise": ("conv(4, 3, groups=4) -> bn -> relu -> conv(4, 1)", edits.fold),
    "fold forward": ("relu -> bn -> conv(4, 1) -> relu", edits.forward),
    "split": (TWO, edits.split),
    "group": (GROUPS, edits.group),
    "pool first": ("conv(4, 1) -> avgpool(2)", edits.pool_first),
    "pool first, partial windows":
        ("conv(4, 1) -> avgpool(3, stride=2, padding=1, ceil=yes, count_include_pad=no)",
         edits.pool_first),
    "relu after max": ("relu -> maxpool(3, stride=2, padding=1)",
        lambda f: edits.exchange(f, activation.ReLU)),
    "mean": (MEAN, partial(mean_as_sum, divisor=3)),
    "dropout": ("conv(4, 1) -> dropout(0.5)", lambda f: losing(f, regular.Dropout)),
    "chain": (RESIDUAL,
        lambda f: chained(f, (merge.Add(), (0, 1)), (activation.ReLU(), S))),
    "average past an affine": ("bn -> avgpool(2)", average_past_affine),
}  # fmt: skip


@dataclass(frozen=True)
class Broken(Rewrite):
    """Takes the first activation away; to test what is said of a wrong rewrite."""

    name = "broken"

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, activation.ReLU):
            return None
        flow.replace(step, step.inputs[0])
        return Fired("wrong")
