"""Linear layers of several samples, in a form that onnxruntime runs faster and more exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from onnx import helper

from cnndsl.engines.onnx.graph import Initializers, drop_unread, put_nodes, sizes_of
from cnndsl.engines.onnxruntime.layout import BLOCK

_MANY = 2**20
"""Weights from which on turning the samples costs nothing beside them."""
_MOST_SAMPLES = 64
"""More were not measured."""
_POINTWISE = ("Relu", "Sigmoid", "Tanh")


def samples_as_pixels(model: Any) -> None:
    """Large linear layers become 1x1 convolutions on a row of samples, in place: a model of fixed
    shapes::

        [n, inputs]  ->  [1, inputs, 1, n]  ->  conv(outputs, 1)  ->  [n, outputs]

    A product of few rows takes longer there: AlexNet's two large layers 14.3 ms for 16 samples, and
    12.0 ms so (two threads with AVX-512; of 2 to 64 samples 0.74 to 0.90 times as long). The error
    is 0.8 times as large. Of one sample nothing is gained. Measured with AVX-512 alone.
    """
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return
    graph = model.graph
    held = Initializers(graph)
    dims = sizes_of(graph)
    rows = _Rows(held)
    nodes: list[Any] = []
    for node in graph.node:
        weight = held.weight_of(node, "Gemm")
        samples = dims.get(node.input[0], (0,))[0] if weight is not None else 0
        if weight is not None and 1 < samples <= _MOST_SAMPLES and _pays(weight):
            nodes += rows.convolved(node, weight, samples)
        elif node.op_type in _POINTWISE and rows.only_there(node.input[0]):
            nodes += rows.followed(node)
        else:
            nodes += [*rows.turned_back(node.input), node]
    put_nodes(graph, [*nodes, *rows.turned_back([value.name for value in graph.output])])
    drop_unread(graph)


def _pays(weight: Any) -> bool:
    return bool(weight.dims[1] % BLOCK == 0 and np.prod(weight.dims) >= _MANY)


class _Rows:
    """Values with their samples in a row, turned back only where somebody reads them otherwise."""

    def __init__(self, held: Initializers) -> None:
        self.of: dict[str, str] = {}
        self._held = held
        self._sizes: dict[str, list[int]] = {}
        self._missing: set[str] = set()
        """What is there in a row alone."""

    def only_there(self, name: str) -> bool:
        return name in self._missing

    def convolved(self, node: Any, weight: Any, samples: int) -> Iterator[Any]:
        """A linear layer as a convolution."""
        x, y = node.input[0], node.output[0]
        outputs, inputs = weight.dims
        if x not in self.of:
            self.of[x], turned = f"{x}/row", f"{x}/turned"
            size = self._size(x, [1, inputs, 1, samples])
            yield helper.make_node("Transpose", [x], [turned], turned, perm=[1, 0])
            yield helper.make_node("Reshape", [turned, size], [self.of[x]], self.of[x])
        kernel = self._held.kernel(weight)
        row = self._new_row(y, [outputs, samples])
        yield helper.make_node("Conv", [self.of[x], kernel, *node.input[2:]], [row], row)

    def followed(self, node: Any) -> Iterator[Any]:
        """What takes number by number, on a row."""
        (x,), (y,) = node.input, node.output
        row = self._new_row(y, self._sizes[x])
        yield helper.make_node(node.op_type, [self.of[x]], [row], row)

    def turned_back(self, names: Iterable[str]) -> Iterator[Any]:
        """What makes these as they were, if they are not there."""
        for name in names:
            if name not in self._missing:
                continue
            self._missing.remove(name)
            size = self._size(name, self._sizes[name])
            flat = f"{name}/flat"
            yield helper.make_node("Reshape", [self.of[name], size], [flat], flat)
            yield helper.make_node("Transpose", [flat], [name], name, perm=[1, 0])

    def _new_row(self, name: str, size: list[int]) -> str:
        self.of[name], self._sizes[name] = f"{name}/row", size
        self._missing.add(name)
        return self.of[name]

    def _size(self, name: str, size: list[int]) -> str:
        return self._held.put(f"{name}/size{len(size)}", np.array(size))
