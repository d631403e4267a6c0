"""Other forms of the same that OpenVINO runs faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from cnndsl.engines.onnx_graph import drop_unread, put_nodes

_MANY = 2**23
"""Weights that no cache keeps until the next forward."""


def products_as_convolutions(model: Any) -> None:
    """Large linear layers of one sample become 1x1 convolutions of a pixel, in place; for bfloat16.

    They do nothing but read their weights, which convolutions do faster: AlexNet takes 0.92 times
    as long, VGG-16 0.985 times (AVX-512). Not the last: a linear layer gives its result in
    float32, a convolution rounds it. In float32, and of more samples, convolutions are slower.
    """
    graph = model.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    results = {value.name for value in graph.output}
    nodes = []
    for node in graph.node:
        weight = held.get(node.input[1]) if node.op_type == "Gemm" else None
        if weight is None or np.prod(weight.dims) < _MANY or node.output[0] in results:
            nodes.append(node)
        else:
            nodes += _convolution(node, numpy_helper.to_array(weight), graph.initializer)
    put_nodes(graph, nodes)
    drop_unread(graph)


def _convolution(node: Any, weight: Any, initializers: Any) -> list[Any]:
    names = ("pixel", "size", "kernel", "map")
    pixel, size, kernel, map_ = (f"{node.name}/{name}" for name in names)
    numbers = {size: np.array([1, weight.shape[1], 1, 1]), kernel: weight[:, :, None, None]}
    initializers.extend(numpy_helper.from_array(value, key) for key, value in numbers.items())
    return [
        helper.make_node("Reshape", [node.input[0], size], [pixel], pixel),
        helper.make_node("Conv", [pixel, kernel, *node.input[2:]], [map_], map_),
        helper.make_node("Flatten", [map_], node.output, node.name),
    ]
