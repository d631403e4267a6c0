"""Convolutions by Winograd's tiles of 4x1, recognised in a model that ``onnx_model`` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import numpy_helper

from cnndsl.engines.onnx.graph import Initializers, attributes, sizes_of
from cnndsl.passes.winograd import FOUR

POINTS, WINDOW, ROWS = FOUR.window, FOUR.window, FOUR.outputs
"""Of a tile: products, rows that it reads, and rows that it gives."""


class Tiled(NamedTuple):
    """What ``passes.winograd`` makes of a convolution by tiles of 4x1."""

    read: str
    above: int
    """Rows of zeros above the map that is read."""
    tiles: int
    """In a column of the map."""
    transform: np.ndarray
    """B^T, [points, window]."""
    product: Any
    """The convolution of all points, one group for each."""
    combine: np.ndarray
    """A, [points, rows]."""
    written: str


def output_transform(node: Any, held: Initializers) -> np.ndarray | None:
    """[products, outputs] of a step that combines rows as Winograd's tiles do, every channel and
    column alike; None of another."""
    weight = held.weight_of(node, "ConvTranspose")
    if weight is None or len(node.input) > 2:  # a bias
        return None
    given = attributes(node)
    products, (one, outputs, width) = weight.dims[0] // given["group"], weight.dims[1:]
    if (products, one, outputs, width) != (POINTS, 1, ROWS, 1):
        return None
    moved = (*given["pads"], *given["output_padding"])
    if any(moved) or (given["strides"], given["dilations"]) != ([outputs, 1], [1, 1]):
        return None
    return _alike(numpy_helper.to_array(weight).reshape(-1, products, outputs))


class Tiles:
    """Finds them in a model of fixed shapes."""

    def __init__(self, graph: Any) -> None:
        self.held, self.sizes = Initializers(graph), sizes_of(graph)
        self._makers = {name: node for node in graph.node for name in node.output}

    def ending_in(self, node: Any) -> Tiled | None:
        """The one of which this node is the last."""
        combine = output_transform(node, self.held)
        product = self._shuffled(node) if combine is not None else None
        points = self._points(product) if product is not None else None
        if combine is None or points is None:
            return None
        rows = [self._row_transform(point) for point in points]
        first = points[0]
        given = [(point.input[0], attributes(point)) for point in points]
        if any(row is None for row in rows) or any(each != given[0] for each in given):
            return None
        transform = np.stack([row for row in rows if row is not None])
        if not (transform.any(1).all() and combine.any(0).all()):
            return None  # a sum of nothing
        return Tiled(
            read=first.input[0],
            above=given[0][1]["pads"][0],
            tiles=self.sizes[first.output[0]][2],
            transform=transform,
            product=product,
            combine=combine,
            written=node.output[0],
        )

    def _shuffled(self, node: Any) -> Any | None:
        """The convolution whose channels are brought together point by point before ``node``."""
        back = self._maker(node.input[0], "Reshape")
        turned = self._maker(back.input[0], "Transpose") if back is not None else None
        parts = self._maker(turned.input[0], "Reshape") if turned is not None else None
        if parts is None or self.sizes[parts.output[0]][1] != POINTS:
            return None
        return self._maker(parts.input[0], "Conv")

    def _points(self, product: Any) -> Sequence[Any] | None:
        """The steps of which each group of this convolution reads one."""
        joined = self._maker(product.input[0], "Concat")
        if joined is None or attributes(product).get("group") != POINTS:
            return None
        points = [self._maker(name, "Conv") for name in joined.input]
        is_whole = len(points) == POINTS and all(point is not None for point in points)
        return points if is_whole else None

    def _row_transform(self, point: Any) -> np.ndarray | None:
        """[window] by which a step combines rows, every channel and column alike."""
        weight = self.held.weight_of(point, "Conv")
        if weight is None or len(point.input) > 2:
            return None
        given, channels = attributes(point), self.sizes[point.input[0]][1]
        if (given["group"], *weight.dims) != (channels, channels, 1, WINDOW, 1):
            return None
        steps = given["strides"], given["dilations"], given["pads"][1::2]
        if steps != ([ROWS, 1], [1, 1], [0, 0]):
            return None
        return _alike(numpy_helper.to_array(weight).reshape(-1, WINDOW))

    def _maker(self, name: str, operator: str) -> Any | None:
        """What gives this value, if it is such a node."""
        node = self._makers.get(name)
        return node if node is not None and node.op_type == operator else None


def _alike(channels: np.ndarray) -> np.ndarray | None:
    """What is the same for all channels; None where they differ."""
    first: np.ndarray = channels[0]
    return first if (channels == first).all() else None
