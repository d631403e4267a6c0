"""The ``torch`` engine: oneDNN's fused convolutions on prepacked weights, channels last.

A chain that starts with a convolution runs as one call of ``mkldnn._convolution_pointwise``:
bias, residual and activation are added while the output is in registers. Everything else runs
as PyTorch runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cnndsl.engines.apply import Function, entering, function_of, releases
from cnndsl.engines.base import Engine, Job, Runner
from cnndsl.engines.derived import derived
from cnndsl.engines.slices import Slices, view, write
from cnndsl.graph.cost import concrete, shape
from cnndsl.ops.base import Op
from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Add
from cnndsl.ops.types import FeatureMap, Type
from cnndsl.passes.flow import Step
from cnndsl.passes.ops import RUNNING, Chain, Link, weights_of_link
from cnndsl.passes.pipeline import FUSION

# oneDNN's post-operations: name, numbers, algorithm.
_EPILOGUES: dict[str, Callable[[Any], tuple[str, list[float], str | None]]] = {
    "relu": lambda op: ("relu", [], None),
    "relu6": lambda op: ("hardtanh", [0.0, 6.0], None),
    "leaky_relu": lambda op: ("leaky_relu", [op.negative_slope], None),
    "silu": lambda op: ("swish", [], None),
    "hardswish": lambda op: ("hardswish", [], None),
    "hardsigmoid": lambda op: ("hardsigmoid", [], None),
    "sigmoid": lambda op: ("sigmoid", [], None),
    "tanh": lambda op: ("tanh", [], None),
    "gelu": lambda op: ("gelu", [], op.approximate),
}
_PLAIN: tuple[str, list[float], str | None] = ("none", [], None)


class TorchEngine(Engine):
    """Always there, takes every shape and every operator, third-party ones too."""

    name = "torch"
    caution = 0.9
    dynamic = True
    fusion = FUSION

    def build(self, job: Job) -> Runner:
        if job.dtype.itemsize < 4 and job.dtype not in _packable():
            # Without arithmetic for it, float32 is faster, and nearer to the truth.
            job = replace(job, dtype=torch.float32)
        return _Program(job)


class _Call(NamedTuple):
    function: Function
    reads: tuple[int, ...]
    writes: int
    release: tuple[int, ...]


class _Program:
    """Steps as calls; a value is let go after its last reader."""

    def __init__(self, job: Job) -> None:
        flow, self.dtype = job.flow, job.dtype
        weights = derived(job)
        self.inputs = [step.id for step in flow.inputs]
        self.results = [step.id for step in flow.results]
        steps = [step for step in flow if step.inputs]
        release = releases(steps, flow.results)
        self.slices = Slices(flow)
        self.calls = []
        for step in steps:
            function = compiled(step, weights.get(step.id, {}), job)
            reads = tuple(source.id for source in step.inputs)
            self.calls.append(_Call(function, reads, step.id, release[step.id]))

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        values = {i: entering(x, self.dtype) for i, x in zip(self.inputs, inputs, strict=True)}
        buffers: dict[int, Tensor] = {}
        for i in self.inputs:
            self._write(i, values, buffers)
        for function, reads, writes, release in self.calls:
            place = self.slices.views.get(writes)
            if place is not None:
                values[writes] = view(buffers[place.buffer], place)
            else:
                values[writes] = function(*[values[i] for i in reads])
            self._write(writes, values, buffers)  # a view too: it may be a part of another
            for i in release:
                del values[i]
        return [values[i] for i in self.results]

    def _write(self, i: int, values: dict[int, Tensor], buffers: dict[int, Tensor]) -> None:
        for place in self.slices.writes.get(i, ()):
            write(buffers, self.slices.widths, place, values[i])


# --- steps ------------------------------------------------------------------------------------


def compiled(step: Step, weights: Mapping[str, Tensor], job: Job) -> Function:
    """The step as a function of its inputs, fused as far as oneDNN fuses."""
    types = [source.type for source in step.inputs]
    links = step.op.links if isinstance(step.op, Chain) else (Link(step.op, _slots(step)),)
    own = weights if isinstance(step.op, Chain) else {f"0.{k}": v for k, v in weights.items()}
    chain = Chain(tuple(links))
    functions: list[tuple[Function, tuple[int, ...]]] = []
    operands, index = chain.types(*types), 0
    while index < len(links):
        mine = weights_of_link(own, index)
        convolution, count = _convolution(chain.links[index:], operands[index], mine, job)
        if convolution is not None:
            functions.append(convolution)
        else:
            link, count = links[index], 1
            functions.append((function_of(link.op, operands[index], mine), link.slots))
        index += count
    return functions[0][0] if _is_single(functions, types) else _sequence(functions)


def _slots(step: Step) -> tuple[int, ...]:
    return tuple(range(len(step.inputs)))


def _is_single(functions: Sequence[tuple[Function, tuple[int, ...]]], types: list[Type]) -> bool:
    return len(functions) == 1 and functions[0][1] == tuple(range(len(types)))


def _sequence(functions: Sequence[tuple[Function, tuple[int, ...]]]) -> Function:
    def sequence(*inputs: Tensor) -> Tensor:
        running: Any = None
        for function, slots in functions:
            running = function(*[running if slot == RUNNING else inputs[slot] for slot in slots])
        return running  # type: ignore[no-any-return]

    return sequence


# --- convolutions -------------------------------------------------------------------------------


def _convolution(
    links: Sequence[Link], types: Sequence[Type], weights: Mapping[str, Tensor], job: Job
) -> tuple[tuple[Function, tuple[int, ...]] | None, int]:
    """A convolution with what oneDNN can append to it, and how many links that is."""
    op = links[0].op
    if not isinstance(op, Conv) or not isinstance(types[0], FeatureMap):
        return None, 0
    if weights["weight"].dtype not in _packable():
        return None, 0
    count, slots = 1, links[0].slots
    residual = _residual(links[count] if count < len(links) else None)
    if residual is not None:
        count, slots = count + 1, (*slots, residual)
    epilogue = _epilogue(links[count].op if count < len(links) else None)
    if epilogue is not None and residual is not None and epilogue[0] != "relu":
        epilogue = None  # the one that oneDNN takes behind a sum
    if epilogue is not None:
        count += 1
    function = _fused(op, types[0], weights, residual is not None, epilogue or _PLAIN, job)
    return (function, slots), count


def _packable() -> set[torch.dtype]:
    half = {torch.bfloat16} if torch.ops.mkldnn._is_mkldnn_bf16_supported() else set()
    return {torch.float32, *half}


def _residual(link: Link | None) -> int | None:
    """The chain's input that is added to the running value, if that is what the link does."""
    if link is None or not isinstance(link.op, Add) or len(link.slots) != 2:
        return None
    others = [slot for slot in link.slots if slot != RUNNING]
    return others[0] if len(others) == 1 else None


