"""The inference form: batch norms inside the layers before them, nothing that only training runs.

The weights stay those of the plain network: the emitted file has a function ``fold`` that turns
a trained ``state_dict`` into that of its classes, in float64, rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnndsl.exporters.python.layers import FOLDED
from cnndsl.exporters.python.layout import Group, lines
from cnndsl.exporters.python.names import literal
from cnndsl.graph.cost import inference_nodes, weights_of
from cnndsl.graph.model import Graph, Node
from cnndsl.ops.base import Op
from cnndsl.outline.families import spell

_FOLD = '''
def fold(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state_dict of the trained network, as the classes of this file have it."""
    state = {HEADS}
    for layer, norm, eps in FOLDED:
        weight = state[f"{layer}.weight"]
        factor = 1 / torch.sqrt(state.pop(f"{norm}.running_var").double() + eps)
        shift = -state.pop(f"{norm}.running_mean").double() * factor
        state.pop(f"{norm}.num_batches_tracked", None)
        if f"{norm}.weight" in state:
            scale = state.pop(f"{norm}.weight").double()
            factor, shift = factor * scale, shift * scale + state.pop(f"{norm}.bias")
        if f"{layer}.bias" in state:
            shift = shift + state[f"{layer}.bias"] * factor
        rows = factor.reshape(-1, *(1 for _ in weight.shape[1:]))
        state[f"{layer}.weight"] = (weight.double() * rows).to(weight.dtype)
        state[f"{layer}.bias"] = shift.to(weight.dtype)
    return state
'''.strip()


class Folded(Op):
    """Where a batch norm was that its layer has taken in."""

    name = FOLDED


class Pair(NamedTuple):
    """A layer, and the batch norm behind it."""

    layer: str
    norm: str
    eps: float


class Inference(NamedTuple):
    """``heads``: starts of the keys that only training needs."""

    graph: Graph
    pairs: tuple[Pair, ...]
    heads: tuple[str, ...]


def folded(graph: Graph) -> Inference:
    """The graph for inference. A norm is folded where nothing else reads its layer."""
    running = inference_nodes(graph)
    kept = [node for node in graph if node.id in running or not node.inputs]
    pairs = dict(_pairs(graph, kept))
    layers = {graph.nodes[i].inputs[0] for i in pairs}
    nodes = {}
    for node in kept:
        op = Folded() if node.id in pairs else node.op
        nodes[node.id] = _copy(node, op.replace(bias=True) if node.id in layers else op)
    outputs = tuple(output for output in graph.outputs if not output.train)
    rest = Graph(graph.name, nodes, outputs, graph.facts, graph.parameters)
    return Inference(rest, tuple(pairs.values()), _heads(graph, kept))


def _pairs(graph: Graph, kept: Sequence[Node]) -> list[tuple[int, Pair]]:
    readers = graph.consumers()
    returned = {output.node for output in graph.outputs}
    uses: dict[str, int] = {}
    for node in graph:
        uses[node.path] = uses.get(node.path, 0) + (bool(node.inputs) and not node.op.join)
    found = []
    for node in kept:
        layer = graph.nodes[node.inputs[0]] if node.op.name == "bn" else None
        if layer is None or layer.op.name not in ("conv", "linear") or layer.id in returned:
            continue
        if len(readers[layer.id]) == 1 and uses[layer.path] == uses[node.path] == 1:
            found.append((node.id, Pair(layer.path, node.path, node.op.values["eps"])))
    return found


def _copy(node: Node, op: Op) -> Node:
    stands = node.stands if node.again else None
    return Node(
        node.id, op, node.inputs, node.type, node.path, node.span, node.frame, stands=stands
    )


def _heads(graph: Graph, kept: Sequence[Node]) -> tuple[str, ...]:
    """Starts of keys that no kept step has: as short as they can be."""
    alive = {space for node in kept if node.inputs for space in _starts(node.path)}
    found: dict[str, None] = {}
    for node in graph:
        if weights_of(graph, node) and f"{node.path}." not in alive:
            found[next(start for start in _starts(node.path) if start not in alive)] = None
    return tuple(found)


def _starts(path: str) -> list[str]:
    """``a.``, ``a.b.``, … up to the path itself."""
    parts = path.split(".")
    return [".".join(parts[: end + 1]) + "." for end in range(len(parts))]


def fold_source(inference: Inference) -> str:
    """The function that folds a trained network's weights, with what it has to know."""
    rows: list[str] = []
    for layer, norm, eps in inference.pairs:
        row = Group("(", (literal(layer), literal(norm), spell(eps)), ")")
        rows += lines(row, 4, behind=",")
    listed = "\n".join(["FOLDED = (", *rows, ")"]) if rows else "FOLDED = ()"
    table = f"# Layers, the batch norms inside them, and their eps.\n{listed}"
    state = "dict(state)"
    if inference.heads:
        names = "\n".join(f"    {literal(head)}," for head in inference.heads)
        table = f"# What only training needs.\nHEADS = (\n{names}\n)\n{table}"
        state = "{k: v for k, v in state.items() if not k.startswith(HEADS)}"
    return f"{table}\n\n\n{_FOLD.replace('{HEADS}', state)}"
