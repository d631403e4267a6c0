"""Sums in stages, where an engine adds up too many numbers one after another.

A rounding error grows with the number of additions behind it. PyTorch adds in several places side
by side, so that its sums of a thousand numbers are half as wrong as those of who does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from cnndsl.engines.onnx_graph import Initializers, drop_unread, put_nodes, sizes_of

_WIDE = 64
"""Pixels up to which a mean is taken at once."""
_PARTS, _LONG = 8, 256
"""How many parts a product is made in, and from how many numbers on."""


def means_in_stages(model: Any) -> None:
    """Global average pools of large maps, in a model of fixed shapes, become a mean of rows and one
    of those, in place.

    SqueezeNet's result is a mean of 13x13 positive numbers: its error on onnxruntime was 1.7
    times PyTorch's, and is 0.9 times in two stages. In bfloat16 SE-ResNet-50's on OpenVINO was 1.01
    to 1.11 times PyTorch's, and is 0.98 to 0.99 times.
    """
    sizes = sizes_of(model.graph)

    def staged(node: Any) -> list[Any]:
        if node.op_type != "GlobalAveragePool":
            return [node]
        height, width = sizes[node.input[0]][2:]
        if height * width <= _WIDE or 1 in (height, width):
            return [node]
        return _mean_of_rows(node, height, width)

    put_nodes(model.graph, (new for node in model.graph.node for new in staged(node)))


def products_in_stages(model: Any) -> None:
    """Linear layers of many inputs become a sum of products of parts of them, in place.

    Most networks end in one, so that its error is the result's: DenseNet-121's on OpenVINO was
    1.70 times PyTorch's, and is 0.70 times in eight parts. (As one product of
    three axes it is 0.52 times, but takes 0.2 ms: OpenVINO packs no such weights.)
    """
    held = Initializers(model.graph)

    def staged(node: Any) -> list[Any]:
        weight = held.weight_of(node, "Gemm")
        if weight is None or weight.dims[1] < _LONG or weight.dims[1] % _PARTS:
            return [node]
        return _sum_of_parts(node, numpy_helper.to_array(weight), held)

    put_nodes(model.graph, (new for node in model.graph.node for new in staged(node)))
    drop_unread(model.graph)


def _mean_of_rows(node: Any, height: int, width: int) -> list[Any]:
    rows = f"{node.name}/rows"
    return [
        helper.make_node("AveragePool", node.input, [rows], rows, kernel_shape=[1, width]),
        helper.make_node("AveragePool", [rows], node.output, node.name, kernel_shape=[height, 1]),
    ]


def _sum_of_parts(node: Any, weight: np.ndarray, held: Initializers) -> list[Any]:
    """Linear layers, each of a part of the inputs, and their sum; the last adds the bias."""
    size = weight.shape[1] // _PARTS
    x, whole, *bias = node.input
    name = node.name
    sizes = held.put(f"{name}/sizes", np.full(_PARTS, size))
    parts = [f"{name}/part{i}" for i in range(_PARTS)]
    nodes = [helper.make_node("Split", [x, sizes], parts, f"{name}/split", axis=1)]
    for i, (part, own) in enumerate(zip(parts, np.split(weight, _PARTS, axis=1), strict=True)):
        key = held.put(f"{whole}/part{i}", own)
        read = [part, key, *(bias if i == _PARTS - 1 else ())]
        nodes.append(helper.make_node("Gemm", read, [f"{part}/product"], part, transB=1))
    products = [f"{part}/product" for part in parts]
    return [*nodes, helper.make_node("Sum", products, node.output, name)]
