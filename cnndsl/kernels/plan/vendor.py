"""What others' libraries compute through PyTorch: the rivals of our kernels, and their stand-ins.

They give a new tensor, so that what belongs into a slice of a wider map is copied there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cnndsl.engines.apply import Function, function_of
from cnndsl.graph.cost import shape
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.window import filters_of, window_of
from cnndsl.ops.activation import LogSoftmax, ReLU
from cnndsl.ops.base import Op
from cnndsl.ops.conv import Conv
from cnndsl.ops.linear import Linear
from cnndsl.ops.merge import Add, Concat
from cnndsl.ops.norm import LocalResponseNorm
from cnndsl.ops.pool import MaxPool
from cnndsl.ops.reshape import Crop, Flatten, Slice, Split
from cnndsl.ops.types import FeatureMap, Type, Weight
from cnndsl.passes.kinds import AVERAGE_POOLS, CONVOLUTIONS, ELEMENTWISE, MAX_POOLS
from cnndsl.passes.ops import RUNNING


class Load(NamedTuple):
    """What one kernel moves to and from memory, in bytes, and computes, a
    multiply-accumulate as two."""

    bytes: int
    flops: int


class Vendor(ABC):
    """Stateless."""

    name: ClassVar[str]
    sparse: ClassVar[bool] = False
    """Whether the result is a view with gaps between its pixels, to be copied before it is read."""

    @abstractmethod
    def refuses(self, problem: Problem) -> str | None:
        """Why it does not take this problem, as a clause for a report; None if it does."""

    @abstractmethod
    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        """Takes one tensor per input of the problem. ``weights``: by the chain's names."""

    def loads(self, problem: Problem) -> Sequence[Load]:
        """One for each kernel that it launches."""
        return [Load(problem.bytes, 2 * problem.macs)]


class Aten(Vendor):
    """PyTorch's operators one after another: takes everything."""

    name = "aten"

    def refuses(self, problem: Problem) -> str | None:
        return None

    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        return function_of(problem.chain, problem.inputs, weights)

    def loads(self, problem: Problem) -> Sequence[Load]:
        found = []
        steps = zip(problem.links, problem.operands, problem.results, strict=True)
        for link, operands, result in steps:
            alone = _bytes(problem, link.op, operands, result)
            macs = problem.batch * link.op.macs(operands[0], result)
            for number in range(_launched(link.op, operands, problem)):
                found.append(Load(alone, 2 * macs if number == 0 else 0))
        return found


def _bytes(problem: Problem, op: Op, operands: Sequence[Type], result: Type) -> int:
    maps = sum(math.prod(shape(type)) for type in (*operands, result))
    weights = sum(math.prod(weight.shape) for weight in op.weights(*operands))
    return (problem.batch * maps + weights) * problem.dtype.itemsize


def _launched(op: Op, operands: Sequence[Type], problem: Problem) -> int:
    """How many kernels PyTorch launches for it on channels-last tensors."""
    if is_view(op, operands):
        return 0
    if isinstance(op, CONVOLUTIONS) and not isinstance(op, Linear):
        weights: Sequence[Weight] = op.weights(*operands)  # type: ignore[arg-type]
        return 1 + any(weight.name == "bias" for weight in weights)
    if isinstance(op, LocalResponseNorm):
        return 6
    if isinstance(op, LogSoftmax):
        return 1
    return max(1, len(operands) - 1) if op.join else 1


def is_view(op: Op, operands: Sequence[Type]) -> bool:
    """Whether PyTorch's result is the operand's own memory."""
    if isinstance(op, Flatten):  # the channels of more than one pixel change places
        _, height, width = extents(operands[0])
        return height == width == 1
    return isinstance(op, Slice | Split | Crop)


def may_share(op: Op) -> bool:
    """Whether PyTorch's result may lie in an operand's memory: not if anything is computed."""
    return not isinstance(op, _COMPUTING)


_COMPUTING = (*CONVOLUTIONS, *ELEMENTWISE, *AVERAGE_POOLS, *MAX_POOLS, Concat, LocalResponseNorm)


