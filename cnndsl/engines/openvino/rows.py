"""Winograd's tiles of 4x1 in the form that OpenVINO runs fastest: with rows apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import numpy as np
from onnx import helper

from cnndsl.engines.onnx.graph import attributes, drop_unread, put_nodes
from cnndsl.engines.onnx.tiles import POINTS, ROWS, Tiled, Tiles

_ELEMENTWISE = frozenset(
    ("Add", "Clip", "HardSwish", "LeakyRelu", "Mul", "Relu", "Sigmoid", "Tanh")
)
_OWN = "rows apart/"
"""Before all names of ours: no module has a space in its name."""


def rows_apart(model: Any) -> None:
    """Tiles of 4x1 on every fourth row, in place: a model of fixed shapes::

        6 x conv((6, 1), stride=(4, 1), groups=m)  ->  concat
        -> conv(6c, (1, 3), groups=6)
        -> channel_shuffle  ->  conv_transpose(c, (4, 1), stride=(4, 1), groups=c)
            becomes   x[k::4]  for k in 0 .. 3
                      -> 6 weighted sums  ->  6 x conv(c, (1, 3))  ->  4 weighted sums
                      -> rows in turn

    OpenVINO lays channels last, so that whole rows are taken apart and put together again, which
    copies them, and makes one loop of each weighted sum and what follows it. Rows stay apart
    through what treats all elements alike, up to who needs the whole map: between two such
    convolutions nothing is put together.
    """
    graph = model.graph
    rewriter = _Rewriter(graph)
    if rewriter.tiled:
        put_nodes(graph, _needed(rewriter.rewritten(graph), graph.output))
        drop_unread(graph)


class _Rewriter:
    """Of one graph. A value that is apart is known by the names of its parts, row k, k + 4, ..."""

    def __init__(self, graph: Any) -> None:
        tiles = Tiles(graph)
        self.held, self.sizes = tiles.held, tiles.sizes
        found = (tiles.ending_in(node) for node in graph.node)
        self.tiled = {t.written: t for t in found if t is not None and self._is_high(t)}
        self._wanted = self._wanted_apart(graph)
        self._nodes: list[Any] = []
        self._apart: dict[str, Sequence[str]] = {}
        self._sliced: dict[str, Sequence[str]] = {}
        self._moved: dict[tuple[str, int, int], str] = {}
        self._whole: set[str] = set()
        self._numbers = count()

    def rewritten(self, graph: Any) -> list[Any]:
        """The nodes of the graph in their new form, with some that nobody reads."""
        for node in graph.node:
            (name, *_) = node.output
            if name in self.tiled:
                self._apart[name] = self._tile(self.tiled[name])
            elif self._is_cut(node):
                self._apart[name] = self._cut(node)
            elif self._stays_apart(node):
                self._apart[name] = self._each(node)
            else:
                for read in node.input:
                    self._together(read)
                self._nodes.append(node)
        for value in graph.output:
            self._together(value.name)
        return self._nodes

    # --- what is apart ---------------------------------------------------------------------------

    def _is_high(self, tiled: Tiled) -> bool:
        """Whether no part is empty, or stays so when zeros come before it."""
        return self.sizes[tiled.read][2] >= ROWS and tiled.above <= tiled.tiles * ROWS

    def _wanted_apart(self, graph: Any) -> set[str]:
        """The values that a tile reads, perhaps behind elementwise steps."""
        wanted = {tiled.read for tiled in self.tiled.values()}
        for node in reversed(graph.node):
            if node.op_type in _ELEMENTWISE and not wanted.isdisjoint(node.output):
                wanted.update(node.input)
        return wanted

    def _stays_apart(self, node: Any) -> bool:
        """Whether a step treats all elements alike, and its rows are apart or are to be."""
        maps = [name for name in node.input if name in self.sizes]
        if node.op_type not in _ELEMENTWISE or not any(name in self._apart for name in maps):
            return False
        size = self.sizes.get(node.output[0])
        if any(self.sizes[name] != size for name in maps) or not self._are_scalars(node):
            return False
        return node.output[0] in self._wanted or all(name in self._apart for name in maps)

    def _are_scalars(self, node: Any) -> bool:
        """Whether the weights of an elementwise step are the same for all rows."""
        given = (self.held.numbers(name) for name in node.input if name not in self.sizes)
        return all(
            numbers is not None and (numbers.ndim < 2 or numbers.shape[-2] == 1)
            for numbers in given
        )

    def _is_cut(self, node: Any) -> bool:
        """Whether rows are cut off at the bottom of a value that is apart, and nothing else."""
        if (node.op_type, len(node.input)) != ("Slice", 4) or node.input[0] not in self._apart:
            return False
        before, behind = (self.sizes[name] for name in (node.input[0], node.output[0]))
        starts = self.held.numbers(node.input[1])
        same = (*before[:2], before[3]) == (*behind[:2], behind[3])
        return same and starts is not None and not starts.any() and behind[2] >= ROWS

    # --- nodes -----------------------------------------------------------------------------------

    def _node(self, kind: str, inputs: Iterable[str], **given: Any) -> str:
        name = f"{_OWN}{kind}_{next(self._numbers)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name, **given))
        return name

    def _numbers_of(self, *values: int) -> str:
        return self.held.put(f"{_OWN}{list(values)}", np.array(values))

    def _scalar(self, value: np.float32) -> str:
        return self.held.put(f"{_OWN}{float(value)!r}", np.array(value))

    def _sum(self, weights: np.ndarray, values: Sequence[str]) -> str:
        """Weighted; what weighs nothing is not read."""
        terms = [
            value if weight == 1 else self._node("Mul", [value, self._scalar(weight)])
            for weight, value in zip(weights, values, strict=True)
            if weight
        ]
        total, *rest = terms
        for term in rest:
            total = self._node("Add", [total, term])
        return total

    def _tile(self, tiled: Tiled) -> Sequence[str]:
        height, parts = self.sizes[tiled.read][2], self._parts(tiled.read)
        read = [
            self._moved_rows(
                parts[row % ROWS], row // ROWS, tiled.tiles, _count(height, row % ROWS)
            )
            for row in range(-tiled.above, tiled.transform.shape[1] - tiled.above)
        ]
        products = self._products(tiled, [self._sum(row, read) for row in tiled.transform])
        return [self._sum(row, products) for row in tiled.combine.T]

    def _products(self, tiled: Tiled, points: Sequence[str]) -> Sequence[str]:
        """A convolution for each point."""
        product = tiled.product
        given = attributes(product) | {"group": 1}
        weights = [
            [
                self.held.put(f"{name}/point{i}", part)
                for i, part in enumerate(np.split(self._known(name), POINTS))
            ]
            for name in product.input[1:]
        ]
        return [
            self._node("Conv", [point, *own], **given)
            for point, *own in zip(points, *weights, strict=True)
        ]

    def _known(self, name: str) -> np.ndarray:
        numbers = self.held.numbers(name)
        assert numbers is not None
        return numbers

    def _moved_rows(self, part: str, first: int, rows: int, there: int) -> str:
        """So many rows of a part from ``first`` on; zeros where there are none."""
        if (first, rows) == (0, there):
            return part
        key = part, first, rows
        if key not in self._moved:
            amounts = self._numbers_of(0, 0, -first, 0, 0, 0, first + rows - there, 0)
            self._moved[key] = self._node("Pad", [part, amounts])  # negative ones cut
        return self._moved[key]

    def _cut(self, node: Any) -> Sequence[str]:
        """A step that cuts rows off at the bottom."""
        before, height = (self.sizes[name][2] for name in (node.input[0], node.output[0]))
        parts = []
        for k, part in enumerate(self._apart[node.input[0]]):
            kept = _count(height, k)
            if kept < _count(before, k):
                part = self._node("Slice", [part, *map(self._numbers_of, (0, kept, 2))])
            parts.append(part)
        return parts

    def _each(self, node: Any) -> Sequence[str]:
        """An elementwise step on each part."""
        given = attributes(node)
        inputs = [self._parts(name) if name in self.sizes else [name] * ROWS for name in node.input]
        return [self._node(node.op_type, part, **given) for part in zip(*inputs, strict=True)]

    def _parts(self, name: str) -> Sequence[str]:
        if name in self._apart:
            return self._apart[name]
        if name not in self._sliced:
            height = self.sizes[name][2]
            self._sliced[name] = [
                self._node("Slice", [name, *map(self._numbers_of, (k, height, 2, ROWS))])
                for k in range(ROWS)
            ]
        return self._sliced[name]

    def _together(self, name: str) -> None:
        """Puts the rows of a value that is apart in turn, under its name."""
        if name not in self._apart or name in self._whole:
            return
        self._whole.add(name)
        height = self.sizes[name][2]
        rows = [self._rows(part, _count(height, k)) for k, part in enumerate(self._apart[name])]
        inputs = [rows[row % ROWS][row // ROWS] for row in range(height)]
        self._nodes.append(helper.make_node("Concat", inputs, [name], name, axis=2))

    def _rows(self, part: str, there: int) -> Sequence[str]:
        if there == 1:
            return [part]
        names = [f"{_OWN}row_{next(self._numbers)}" for _ in range(there)]
        sizes = self._numbers_of(*[1] * there)
        self._nodes.append(helper.make_node("Split", [part, sizes], names, names[0], axis=2))
        return names


def _count(height: int, first: int) -> int:
    """How many of the rows ``first``, ``first + ROWS``, ... a map has."""
    return -(-(height - first) // ROWS)


def _needed(nodes: Sequence[Any], outputs: Iterable[Any]) -> list[Any]:
    """Without those of which nobody reads a result."""
    read = {value.name for value in outputs}
    kept = []
    for node in reversed(nodes):
        if not read.isdisjoint(node.output):
            read.update(node.input)
            kept.append(node)
    return kept[::-1]
