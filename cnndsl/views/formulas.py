"""How each number of a layer comes about, with the layer's own numbers filled in."""

from __future__ import annotations

from math import prod

from cnndsl.graph import cost
from cnndsl.graph.model import Node
from cnndsl.ops.types import FeatureMap
from cnndsl.views.layers import Layers
from cnndsl.views.units import FLOAT32
from cnndsl.views.units import memory as memory_text


def formulas(layers: Layers, node: Node) -> tuple[tuple[str, str], ...]:
    """(what, formula) of each quantity that is not trivially zero."""
    if not node.inputs:
        return ()
    x = layers.types[node.inputs[0]]
    found: list[tuple[str, str]] = []
    if isinstance(x, FeatureMap):
        height, width = node.op.formula(x, 0), node.op.formula(x, 1)
        found.append(("height", height))
        found.append(("width", width if width != height else ""))
    found.append(("parameters", parameters(layers, node)))
    found.append(("MACs", macs(layers, node)))
    found.append(("memory", memory(layers, node)))
    return tuple((what, text) for what, text in found if text)


def parameters(layers: Layers, node: Node) -> str:
    """``64*3*7*7 + 64 = 9,472``."""
    weights = layers.weights(node)
    if not weights:
        return ""
    return f"{' + '.join(_product(w.shape) for w in weights)} = {layers.parameters(node):,}"


def macs(layers: Layers, node: Node) -> str:
    """``(64*112*112)*(3*7*7) = 118,013,952``: positions times products per position."""
    count = layers.macs(node)
    if not count:
        return ""
    weights = layers.weights(node)
    each = weights[0].shape[1:] if weights else ()
    for type in (layers.types[node.id], layers.types[node.inputs[0]]):
        shape = cost.shape(type)
        if each and prod(shape) * prod(each) == count:
            return f"{_factor(shape)}*{_factor(each)} = {count:,}"
    return f"{count:,}"


def memory(layers: Layers, node: Node) -> str:
    """``64*112*112*4 B = 3,136.0 KB``."""
    shape = cost.shape(layers.types[node.id])
    return f"{_product(shape)}*{FLOAT32} B = {memory_text(layers.memory(node))}"


def _factor(sizes: tuple[int, ...]) -> str:
    return f"({_product(sizes)})" if len(sizes) > 1 else _product(sizes)


def _product(sizes: tuple[int, ...]) -> str:
    return "*".join(map(str, sizes)) or "1"
