"""Other forms of the same that OpenVINO runs faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from cnndsl.engines.onnx.graph import Initializers, drop_unread, put_nodes

_MANY = 2**23
"""Weights of 16 MB, which are read from memory at each forward."""


def products_as_convolutions(model: Any) -> None:
    """Large linear layers of one sample become 1x1 convolutions of a pixel, in place; for bfloat16.

    They do nothing but read their weights, which convolutions do faster: AlexNet takes 0.92 to
    0.99 times as long, VGG-16 0.98 times (two threads with AVX-512). Not the last: a linear layer
    gives its result in float32, a convolution rounds it. In float32, and of more samples,
    convolutions are slower.
    """
    graph = model.graph
    held = Initializers(graph)
    read = _read_by_layers(graph)
    nodes = []
    for node in graph.node:
        weight = held.weight_of(node, "Gemm")
        if weight is None or np.prod(weight.dims) < _MANY or node.output[0] not in read:
            nodes.append(node)
        else:
            nodes += _convolution(node, weight, held)
    put_nodes(graph, nodes)
    drop_unread(graph)


def _read_by_layers(graph: Any) -> set[str]:
    """The values that convolutions or linear layers are computed from."""
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in ("Conv", "Gemm") or not found.isdisjoint(node.output):
            found.update(node.input)
    return found


def _convolution(node: Any, weight: Any, held: Initializers) -> list[Any]:
    pixel, size, map_ = (f"{node.name}/{name}" for name in ("pixel", "size", "map"))
    held.put(size, np.array([1, weight.dims[1], 1, 1]))
    kernel = held.kernel(weight)
    return [
        helper.make_node("Reshape", [node.input[0], size], [pixel], pixel),
        helper.make_node("Conv", [pixel, kernel, *node.input[2:]], [map_], map_),
        helper.make_node("Flatten", [map_], node.output, node.name),
    ]
