"""What follows from a checked network's text: valid sizes, outputs, stride, cost."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from cnndsl.graph import cost
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import evaluation_facts
from cnndsl.graph.model import Graph, Node
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap
from cnndsl.views.units import scaled


def facts_line(graph: Graph) -> str:
    """``ResNet50: valid for H, W >= 1 · output [1000] · stride 32 · … parameters · … GMAC …``."""
    running = cost.inference_nodes(graph)
    used = cost.parameters(graph, running)
    parts = [_sizes(graph), _outputs(graph), _stride(graph, running), _parameters(graph, used)]
    return f"{graph.name}: " + " · ".join(part for part in [*parts, _macs(graph)] if part)


def facts_json(graph: Graph) -> dict[str, Any]:
    """The same for programs; sizes are text where they depend on a symbol."""
    running = cost.inference_nodes(graph)
    everything, used = cost.parameters(graph), cost.parameters(graph, running)
    found = stride(graph, running)
    sizes, valid = graph.facts.reference(), evaluation_facts(graph)
    return {
        "name": graph.name,
        "valid": {s: str(valid.allowed(s)) for s in valid.symbols},
        "smallest": valid.smallest(),
        "training_smallest": graph.facts.smallest(),
        "inputs": [{"name": node.path, "shape": _shape(node)} for node in graph.inputs],
        "outputs": [
            {"name": o.name, "shape": _shape(graph.nodes[o.node]), "training_only": o.train}
            for o in graph.outputs
        ],
        "stride": None if found is None else [str(value) for value in found],
        "parameters": used,
        "training_head_parameters": everything - used,
        "macs": cost.macs(graph, sizes),
        "at": sizes,
    }


def at_text(graph: Graph, sizes: Mapping[str, int]) -> str:
    """The sizes that counts are given for: ``224x224``, or each symbol with its value."""
    inputs = graph.inputs
    if len(inputs) == 1:
        shape = cost.shape(cost.concrete(inputs[0].type, sizes))
        return "x".join(map(str, shape[1:]))
    return ", ".join(f"{symbol}={value}" for symbol, value in sizes.items())


def valid_text(facts: Facts) -> str:
    """``valid for H, W >= 63``, or ``valid exactly when H % 16 == 0, W % 16 == 0``."""
    allowed = [facts.allowed(symbol) for symbol in facts.symbols]
    if any(valid.modulus > 1 for valid in allowed):
        shown = (str(valid) for valid in allowed if valid.modulus > 1 or valid.minimum > 1)
        return "valid exactly when " + ", ".join(shown)
    by_minimum: dict[int, list[str]] = {}
    for valid in allowed:
        by_minimum.setdefault(valid.minimum, []).append(valid.symbol)
    bounds = (f"{', '.join(symbols)} >= {least}" for least, symbols in by_minimum.items())
    return "valid for " + ", ".join(bounds)


def stride(graph: Graph, running: set[int]) -> tuple[Fraction, Fraction] | None:
    """How many input rows and columns one step of the coarsest feature map spans.

    A symbolic size knows its stride; in a net of fixed sizes the windows are followed.
    """
    if not any(isinstance(node.type, FeatureMap) for node in graph.inputs):
        return None
    maps = [n.type for n in graph if n.id in running and isinstance(n.type, FeatureMap)]
    heights = [x.height.stride for x in maps if isinstance(x.height, Size)]
    widths = [x.width.stride for x in maps if isinstance(x.width, Size)]
    if heights and widths:
        return max(heights), max(widths)
    from cnndsl.views.receptive import receptive_fields, stride_of

    return stride_of(receptive_fields(graph), running)


def _sizes(graph: Graph) -> str:
    if graph.facts.symbols:
        return _valid_in_both_modes(graph)
    shapes = ", ".join(str(node.type) for node in graph.inputs)
    return f"input {shapes}"


def _valid_in_both_modes(graph: Graph) -> str:
    """Heads emitted in training may ask for more: ``…, trainable for H, W >= 299``."""
    running, training = evaluation_facts(graph), graph.facts
    text = valid_text(running)
    if all(running.allowed(s) == training.allowed(s) for s in training.symbols):
        return text
    return f"{text}, {valid_text(training).replace('valid', 'trainable', 1)}"


def _outputs(graph: Graph) -> str:
    shown = [(o.name, graph.nodes[o.node].type) for o in graph.outputs if not o.train]
    if len(shown) == 1:
        return f"output {shown[0][1]}"
    return "outputs " + ", ".join(f"{name} {type}" for name, type in shown)


def _stride(graph: Graph, running: set[int]) -> str:
    found = stride(graph, running)
    if found is None:
        return ""
    height, width = found
    return f"stride {height}" if height == width else f"stride {height}x{width}"


def _parameters(graph: Graph, used: int) -> str:
    heads = cost.parameters(graph) - used
    more = f" + {heads:,} parameters in training heads" if heads else ""
    return f"{used:,} parameters{more}"


def _macs(graph: Graph) -> str:
    sizes = graph.facts.reference()
    at = at_text(graph, sizes)
    return scaled(cost.macs(graph, sizes), "MAC") + (f" at {at}" if at else "")


def _shape(node: Node) -> list[int | str]:
    x = node.type
    sizes = (x.channels, x.height, x.width) if isinstance(x, FeatureMap) else (x.features,)  # type: ignore[union-attr]
    return [size if isinstance(size, int) else str(size) for size in sizes]
