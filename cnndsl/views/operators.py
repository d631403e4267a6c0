"""The operator reference, from the catalogue's own declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

from cnndsl.ops import catalogue
from cnndsl.ops.base import Op, Param, spell

SCHEMA = "cnndsl.ops/1"
_OWN = "cnndsl.ops."
_ORDER = ("conv", "linear", "norm", "activation", "pool", "merge", "reshape", "regular")
_KINDS = {
    "int": "whole number",
    "float": "number",
    "bool": "yes or no",
    "Pair": "n or (h, w)",
    "Edges": "n, (h, w) or (top, bottom, left, right)",
}


def families(own: bool = False) -> dict[str, list[type[Op]]]:
    """Operators by family, named as each family's file says; ``own``: without plug-ins."""
    found: dict[str, list[type[Op]]] = {}
    for op in sorted(catalogue().values(), key=lambda op: (_place(op), op.name)):
        if not (own and _is_foreign(op)):
            found.setdefault(_family(op), []).append(op)
    return found


def first_line(op: type[Op]) -> str:
    """What it does, in one sentence of plain text."""
    return _plain(cleandoc(op.__doc__ or "").partition("\n")[0].partition(" ``[")[0])


def signature(op: type[Op]) -> str:
    """``conv(out, kernel, stride=1, padding=auto, …)``; ``auto`` follows from the rest."""
    parts = [p.name if p.required else f"{p.name}={_default(p)}" for p in op.params.values()]
    if op.join:
        parts = ["f", "g", "…", *parts]
    return f"{op.name}({', '.join(parts)})" if parts else op.name


def describe(op: type[Op]) -> str:
    """One operator for a terminal."""
    lines = [signature(op), "", _plain(cleandoc(op.__doc__ or ""))]
    rows = [(p.name, _default(p), _kind(op, p), p.doc) for p in op.params.values()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    if rows:
        lines.append("")
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        lines.append("  " + "  ".join([*cells, row[3]]))
    if op.auto_bias:
        lines += ["", "bias=auto: off exactly when the next step of the same chain is a norm."]
    return "\n".join(lines) + "\n"


def listing() -> str:
    """Every operator with one line, by family."""
    lines: list[str] = []
    width = max(map(len, catalogue()))
    for family, ops in families().items():
        lines += ["", family, *(f"  {op.name:<{width}}  {first_line(op)}" for op in ops)]
    return "\n".join(lines[1:]) + "\n"


def reference() -> str:
    """``docs/operators.md``: the language's own operators."""
    lines = [
        "# Operators",
        "",
        "Generated from the catalogue by `cnndsl ops --format markdown`; do not edit.",
        "`auto` marks a default that follows from other parameters or from the next step.",
        "",
    ]
    for family, ops in families(own=True).items():
        lines += [f"## {family}", ""]
        for op in ops:
            lines += _section(op)
    return "\n".join(lines).rstrip("\n") + "\n"


def to_json(ops: Iterable[type[Op]]) -> dict[str, Any]:
    """``cnndsl/schemas/ops-1.json`` describes it."""
    return {"schema": SCHEMA, "operators": [_json(op) for op in ops]}


def _section(op: type[Op]) -> list[str]:
    lines = [f"### `{op.name}`", "", "```", signature(op), "```", ""]
    lines += [cleandoc(op.__doc__ or "").replace("``", "`"), ""]
    if op.params:
        lines += ["| parameter | default | value | meaning |", "| --- | --- | --- | --- |"]
        for p in op.params.values():
            lines.append(f"| `{p.name}` | {_default(p)} | {_kind(op, p)} | {p.doc} |")
        lines.append("")
    return lines


def _json(op: type[Op]) -> dict[str, Any]:
    return {
        "name": op.name,
        "family": _family(op),
        "signature": signature(op),
        "doc": _plain(cleandoc(op.__doc__ or "")),
        "join": op.join,
        "parameters": [
            {
                "name": p.name,
                "required": p.required,
                "default": None if p.required else _default(p),
                "value": _kind(op, p),
                "doc": p.doc,
            }
            for p in op.params.values()
        ],
    }


def _is_foreign(op: type[Op]) -> bool:
    return not op.__module__.startswith(_OWN)


def _place(op: type[Op]) -> tuple[int, str]:
    module = op.__module__.removeprefix(_OWN)
    return (_ORDER.index(module) if module in _ORDER else len(_ORDER)), module


def _family(op: type[Op]) -> str:
    if _is_foreign(op):
        return f"From {op.__module__}"
    doc = sys.modules[op.__module__].__doc__ or op.__module__
    return doc.partition("\n")[0].partition(".")[0].partition(":")[0]


def _default(p: Param) -> str:
    if p.required:
        return "required"
    return "auto" if p.derive or p.default is None else spell(p.default)


def _kind(op: type[Op], p: Param) -> str:
    hints = (vars(cls).get("__annotations__", {}).get(p.name) for cls in op.__mro__)
    hint = str(next((h for h in hints if h is not None), ""))
    words = [_KINDS[part] for part in hint.split(" | ") if part in _KINDS]
    return " or ".join([*words, *([", ".join(p.choices)] if p.choices else [])])


def _plain(text: str) -> str:
    return text.replace("``", "")
