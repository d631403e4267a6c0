"""Every operator of a flow as a function of tensors, by its own PyTorch form.

This is the meaning of a flow: the engines may be faster, and are compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.ops.base import Op
from cnndsl.ops.norm import LocalResponseNorm
from cnndsl.ops.types import Type
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import Affine, Chain, weights_of_link
from cnndsl.weights.evaluate import Evaluator

Function = Callable[..., Tensor]


def function_of(op: Op, types: Sequence[Type], weights: Mapping[str, Tensor]) -> Function:
    """The operator in eval mode, holding ``weights``; takes one tensor per operand."""
    if isinstance(op, Chain):
        return _chain(op, types, weights)
    weights = _one_dtype(weights)
    if isinstance(op, Affine):
        return _Affine(weights)
    with torch.device("meta"):
        made = op.torch(*types)
    if not isinstance(made, nn.Module):
        bare = weights.get("")
        return made if bare is None else lambda x: made(x, bare)
    for name, value in weights.items():
        if name in made._buffers:
            made._buffers[name] = value
        else:
            made._parameters[name] = nn.Parameter(value, requires_grad=False)
    made.eval()
    return _InFloat(made) if isinstance(op, LocalResponseNorm) else made


def _one_dtype(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """PyTorch's own layers want biases in the dtype of their weights."""
    weight = weights.get("weight")
    if weight is None or all(value.dtype == weight.dtype for value in weights.values()):
        return weights
    return {name: value.to(weight.dtype) for name, value in weights.items()}


class _InFloat(nn.Module):
    """For what PyTorch has in no half precision on a CPU."""

    def __init__(self, made: nn.Module) -> None:
        super().__init__()
        self.made = made

    def forward(self, x: Tensor) -> Tensor:
        lacks = x.dtype.itemsize < 4 and x.device.type == "cpu"
        return self.made(x.float()).to(x.dtype) if lacks else self.made(x)  # type: ignore[no-any-return]


class _Affine(nn.Module):
    """A factor and a summand per channel. A module, so that compilers see its numbers."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights["weight"], requires_grad=False)
        self.bias = nn.Parameter(weights["bias"], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *(1 for _ in range(x.dim() - 2)))
        return torch.addcmul(self.bias.view(shape), x, self.weight.view(shape))


def _chain(op: Chain, types: Sequence[Type], weights: Mapping[str, Tensor]) -> Function:
    functions = []
    for index, (link, operands) in enumerate(zip(op.links, op.types(*types), strict=True)):
        own = weights_of_link(weights, index)
        functions.append((function_of(link.op, operands, own), link.slots))

    def chain(*inputs: Tensor) -> Tensor:
        running: Any = None
        for function, slots in functions:
            running = function(*(running if slot < 0 else inputs[slot] for slot in slots))
        return running  # type: ignore[no-any-return]

    return chain


def entering(x: Tensor, dtype: torch.dtype) -> Tensor:
    """An input as the fast engines of PyTorch want it: in their dtype, channels last."""
    x = x.to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def releases(steps: Sequence[Step], results: Sequence[Step]) -> dict[int, tuple[int, ...]]:
    """For each step the values that nobody reads behind it, by id; results are kept."""
    last = {i: step.id for step in steps for i in (*(s.id for s in step.inputs), step.id)}
    found: dict[int, list[int]] = {step.id: [] for step in steps}
    for i in last.keys() - {result.id for result in results}:
        found[last[i]].append(i)
    return {i: tuple(ids) for i, ids in found.items()}


class Plain:
    """Runs a flow step by step; values are dropped after their last reader."""

    def __init__(
        self, flow: Flow, parameters: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
    ) -> None:
        value = Evaluator(parameters)
        self.inputs = [step.id for step in flow.inputs]
        self.results = [step.id for step in flow.results]
        steps = [step for step in flow if step.inputs]
        release = releases(steps, flow.results)
        self.calls: list[tuple[Function, tuple[int, ...], int, tuple[int, ...]]] = []
        for step in steps:
            weights = {name: value(e).to(dtype) for name, e in step.weights.items()}
            types = [source.type for source in step.inputs]
            function = function_of(step.op, types, weights)
            ids = tuple(source.id for source in step.inputs)
            self.calls.append((function, ids, step.id, release[step.id]))

    @torch.no_grad()
    def __call__(
        self, *inputs: Tensor, observe: Callable[[int, Tensor], None] | None = None
    ) -> list[Tensor]:
        """The results in order. ``observe`` is told the value of every step by its id."""
        values = dict(zip(self.inputs, inputs, strict=True))
        for function, reads, writes, release in self.calls:
            values[writes] = function(*(values[i] for i in reads))
            if observe is not None:
                observe(writes, values[writes])
            for i in release:
                values.pop(i, None)
        return [values[i] for i in self.results]
