"""The table of a network's layers, in the styles that people know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cnndsl.graph.model import Graph
from cnndsl.ops.types import FeatureMap, Vector
from cnndsl.views.facts import at_text, facts_json, facts_line
from cnndsl.views.formulas import formulas
from cnndsl.views.formulas import parameters as parameters_formula
from cnndsl.views.layers import Layers, Row, is_plain
from cnndsl.views.receptive import Field, Reach, Sight
from cnndsl.views.table import Column, Line, Table
from cnndsl.views.units import FLOAT32, scaled
from cnndsl.views.units import memory as memory_text

SCHEMA = "cnndsl.summary/1"
Cells = Callable[[Layers, Row], tuple[str, ...]]


class Style(NamedTuple):
    """``plain``: lists activations and dropout too, each with memory of its own."""

    columns: tuple[Column, ...]
    cells: Cells
    plain: bool
    note: str


@dataclass(frozen=True)
class Summary:
    """One net at integer sizes."""

    graph: Graph
    sizes: Mapping[str, int]

    def table(
        self,
        style: str = "default",
        *,
        depth: int | None = None,
        with_formulas: bool = False,
        flat: bool = False,
    ) -> Table:
        """``flat``: one line per layer and no blocks, as spreadsheets want it."""
        chosen = STYLES[style]
        layers = Layers(self.graph, self.sizes, in_place=not chosen.plain)
        lines = []
        for row in layers.flat() if flat else layers.folded(depth):
            if chosen.plain or row.node is None or not is_plain(self.graph, row.node):
                below = formulas(layers, row.node) if with_formulas and row.node else ()
                lines.append(Line(chosen.cells(layers, row), row.depth, below))
        at = at_text(self.graph, self.sizes)
        title = f"{self.graph.name} at {at}" if at else self.graph.name
        notes = (*_totals(layers), "" if chosen.plain else _left_out(self.graph), chosen.note)
        return Table(title, chosen.columns, lines, tuple(note for note in notes if note))

    def to_json(self) -> dict[str, Any]:
        """Every layer, unfolded; ``cnndsl/schemas/summary-1.json`` describes it."""
        layers = Layers(self.graph, self.sizes)
        rows = layers.flat()
        running = [row for row in rows if not row.training_only]
        return {
            "schema": SCHEMA,
            "net": facts_json(self.graph),
            "at": dict(self.sizes),
            "layers": [_json(layers, row) for row in rows],
            "totals": {
                "parameters": sum(row.parameters for row in running),
                "macs": sum(row.macs for row in running),
                "activation_bytes": sum(row.memory for row in running),
            },
        }


# --- styles ---------------------------------------------------------------------------------


def _default(layers: Layers, row: Row) -> tuple[str, ...]:
    name = row.name + (" (training)" if row.training_only else "")
    return (
        name,
        row.operator,
        _shape(row.shape),
        f"{row.parameters:,}",
        f"{row.macs:,}",
        f"{row.memory / 1024:,.1f}",
        _reach(row),
        ", ".join(row.sources),
    )


def _cs231n(layers: Layers, row: Row) -> tuple[str, ...]:
    """As the VGG table of the CS231n notes: height first, memory in values."""
    shape = "x".join(map(str, (*row.shape[1:], row.shape[0])))
    values = row.memory // FLOAT32
    if row.node is None:
        return row.name, row.operator, f"[{shape}]", f"{values:,}", f"{row.parameters:,}"
    memory = f"{shape.replace('x', '*')} = {values:,}" if "x" in shape else f"{values:,}"
    counted = parameters_formula(layers, row.node) or "0"
    return row.name, row.operator, f"[{shape}]", memory, counted


def _eecs498(layers: Layers, row: Row) -> tuple[str, ...]:
    """As the AlexNet table of EECS 498-007, lecture 8."""
    node = row.node
    values = node.op.values if node is not None else {}
    x = layers.types[node.inputs[0]] if node is not None and node.inputs else None
    before = _channels_and_size(x) if x is not None else ("", "")
    name = row.name if node is None or row.name == node.op.name else f"{row.name} {node.op.name}"
    return (
        name if node is not None else f"{name} {row.operator}".strip(),
        *before,
        _value(values.get("out")) if isinstance(x, FeatureMap) else "",
        *(_value(values.get(key)) for key in ("kernel", "stride", "padding")),
        *_sizes_of(row.shape),
        _rounded(row.memory, 1024),
        _rounded(row.parameters, 1000),
        _rounded(row.macs, 10**6),
    )


def _columns(left: str, right: str) -> tuple[Column, ...]:
    words = [Column(title.strip()) for title in left.split("|")]
    return (*words, *(Column(title.strip(), True) for title in right.split("|")))


STYLES = {
    "default": Style(
        (
            *_columns("layer | operator | output", "parameters | MACs | memory (KB) | receptive"),
            Column("connected to"),
        ),
        _default,
        True,
        "Memory: each layer's output as float32. Receptive: narrowest to widest path, in input "
        "pixels. Connected to: empty is the layer before. 1 MAC = 2 FLOP.",
    ),
    "cs231n": Style(
        _columns("layer | operator | output", "memory (values) | parameters"),
        _cs231n,
        False,
        "",
    ),
    "eecs498": Style(
        _columns(
            "layer",
            "in C | in H/W | filters | kernel | stride | pad | out C | out H/W"
            " | memory (KB) | params (K) | MACs (M)",
        ),
        _eecs498,
        False,
        "",
    ),
}


# --- totals ---------------------------------------------------------------------------------


def _totals(layers: Layers) -> tuple[str, ...]:
    rows = [row for row in layers.flat() if not row.training_only]
    macs = sum(row.macs for row in rows)
    at = at_text(layers.graph, layers.sizes)
    return (
        facts_line(layers.graph),
        f"total{f' at {at}' if at else ''}: {sum(row.parameters for row in rows):,} parameters, "
        f"{macs:,} MACs ({scaled(2 * macs, 'FLOP')}), "
        f"{memory_text(sum(row.memory for row in rows))} of activations per image",
    )


def _left_out(graph: Graph) -> str:
    counts = Counter(node.op.name for node in graph if is_plain(graph, node))
    names = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"not listed, in place and without parameters: {names}" if names else ""


# --- cells ----------------------------------------------------------------------------------


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _reach(row: Row) -> str:
    height, width = map(str, row.reach)
    return height if height == width else f"{height} x {width}"


def _sizes_of(shape: tuple[int, ...]) -> tuple[str, str]:
    sides = dict.fromkeys(map(str, shape[1:]))
    return str(shape[0]), "x".join(sides)


def _channels_and_size(x: object) -> tuple[str, str]:
    if isinstance(x, FeatureMap):
        return str(x.channels), "x".join(dict.fromkeys((str(x.height), str(x.width))))
    return (str(x.features), "") if isinstance(x, Vector) else ("", "")


def _value(value: Any) -> str:
    from cnndsl.ops.values import spell

    return "" if value is None else spell(value)


def _rounded(count: int, unit: int) -> str:
    return f"{(count + unit // 2) // unit:,}"


# --- JSON -----------------------------------------------------------------------------------


def _json(layers: Layers, row: Row) -> dict[str, Any]:
    assert row.node is not None
    graph = layers.graph
    return {
        "path": row.path,
        "operator": row.operator,
        "inputs": [graph.nodes[i].path for i in row.node.inputs],
        "output": list(row.shape),
        "parameters": row.parameters,
        "macs": row.macs,
        "activation_bytes": row.memory,
        "receptive": dict(zip(("height", "width"), map(_sight, row.reach), strict=True)),
        "training_only": row.training_only,
        "formulas": dict(formulas(layers, row.node)),
    }


def _sight(reach: Reach) -> dict[str, int | str | None]:
    return {"least": _size(reach.least), "most": _size(reach.most)}


def _size(sight: Sight) -> int | str | None:
    if isinstance(sight, Field):
        return sight.size
    return None if sight is None else "all"
