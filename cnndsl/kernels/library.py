"""``torch.ops.cnndsl.chain``: a problem as one operator of PyTorch.

``torch.compile``, ``torch.export`` and AOTInductor take it as they take any operator. On a GPU it
is our kernels, which Inductor sees through; on the CPU the operators of PyTorch that it means,
so that what was made for a GPU can be checked without one. It has a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.library import triton_op, wrap_triton
from torch.utils._python_dispatch import _disable_current_modes

from cnndsl.engines.traceable import traceable_layer
from cnndsl.graph.cost import shape
from cnndsl.kernels.base import Launch, Operands
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.spelling import read
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap, Type
from cnndsl.passes.ops import RUNNING, Affine, weights_of_link

WITHOUT_GPU = 80
"""The capability that is assumed while a graph is traced for a GPU that is not there."""


@triton_op("cnndsl::chain", mutates_args={})
def chain(inputs: Sequence[Tensor], weights: Sequence[Tensor], problem: str) -> Tensor:
    """The result of a problem that ``spelling.spelled`` wrote; on a GPU channels last.

    ``inputs``: ``[N, C, H, W]`` or ``[N, C]``, one for each of the problem's, of any batch and
    size: those in the text are the ones it was written at. ``weights``: in the order of
    ``weight_names``, not packed.
    """
    known = _at_hand(problem, inputs)
    named = dict(zip(weight_names(known), weights, strict=True))
    on_cpu = inputs[0].device.type == "cpu"
    found = None if on_cpu else _launches(known, inputs, named)
    if found is None:
        # A clone: an operator must not return what it was given. Not channels last on a CPU: a
        # trace for all sizes would ask which of them are 1, where PyTorch takes other paths.
        layout = torch.contiguous_format if on_cpu else _layout(known)
        return evaluate(known, inputs, named).clone(memory_format=layout)
    launches, out = found
    for function, grid, arguments, config in launches:
        wrapped = wrap_triton(function)
        wrapped[grid](**arguments, num_warps=config.warps, num_stages=config.stages)
    return out


def _at_hand(problem: str, inputs: Sequence[Tensor]) -> Problem:
    """The problem at the sizes of its inputs."""
    known = read(problem)
    shapes = [tuple(x.shape) for x in inputs]
    if all(isinstance(size, int) for shape in shapes for size in shape):
        return known.at(shapes)
    if inputs[0].device.type != "cpu":
        return known.at([tuple(map(int, shape)) for shape in shapes])  # a trace for these alone
    if _is_alike_at_all_sizes(known):
        return known  # one trace for all sizes: the operators of PyTorch ask for none
    # A trace for these heights and widths: what meets others must trace again. For all batches.
    return known.at([(known.batch, *map(int, shape[1:])) for shape in shapes])


def _is_alike_at_all_sizes(problem: Problem) -> bool:
    """Whether PyTorch's forms of the operators are the same at all heights and widths."""
    try:
        for link, types in zip(problem.links, problem.operands, strict=True):
            if not isinstance(link.op, Affine):
                _made(link.op, tuple(map(_at_any_size, types)))
    except RuleError:  # `same_upper` pads by the size
        return False
    return True


def _at_any_size(type: Type) -> Type:
    if not isinstance(type, FeatureMap):
        return type
    return FeatureMap(type.channels, Size.of("H"), Size.of("W"))


def weight_names(problem: Problem) -> list[str]:
    """The chain's weights in their order: ``0.weight``, ``0.bias``, …"""
    return [weight.name for weight in problem.chain.weights(*problem.inputs)]


def _layout(problem: Problem) -> torch.memory_format:
    is_map = isinstance(problem.output, FeatureMap)
    return torch.channels_last if is_map else torch.contiguous_format


def _launches(
    problem: Problem, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]
) -> tuple[Sequence[Launch], Tensor] | None:
    """Those of the first kernel that reads plain pointers, as tracing drops host descriptors, and
    what they write; None where no kernel takes the problem at these sizes."""
    from cnndsl.kernels.table import taking  # triton, which a CPU does without

    kernels, size = taking(problem, _capability()), (problem.batch, *shape(problem.output))
    if not kernels:
        return None
    given: dict[str, Any] = {"dtype": problem.dtype, "device": inputs[0].device}
    out = torch.empty(size, memory_format=_layout(problem), **given)
    for kernel in kernels:
        config = kernel.configs(problem, _capability())[0]
        operands = Operands(inputs, kernel.pack(problem, weights), out)
        launches = kernel.launches(problem, config, operands)
        if not any(hasattr(v, "block_shape") for launch in launches for v in launch[2].values()):
            return launches, out
    return None


def _capability() -> int:
    if not torch.cuda.is_available():
        return WITHOUT_GPU
    major, minor = torch.cuda.get_device_capability()
    return 10 * major + minor


# --- what it means, and its gradient ------------------------------------------------------------


def evaluate(problem: Problem, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """By PyTorch's own operators, link by link; inputs and weights may want gradients."""
    running: Any = None
    for index, (link, types) in enumerate(zip(problem.links, problem.operands, strict=True)):
        operands = [running if slot == RUNNING else inputs[slot] for slot in link.slots]
        own = weights_of_link(weights, index)
        running = _apply(link.op, types, operands, own)
    return running  # type: ignore[no-any-return]


def _apply(
    op: Op, types: Sequence[Type], operands: Sequence[Tensor], weights: Mapping[str, Tensor]
) -> Tensor:
    given = {name: w.to(operands[0].dtype) for name, w in weights.items()}
    if isinstance(op, Affine):
        apart = (-1, *(1 for _ in range(operands[0].dim() - 2)))
        return operands[0] * given["weight"].view(apart) + given["bias"].view(apart)
    made = _made(op, tuple(types))
    if isinstance(made, nn.Module):
        return functional_call(made, given, tuple(operands))  # type: ignore[no-any-return]
    return made(*operands, *given.values())


@lru_cache(maxsize=1024)
def _made(op: Op, types: tuple[Type, ...]) -> Callable[..., Tensor]:
    """The operator's PyTorch form, without weights of its own; whoever traces is not to see it
    being made."""
    with _disable_current_modes(), torch.device("meta"):
        made = op.torch(*types)
    return traceable_layer(made).eval() if isinstance(made, nn.Module) else made


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, weights, ctx.problem = inputs
    ctx.count = len(values)
    ctx.save_for_backward(*values, *weights)


def _backward(ctx: Any, gradient: Tensor) -> tuple[list[Tensor], list[Tensor], None]:
    """By PyTorch's own operators, so that what traces the forward traces the backward too."""
    count = ctx.count
    known = _at_hand(ctx.problem, ctx.saved_tensors[:count])
    names = weight_names(known)

    def forward(*given: Tensor) -> Tensor:
        named = dict(zip(names, given[count:], strict=True))
        return evaluate(known, given[:count], named)

    pull = torch.func.vjp(forward, *ctx.saved_tensors)[1]
    found = pull(gradient)
    return list(found[:count]), list(found[count:]), None


chain.register_autograd(_backward, setup_context=_keep)