def _epilogue(op: Op | None) -> tuple[str, list[float], str | None] | None:
    known = _EPILOGUES.get(op.name) if op is not None else None
    return known(op) if known is not None else None


def _fused(
    op: Conv,
    x: FeatureMap,
    weights: Mapping[str, Tensor],
    residual: bool,
    epilogue: tuple[str, list[float], str | None],
    job: Job,
) -> Function:
    edges, bias = op.edges(x), weights.get("bias")
    padding = [edges.top, edges.left] if edges.symmetric else [0, 0]
    where = (padding, [*op.stride], [*op.dilation], op.groups)
    if residual and bias is not None:  # that form takes a bias in the weight's dtype alone
        bias = bias.to(weights["weight"].dtype)
    # The size only chooses among blocked layouts; the weight serves every size.
    pack = torch.ops.mkldnn._reorder_convolution_weight
    weight = pack(weights["weight"], *where, _hint(x, job))
    fused, name = torch.ops.mkldnn._convolution_pointwise, epilogue[0]
    border = None if edges.symmetric else edges.torch_order

    def alone(x: Tensor) -> Tensor:
        x = x if border is None else functional.pad(x, border)
        return fused(x, weight, bias, *where, *epilogue)  # type: ignore[no-any-return]

    def joined(x: Tensor, other: Tensor) -> Tensor:
        x = x if border is None else functional.pad(x, border)
        unary = (None, [], None) if name == "none" else epilogue
        return fused.binary(x, other, weight, bias, *where, "add", 1.0, *unary)  # type: ignore[no-any-return]

    return joined if residual else alone


def _hint(x: FeatureMap, job: Job) -> list[int]:
    return [job.shapes[0][0], *shape(concrete(x, job.sizes))]
