"""Whether what comes back from another format is the network that went out."""

from __future__ import annotations

from typing import Any

from cnndsl.graph.cost import inference_nodes
from cnndsl.graph.infer import evaluation_facts
from cnndsl.graph.model import Graph, Node, Output
from cnndsl.ops import Op, catalogue
from cnndsl.ops.types import FeatureMap, Type, Vector
from tests.outline.equal import network

_NOISE = {"dropout", "dropout2d", "droppath"}


def wiring(graph: Graph) -> tuple[Any, Any]:
    """Equal for graphs of one function in eval mode: operators, types, wires, outputs, sizes.

    Noise, heads of training and a factor of 1 are left out. Alike are a linear layer and a
    convolution with a kernel of one, a map `[C, 1, 1]` and a vector `[C]`, a join and a mean.
    """
    running = inference_nodes(graph)
    stands: dict[int, int] = {}
    nodes: dict[int, Node] = {}
    for node in graph:
        wires = tuple(stands.get(i, i) for i in node.inputs)
        if _is_nothing(graph, node):
            stands[node.id] = wires[0]
        elif node.id in running or not node.inputs:
            nodes[node.id] = Node(node.id, _plain(node.op), wires, _flat(node.type), "")
    outputs = tuple(
        Output(o.name, stands.get(o.node, o.node), o.emitted) for o in graph.outputs if not o.train
    )
    found, _ = network(Graph(graph.name, nodes, outputs, graph.facts), {})
    return found, evaluation_facts(graph).signature()[2]


def _is_nothing(graph: Graph, node: Node) -> bool:
    if node.op.name == "flatten":
        return isinstance(_flat(graph.types_into(node)[0]), Vector)
    return node.op.name in _NOISE or (node.op.name == "scale" and node.op.values["by"] == 1)


def _flat(type: Type) -> Type:
    if isinstance(type, FeatureMap) and (type.height, type.width) == (1, 1):
        return Vector(type.channels)
    return type


def _plain(op: Op) -> Op:
    if op.name == "linear":
        return catalogue()["conv"](op.values["out"], 1, bias=op.values["bias"])
    if op.name == "join":
        return catalogue()["mean"]()
    if op.name == "scale":  # a factor's first value is no part of the function
        return catalogue()["scale"](**{k: v for k, v in op.values.items() if k != "init"})
    return op
