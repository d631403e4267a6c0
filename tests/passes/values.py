"""Every value of a flow in float64, and how large the sums were that made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.engines.apply import Function, function_of
from cnndsl.ops import activation, conv, linear, merge, norm, pool, regular, reshape
from cnndsl.ops.base import Op
from cnndsl.ops.types import Type
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine, Chain
from cnndsl.weights.evaluate import Evaluator
from cnndsl.weights.expr import Expr
from tests.passes.drawn import Drawn
from tests.references import bare

Weights = Mapping[str, Tensor]


def function(op: Op, types: Sequence[Type], weights: Weights) -> Function:
    """``function_of``, with each of PyTorch's forms made once, which takes longer than most
    calls of it."""
    if isinstance(op, Chain):
        return lambda *xs: _links(op, types, weights, xs)[0]
    made = _made(op, tuple(types))
    if not weights:
        return made
    if not isinstance(made, nn.Module):
        return function_of(op, types, weights)
    return partial(_lent, made, weights)


def _lent(module: nn.Module, weights: Weights, *inputs: Tensor) -> Tensor:
    """A call of the module with other numbers."""
    own = module._parameters, module._buffers
    module._parameters = {key: weights.get(key) for key in module._parameters}  # type: ignore[misc]
    module._buffers = {key: weights[key] for key in module._buffers}
    try:
        return module(*inputs)  # type: ignore[no-any-return]
    finally:
        module._parameters, module._buffers = own


@cache
def _made(op: Op, types: tuple[Type, ...]) -> Function:
    empty = {w.name: torch.empty(w.shape, device="meta") for w in op.weights(*types)}
    with bare():
        return function_of(op, types, empty)


class Values:
    """Runs flows on one set of drawn numbers.

    What two flows have in common is computed once: the same operator object, with the same
    expression objects, on the same values. Nothing is believed of what is merely equal.
    """

    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self.value_of = Evaluator(drawn.parameters)
        self._known: dict[tuple[int, ...], tuple[Tensor, object]] = {}

    def __call__(self, flow: Flow) -> dict[int, Tensor]:
        """The value of every step by its id."""
        values = {s.id: v for s, v in zip(flow.inputs, self.drawn.inputs, strict=True)}
        with torch.no_grad():
            for step in flow:
                if step.inputs:
                    values[step.id] = self._step(step, [values[s.id] for s in step.inputs])
        return values

    def _step(self, step: Step, inputs: list[Tensor]) -> Tensor:
        parts = (step.op, *step.weights.values(), *inputs)
        key = tuple(map(id, parts))
        if key not in self._known:
            # `parts` is kept as well: the id of what is gone may be given to another.
            self._known[key] = (self.function(step)(*inputs), parts)
        return self._known[key][0]

    def weights(self, exprs: Mapping[str, Expr]) -> dict[str, Tensor]:
        return {name: self.value_of(expr) for name, expr in exprs.items()}

    def function(self, step: Step) -> Function:
        types = [source.type for source in step.inputs]
        return function(step.op, types, self.weights(step.weights))


class Scale:
    """The componentwise scale of a flow's values: |W| |x| + |b| of the last sum before them.

    ``x`` is the value that is added up, not its scale: so an error is measured beside the sum
    in which it shows, and depth does not make the measure lax.
    """

    def __init__(self, values: Values, found: Mapping[int, Tensor]) -> None:
        self.values, self.found = values, found
        self._known: dict[int, Tensor] = {}

    def __call__(self, step: Step) -> Tensor:
        """The scale of a step's value, of the value's shape."""
        waiting = [step]
        while waiting:  # not recursive: ResNet-1202 is deep
            top = waiting[-1]
            missing = [] if sums(top.op) else [s for s in top.inputs if s.id not in self._known]
            if missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            self._known[top.id] = self._scale(top)
        return self._known[step.id]

    def _scale(self, step: Step) -> Tensor:
        inputs = [self.found[s.id] for s in step.inputs]
        if not inputs:
            return self.found[step.id].abs()
        scales = [self._known.get(s.id, v) for s, v in zip(step.inputs, inputs, strict=True)]
        types = [source.type for source in step.inputs]
        weights = self.values.weights(step.weights)
        with torch.no_grad():
            return scale_of(step.op, types, weights, inputs, scales, self.found[step.id])


def sums(op: Op) -> bool:
    """Whether the scale starts anew there, from the values that are added up."""
    return isinstance(op, _SUMS)


def scale_of(
    op: Op,
    types: Sequence[Type],
    weights: Weights,
    inputs: Sequence[Tensor],
    scales: Sequence[Tensor],
    value: Tensor,
) -> Tensor:
    """The scale of ``op``'s value, given its operands' values and their scales."""
    if isinstance(op, Chain):
        return _links(op, types, weights, inputs, scales)[1]
    if isinstance(op, norm.BatchNorm):
        return _batch_norm(op, weights, inputs[0])
    if isinstance(op, merge.Mul):
        return _product(inputs, scales)
    if isinstance(op, _SUMS):
        return _magnitudes(op, types, weights)(*(x.abs() for x in inputs))
    if isinstance(op, _MOVES):
        return _magnitudes(op, types, weights)(*scales).abs()
    if isinstance(op, _POINTWISE):
        slope = max((float(w.abs().max()) for w in weights.values()), default=1.0)
        return value.abs() + max(1.0, slope) * scales[0]
    return value.abs() + max(float(scale.max()) for scale in scales)


def _magnitudes(op: Op, types: Sequence[Type], weights: Weights) -> Callable[..., Tensor]:
    return function(op, types, {name: weight.abs() for name, weight in weights.items()})


def _batch_norm(op: norm.BatchNorm, weights: Weights, x: Tensor) -> Tensor:
    def row(vector: Tensor) -> Tensor:
        return vector.abs().view(-1, *(1 for _ in x.shape[2:]))

    factor = 1 / (row(weights["running_var"]) + op.eps).sqrt()
    factor = factor * row(weights["weight"]) if "weight" in weights else factor
    scale = factor * (x.abs() + row(weights["running_mean"]))
    return scale + row(weights["bias"]) if "bias" in weights else scale


def _product(inputs: Sequence[Tensor], scales: Sequence[Tensor]) -> Tensor:
    total = torch.zeros(())
    for index, scale in enumerate(scales):
        term = scale
        for other, value in enumerate(inputs):
            term = term * value.abs() if other != index else term
        total = total + term
    return total


def _links(
    op: Chain,
    types: Sequence[Type],
    weights: Weights,
    inputs: Sequence[Tensor],
    scales: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """A chain's value and, if ``scales`` are given, its scale: link by link."""
    value: Any = None
    scale: Any = None
    for index, (link, operands) in enumerate(zip(op.links, op.types(*types), strict=True)):
        prefix = f"{index}."
        own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        xs = [value if slot < 0 else inputs[slot] for slot in link.slots]
        value = function(link.op, operands, own)(*xs)
        if scales is not None:
            nearby = [scale if slot < 0 else scales[slot] for slot in link.slots]
            scale = scale_of(link.op, operands, own, xs, nearby, value)
    return value, scale


_SUMS = (
    conv.Conv, conv.ConvTranspose, linear.Linear, Affine, norm.BatchNorm, merge.Add, merge.Mean,
    merge.Join, pool.AvgPool, pool.AdaptiveAvgPool, pool.GlobalAvgPool,
)  # fmt: skip
_MOVES = (
    pool.MaxPool, pool.AdaptiveMaxPool, pool.GlobalMaxPool, merge.Concat, merge.Max,
    reshape.Upsample, reshape.PixelShuffle, reshape.ChannelShuffle, reshape.Crop, reshape.Pad,
    reshape.PadChannels, reshape.Slice, reshape.Flatten, regular.Dropout, regular.Dropout2d,
    regular.DropPath, regular.Scale,
)  # fmt: skip
"""Linear in the operands, or at most as far apart as they are."""
_POINTWISE = (
    activation.ReLU, activation.ReLU6, activation.SiLU, activation.Hardswish,
    activation.Hardsigmoid, activation.Sigmoid, activation.Tanh, activation.LeakyReLU,
    activation.ELU, activation.GELU, activation.PReLU,
)  # fmt: skip
"""Elementwise with a slope of about one at most."""
