"""What rewrites of a finished ONNX model of fixed shapes share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import helper, numpy_helper


def sizes_of(graph: Any) -> dict[str, tuple[int, ...]]:
    """The dimensions of the values whose shapes are written down, by name."""
    return {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def attributes(node: Any) -> dict[str, Any]:
    """What is said of a node, by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def put_nodes(graph: Any, nodes: Iterable[Any]) -> None:
    """These, in topological order, in place of those that are there."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def drop_unread(graph: Any) -> None:
    """Lets go of weights that no node reads any more; the others are not copied."""
    read = {name for node in graph.node for name in node.input}
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name not in read:
            del graph.initializer[i]


class Initializers:
    """The numbers that a graph holds, by name."""

    def __init__(self, graph: Any) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._initializers = graph.initializer

    def weight_of(self, node: Any, operator: str) -> Any | None:
        """The tensor that a node of this operator multiplies by; None for another node, and where
        it is computed."""
        return self._tensors.get(node.input[1]) if node.op_type == operator else None

    def numbers(self, name: str) -> np.ndarray | None:
        """Those that it holds under this name; None where the value is computed."""
        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def kernel(self, weight: Any) -> str:
        """A linear layer's weight as that of a 1x1 convolution; its name."""
        return self.put(f"{weight.name}/kernel", numpy_helper.to_array(weight)[:, :, None, None])

    def put(self, name: str, numbers: np.ndarray) -> str:
        """Holds these, once under a name: two layers may share a weight. Gives the name."""
        if name not in self._tensors:
            self._initializers.append(numpy_helper.from_array(numbers, name))
            self._tensors[name] = self._initializers[-1]
        assert tuple(self._tensors[name].dims) == numbers.shape
        return name
