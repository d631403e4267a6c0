"""What a network holds and does: parameters, multiply-accumulates, sizes at a given input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from cnndsl.graph.model import Graph, Node
from cnndsl.ops.sizes import at
from cnndsl.ops.types import Extent, FeatureMap, Type, Unknown, Vector, Weight


def weights_of(graph: Graph, node: Node) -> tuple[Weight, ...]:
    """The node's own ``state_dict`` entries; none where it shares another's."""
    if node.shared or not node.inputs:
        return ()
    return node.op.weights(*graph.types_into(node))


def parameters(graph: Graph, nodes: set[int] | None = None) -> int:
    """Trainable numbers, buffers left out; of ``nodes`` only when given."""
    return sum(
        math.prod(weight.shape)
        for node in graph
        if nodes is None or node.id in nodes
        for weight in weights_of(graph, node)
        if not weight.buffer
    )


def inference_nodes(graph: Graph) -> set[int]:
    """What runs in eval mode: everything but heads emitted in training only."""
    return graph.reaching(output.node for output in graph.outputs if not output.train)


def concrete(type: Type, sizes: Mapping[str, int]) -> Type:
    """The type with every symbol replaced by its size."""
    if isinstance(type, FeatureMap):
        return FeatureMap(type.channels, _at(type.height, sizes), _at(type.width, sizes))
    return type


def _at(extent: Extent, sizes: Mapping[str, int]) -> Extent:
    return extent if isinstance(extent, int | Unknown) else at(extent, sizes)


def shape(type: Type) -> tuple[int, ...]:
    """A concrete type as a tuple of sizes, without the batch."""
    sizes = (
        (type.channels, type.height, type.width)
        if isinstance(type, FeatureMap)
        else (type.features,)
        if isinstance(type, Vector)
        else ()
    )
    return tuple(size for size in sizes if isinstance(size, int))


def macs_by_node(graph: Graph, sizes: Mapping[str, int]) -> Iterator[tuple[Node, int]]:
    """Multiply-accumulates of one sample, node by node."""
    types = {node.id: concrete(node.type, sizes) for node in graph}
    for node in graph:
        if node.inputs:
            yield node, node.op.macs(types[node.inputs[0]], types[node.id])


def macs(graph: Graph, sizes: Mapping[str, int]) -> int:
    """Multiply-accumulates of one sample in eval mode."""
    running = inference_nodes(graph)
    return sum(count for node, count in macs_by_node(graph, sizes) if node.id in running)
