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
from cnndsl.engines.chunks import independent
from cnndsl.graph.cost import concrete, shape
from cnndsl.graph.model import Graph
from cnndsl.ops.conv import Conv
from cnndsl.passes.flow import Flow

_PAYS = 1.2
"""Numbers that convolutions give, for each of their weights, from which on channels last is faster:
the gradients of weights are turned back at each step. Measured on two threads with AVX-512, eleven
networks: 1.04 to 1.5 times as fast above, 0.94 to 1.1 times below."""
_MOST_SHAPES = 64

Shapes = tuple[tuple[int, ...], ...]


class TrainingLayout:
    """Whether a network is to be trained channels last, by the shapes of its inputs."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[Shapes, bool] = {}

    def of(self, network: nn.Module, inputs: Sequence[Any]) -> list[Tensor] | None:
        """The inputs, maps channels last; None if they are to stay as they are.

        Layers that are not PyTorch's or ours may count on the layout that they know.
        """
        if not all(map(_is_plain, inputs)):
            return None
        if not self._pays(tuple(tuple(x.shape) for x in inputs)):
            return None
        if not all(
            type(m).__module__.startswith(("torch.nn.", "cnndsl.")) for m in network.modules()
        ):
            return None
        return [
            x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs
        ]

    def _pays(self, shapes: Shapes) -> bool:
        found = self._known.get(shapes)
        if found is None:
            found = self._flow is not None and _pays(self._flow, shapes)
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            self._known[shapes] = found
        return found

    @cached_property
    def _flow(self) -> Flow | None:
        flow = Flow(self._graph)
        return flow if independent(flow) else None


def as_usual(found: Any) -> Any:
    """A result whose maps lie in memory as those of a plain module."""
    if isinstance(found, Tensor):
        return found.contiguous()
    return type(found)(*(y if y is None else y.contiguous() for y in found))


def _is_plain(x: Any) -> bool:
    return type(x) is Tensor and x.is_cpu and x.dtype is torch.float32 and x.is_contiguous()


def _pays(flow: Flow, shapes: Shapes) -> bool:
    sizes = sizes_for(flow, shapes)
    if sizes is None:
        return False  # the plain module says what is wrong
    convolutions = [step for step in flow if isinstance(step.op, Conv)]
    weights = sum(prod(step.weights["weight"].shape) for step in convolutions)
    outputs = sum(prod(shape(concrete(step.type, sizes))) for step in convolutions)
    return shapes[0][0] * outputs > _PAYS * weights
