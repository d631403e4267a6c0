"""The layout of maps in which a network trains faster on the CPU.

A layout changes no number but by rounding: PyTorch has other kernels for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.engines.base import sizes_for
from cnndsl.engines.chunks import is_ours
from cnndsl.engines.live.watch import has_hooks
from cnndsl.graph.cost import concrete, shape, weights_of
from cnndsl.graph.model import Graph
from cnndsl.ops.conv import Conv
from cnndsl.passes.flow import Flow

_PAYS = 1.2
"""Numbers that convolutions give, for each of their weights, from which on channels last is faster:
the gradients of weights are turned back at each step. Measured in float32 on two threads with
AVX-512, eleven networks: 1.04 to 1.5 times as fast above, 0.94 to 1.1 times below."""
_MOST_SHAPES = 64

Shapes = tuple[tuple[int, ...], ...]


class TrainingLayout:
    """Whether a network is to be trained channels last, by the shapes of its inputs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[Shapes, bool] = {}

    def of(self, network: nn.Module, inputs: Sequence[Any]) -> list[Tensor] | None:
        """The inputs, maps channels last; None if they are to stay as they are.

        So they are where somebody may count on the layout that he knows: a hook, a layer or an
        operator that is not PyTorch's or ours, who wants gradients of an input, or who chose a
        layout for parameters or inputs himself.
        """
        if not (torch.backends.mkldnn.enabled and all(map(_is_plain, inputs))):
            return None
        if not self._pays(tuple(tuple(x.shape) for x in inputs)):
            return None
        if has_hooks(network) or not all(map(_is_usual, network.modules())):
            return None
        return [
            x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs
        ]

    def _pays(self, shapes: Shapes) -> bool:
        found = self._known.get(shapes)
        if found is None:
            found = self._is_ours and self._is_faster(shapes)
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            self._known[shapes] = found
        return found

    @cached_property
    def _is_ours(self) -> bool:
        return all(is_ours(node.op) for node in self._graph)

    def _is_faster(self, shapes: Shapes) -> bool:
        sizes = sizes_for(Flow(self._graph), shapes)
        if sizes is None:
            return False  # the plain module says what is wrong
        convolutions = [node for node in self._graph if isinstance(node.op, Conv)]
        weights = sum(
            prod(weight.shape) for node in convolutions for weight in weights_of(self._graph, node)
        )
        outputs = sum(prod(shape(concrete(node.type, sizes))) for node in convolutions)
        return shapes[0][0] * outputs > _PAYS * weights


def as_usual(found: Any) -> Any:
    """A result whose maps lie in memory as they do without another layout of the inputs."""
    if isinstance(found, Tensor):
        return found.contiguous()
    if hasattr(found, "_make"):  # a named tuple
        return found._make(map(as_usual, found))
    return found


def _is_plain(x: Any) -> bool:
    if type(x) is not Tensor or not x.is_cpu or x.dtype is not torch.float32 or x.requires_grad:
        return False
    # A map of one channel lies in both layouts at once, and PyTorch goes on in the usual one.
    both = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x.is_contiguous() and not both


def _is_usual(part: nn.Module) -> bool:
    """A layer of PyTorch or ours, neither patched nor with weights in another layout."""
    weight = part._parameters.get("weight")
    laid_out = weight is not None and not weight.is_contiguous()
    ours = type(part).__module__.startswith(("torch.nn.", "cnndsl."))
    return ours and not laid_out and "forward" not in part.__dict__
