"""The output transform of Winograd's tiles of 4x1, in a form that onnxruntime runs faster."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from cnndsl.engines.onnx.graph import Initializers, drop_unread, put_nodes, sizes_of
from cnndsl.engines.onnx.tiles import output_transform

_MOST_ROWS = 32
"""Of a map: each is a sum over the products of all tiles, most of them times zero."""


def rows_by_one_product(model: Any) -> None:
    """The rows of a small map by one matrix, in place: a model of fixed shapes::

        conv_transpose(c, (4, 1), stride=(4, 1), groups=c)
            becomes   reshape [c, 6t, w]  ->  matmul by [4t, 6t]

    where every channel is treated alike. A layer by such tiles takes 0.9 to 0.97 times as long
    (maps of 28 to 7 pixels, two threads with AVX-512).
    """
    graph = model.graph
    held, sizes = Initializers(graph), sizes_of(graph)
    nodes: list[Any] = []
    for node in graph.node:
        tile = output_transform(node, held)
        if tile is None or sizes[node.output[0]][2] > _MOST_ROWS:
            nodes.append(node)
        else:
            nodes += _product(node, tile, sizes[node.input[0]], held)
    put_nodes(graph, nodes)
    drop_unread(graph)


def _product(node: Any, tile: np.ndarray, size: tuple[int, ...], held: Initializers) -> list[Any]:
    """The rows of all tiles of a channel, [products * tiles, width], times a matrix."""
    samples, channels, tiles, width = size
    products, outputs = tile.shape
    name = node.name
    rows = held.put(
        f"{name}/rows",
        np.einsum("pj,kl->kjpl", tile, np.eye(tiles, dtype=tile.dtype)).reshape(
            tiles * outputs, products * tiles
        ),
    )
    shape = held.put(
        f"{name}/shape", np.array([samples, channels // products, products * tiles, width])
    )
    given = f"{name}/products"
    return [
        helper.make_node("Reshape", [node.input[0], shape], [given], given),
        helper.make_node("MatMul", [rows, given], node.output, name),
    ]
