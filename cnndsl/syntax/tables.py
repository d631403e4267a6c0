"""The parser's LALR tables: built from the grammar, or read from a generated JSON file.

Building them takes longer than checking a network, so they are kept in ``tables.json``.
The file names the grammar's digest and Lark's version; if either differs the tables are
built anew. ``python -m cnndsl.syntax.tables`` rewrites the file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lark

_HERE = Path(__file__).resolve().parent
TABLES = _HERE / "tables.json"
_OPTIONS: dict[str, Any] = {
    "parser": "lalr", "lexer": "basic", "start": ["declaration"], "maybe_placeholders": False,
}  # fmt: skip


def grammar_text() -> str:
    """The grammar as shipped in a wheel, or beside the package in a checkout."""
    for folder in (_HERE.parent / "grammars", _HERE.parents[1] / "grammars"):
        path = folder / "cnn.lark"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError("grammars/cnn.lark is missing from this installation of cnndsl")


def digest() -> str:
    return hashlib.sha256(f"{lark.__version__}\n{grammar_text()}".encode()).hexdigest()


def build(transformer: lark.Transformer[Any, Any] | None = None) -> lark.Lark:
    """The parser, from the grammar itself."""
    return lark.Lark(grammar_text(), transformer=transformer, **_OPTIONS)


def load(transformer: lark.Transformer[Any, Any]) -> lark.Lark:
    """The parser whose reductions call ``transformer``, from the tables when they fit."""
    try:
        stored = json.loads(TABLES.read_text(encoding="utf-8"), object_hook=_whole_keys)
        if stored["digest"] != digest():
            return build(transformer)
        parser = lark.Lark.__new__(lark.Lark)
        parser._load({"data": stored["data"], "memo": stored["memo"]}, transformer=transformer)
        return parser
    except (OSError, ValueError, KeyError):
        return build(transformer)


def generate() -> str:
    """The contents of ``tables.json``."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = build().memo_serialize([TerminalDef, Rule])
    return json.dumps({"digest": digest(), "data": data, "memo": memo}) + "\n"


def _whole_keys(table: dict[str, Any]) -> dict[Any, Any]:
    """JSON spells integer keys as strings; the tables' keys are integers."""
    return {int(key) if key.isdigit() else key: value for key, value in table.items()}


if __name__ == "__main__":
    TABLES.write_text(generate(), encoding="utf-8")
