"""A graph for other programs: ``cnndsl.graph/1``; ``from_json.py`` reads it back.

The schema is ``cnndsl/schemas/graph-1.json``. Within one version, fields are only added.
Strings are as they are: whoever shows them escapes them.
"""

from __future__ import annotations

from typing import Any

from cnndsl.graph.cost import weights_of
from cnndsl.graph.model import Graph, Node
from cnndsl.graph.spelling import congruences
from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import Extent, FeatureMap, Type, Unknown, Vector
from cnndsl.ops.values import Value, spell
from cnndsl.source import Span

SCHEMA = "cnndsl.graph/1"


def graph_to_json(graph: Graph) -> dict[str, Any]:
    """Plain dictionaries and lists, ready for ``json.dumps``."""
    return {
        "schema": SCHEMA,
        "name": graph.name,
        "symbols": symbols_to_json(graph),
        "nodes": [node_to_json(graph, node) for node in graph],
        "outputs": [output._asdict() for output in graph.outputs],
    }


def symbols_to_json(graph: Graph) -> list[dict[str, Any]]:
    """What the input leaves open: the values that are valid, and what the text said of them."""
    declared = graph.facts.declared
    return [
        {**_symbol(graph.facts.allowed(symbol)), "declared": _declared(declared.get(symbol))}
        for symbol in graph.facts.symbols
    ]


def _declared(valid: Valid | None) -> dict[str, Any] | None:
    if valid is None:
        return None
    pairs = congruences(valid)
    found = [{"modulus": modulus, "remainder": remainder} for modulus, remainder in pairs]
    return {"minimum": valid.minimum, "congruences": found}


def _symbol(valid: Valid) -> dict[str, Any]:
    return {
        "name": valid.symbol,
        "minimum": valid.next(),
        "modulus": valid.modulus,
        "residues": list(valid.residues),
        "text": str(valid),
    }


def node_to_json(graph: Graph, node: Node) -> dict[str, Any]:
    """One step or input with all that is known of it."""
    return {
        "id": node.id,
        "op": node.op.name,
        "parameters": {key: _value(value) for key, value in node.op.values.items()},
        "inputs": list(node.inputs),
        "path": node.path,
        "shared": node.shared,
        "stands": node.stands if node.again else None,
        "type": _type(node.type),
        "weights": [
            {
                "key": f"{node.path}.{weight.name}" if weight.name else node.path,
                "shape": list(weight.shape),
                "buffer": weight.buffer,
            }
            for weight in weights_of(graph, node)
        ],
        "place": _place(node.span) if node.span else None,
    }


def _value(value: Value) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return list(map(_value, value)) if isinstance(value, tuple) else spell(value)


def _type(type: Type) -> dict[str, Any]:
    if isinstance(type, FeatureMap):
        height, width = _size(type.height), _size(type.width)
        return {"kind": "map", "channels": type.channels, "height": height, "width": width}
    assert isinstance(type, Vector)  # a checked graph has no unknown types
    return {"kind": "vector", "features": type.features}


def _size(size: Extent) -> Any:
    """A number, or a function of one symbol with its numbers (see the schema)."""
    assert not isinstance(size, Unknown)
    if not isinstance(size, Size):
        return size
    return {
        "text": str(size),
        "symbol": size.symbol,
        "scale": size.scale,
        "offset": size.offset,
        "divisor": size.divisor,
        "constant": size.constant,
        "table": list(size.table),
    }


def _place(span: Span) -> dict[str, Any]:
    return {"file": span.source.name, "line": span.line, "column": span.column}
