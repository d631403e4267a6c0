"""What a problem's result is, in float64, and how large a rounding error may be.

The value is what the operators mean in PyTorch; no kernel writes its formula twice. Beside it
runs the scale of each value, |W| * |X| + |b| and so on: the componentwise backward error of a
result is its distance from the value in units of that scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from cnndsl.engines.apply import Function, function_of
from cnndsl.kernels.problem import Problem
from cnndsl.ops.activation import LogSoftmax, Softmax
from cnndsl.ops.base import Op
from cnndsl.ops.norm import LocalResponseNorm
from cnndsl.passes.kinds import CONVOLUTIONS, EPILOGUES
from cnndsl.passes.ops import RUNNING, Affine, weights_of_link


def reference(
    problem: Problem, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """The exact result and its scale, both float64, of the problem's output shape."""
    given = [(x.double(), x.double().abs()) for x in inputs]
    running: tuple[Tensor, Tensor] | None = None
    for index, (link, types) in enumerate(zip(problem.links, problem.operands, strict=True)):
        operands = [running if slot == RUNNING else given[slot] for slot in link.slots]
        own = {k: w.double() for k, w in weights_of_link(weights, index).items()}
        size = {k: w.abs() for k, w in own.items()} if _is_linear(link.op) else own
        values, scales = zip(*operands, strict=True)
        value = function_of(link.op, types, own)(*values)
        scale = function_of(link.op, types, size)
        running = (value, _scale(link.op, scale, scales, value))
    assert running is not None
    return running


def _is_linear(op: Op) -> bool:
    return isinstance(op, (*CONVOLUTIONS, Affine))


def _scale(op: Op, function: Function, scales: Sequence[Tensor], value: Tensor) -> Tensor:
    """An activation hands errors on, no larger than its slope makes them; all else is monotone
    in the scales. None is smaller than the value, of which the last rounding is a share. An
    exponential, a power too, makes a share of its value out of an error of its argument."""
    if isinstance(op, EPILOGUES):
        steepest = max(1.0, *(abs(get(op)) for get in _SLOPES.get(op.name, (lambda _: 1.0,))))
        return torch.maximum(scales[0] * steepest, value.abs())
    if isinstance(op, Softmax | LogSoftmax):
        argument = 1 + 2 * scales[0].amax(1, keepdim=True)
        return value * argument if isinstance(op, Softmax) else value.abs() + argument
    size = torch.maximum(function(*scales).abs(), value.abs())
    if isinstance(op, LocalResponseNorm):  # x * exp(-beta * log(base)), alone: its scale is |x|
        return size * (1 + (value.abs() / scales[0]).log().nan_to_num(0.0).abs())
    return size


_SLOPES: dict[str, tuple[Callable[..., float], ...]] = {
    "leaky_relu": (lambda op: op.negative_slope,),
    "elu": (lambda op: op.alpha,),
}


def backward_error(found: Tensor, value: Tensor, scale: Tensor) -> Tensor:
    """How far off each number is, in units of float32 rounding (2^-24) of its scale.

    Half precision: behind half an ulp of storage, which no kernel can avoid. Where the value
    is NaN or infinite so must be what was found: else the error is infinite.
    """
    unit = torch.finfo(torch.float32).eps / 2
    off = (found.double() - value).abs()
    if found.dtype.itemsize < 4:
        info = torch.finfo(found.dtype)
        spacing = (value.abs() * info.eps).clamp(min=info.smallest_normal * info.eps)
        off = (off - spacing / 2).clamp(min=0)
    error = off / (unit * scale).clamp(min=torch.finfo(torch.float32).tiny)
    same = (found.double() == value) | (found.isnan() & value.isnan())
    return torch.where(same, 0.0, torch.nan_to_num(error, nan=torch.inf))