class Skipping(Vendor):
    """Every second pixel, or every third: a view, and the copy that it needs anyway."""

    name = "copy"
    sparse = True

    def refuses(self, problem: Problem) -> str | None:
        op = problem.links[0].op
        if len(problem.links) > 1 or not isinstance(op, MaxPool):
            return "it is more than leaving pixels out"
        alone = op.kernel == (1, 1) and op.padding == (0, 0) and not op.ceil
        return None if alone else "its windows are of more than one pixel"

    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        down, right = problem.links[0].op.stride  # type: ignore[attr-defined]
        return lambda x: x[:, :, ::down, ::right]

    def loads(self, problem: Problem) -> Sequence[Load]:
        return []


class CudnnFused(Vendor):
    """cuDNN's convolution with bias, residual and ReLU in its epilogue."""

    name = "cudnn"

    def refuses(self, problem: Problem) -> str | None:
        first, *rest = problem.links
        if not isinstance(first.op, Conv) or first.slots != (0,):
            return "it does not begin with a convolution"
        edges = first.op.edges(problem.operands[0][0])  # type: ignore[arg-type]
        if edges.top != edges.bottom or edges.left != edges.right:
            return "its padding differs at opposite ends"
        if not rest or not isinstance(rest[-1].op, ReLU) or len(rest) > 2:
            return "it does not end with a residual and ReLU, or ReLU"
        return None if len(rest) == 1 or _residual(problem) is not None else "it is no plain sum"

    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        op = problem.links[0].op
        assert isinstance(op, Conv)
        edges = op.edges(problem.operands[0][0])  # type: ignore[arg-type]
        weight = weights["0.weight"].contiguous(memory_format=torch.channels_last)
        bias = weights.get("0.bias")
        bias = bias if bias is None else bias.to(weight.dtype)
        given = (bias, list(op.stride), [edges.top, edges.left], list(op.dilation), op.groups)
        residual = _residual(problem)

        def fused(*inputs: Tensor) -> Tensor:
            if residual is None:
                return torch.cudnn_convolution_relu(inputs[0], weight, *given)
            added = inputs[residual]
            return torch.cudnn_convolution_add_relu(inputs[0], weight, added, 1.0, *given)

        return fused


def _residual(problem: Problem) -> int | None:
    """The input that a second link adds, as large as the result."""
    if len(problem.links) != 3:
        return None
    link = problem.links[1]
    others = [slot for slot in link.slots if slot != RUNNING]
    if not isinstance(link.op, Add) or len(link.slots) != 2 or len(others) != 1:
        return None
    whole = problem.inputs[others[0]] == problem.results[0]
    return others[0] if whole else None


class CublasLt(Vendor):
    """cuBLASLt's product of matrices with bias and ReLU: linear layers, 1x1 convolutions."""

    name = "cublaslt"

    def refuses(self, problem: Problem) -> str | None:
        window = window_of(problem, 0)
        if window is None or not window.is_product or window.groups != 1:
            return "it does not begin with a product of matrices"
        if problem.links[0].slots != (0,) or len(problem.links) > 2:
            return "it does more than a bias and ReLU"
        if len(problem.links) == 2 and not isinstance(problem.links[1].op, ReLU):
            return f"`{problem.links[1].op.name}` is not in its epilogue"
        return None

    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        window = window_of(problem, 0)
        assert window is not None
        weight = filters_of(window, weights["0.weight"]).flatten(1).t()
        bias = weights.get("0.bias")
        bias = weight.new_zeros(weight.shape[1]) if bias is None else bias.to(weight.dtype)
        relu, is_map = len(problem.links) == 2, isinstance(problem.output, FeatureMap)

        def product(x: Tensor) -> Tensor:
            rows = x.permute(0, 2, 3, 1) if is_map else x
            flat = rows.reshape(-1, rows.shape[-1])
            take = torch._addmm_activation if relu else torch.addmm
            y = take(bias, flat, weight)
            return y.view(*rows.shape[:-1], -1).permute(0, 3, 1, 2) if is_map else y

        return product


ATEN = Aten()
VENDORS: tuple[Vendor, ...] = (Skipping(), CudnnFused(), CublasLt(), ATEN)
"""The dearest first, so that it wins where they are equal; the last takes everything."""
