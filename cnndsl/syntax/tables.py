"""The parser's LALR tables: Lark computes them from the grammar, ``tables.json`` keeps them.

Importing Lark and computing the tables takes longer than checking a network, so neither is
done at run time. The file names the grammar's digest; if that differs, as while the grammar
is being edited, the tables are computed anew. ``python -m cnndsl.syntax.tables`` rewrites it.
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).resolve().parent
TABLES = _HERE / "tables.json"


class Rule(NamedTuple):
    """``result: …`` of ``length`` symbols.

    ``call`` names the builder's method; it is empty where the rule passes its only child on.
    ``gathers`` marks the grammar's own helpers for ``*``; ``runs`` says which children come
    from such helpers, to be spliced into this rule's.
    """

    result: str
    length: int
    call: str
    gathers: bool
    runs: list[int]


class Tables(NamedTuple):
    """``actions``: by state and terminal, the next state, or ``-1 - rule`` to reduce."""

    digest: str
    start: int
    end: int
    spelled: dict[str, str]
    rules: list[Rule]
    actions: list[dict[str, int]]
    gotos: list[dict[str, int]]


def grammar_text() -> str:
    """The grammar as shipped in a wheel, or beside the package in a checkout."""
    for folder in (_HERE.parent / "grammars", _HERE.parents[1] / "grammars"):
        path = folder / "cnn.lark"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError("grammars/cnn.lark is missing from this installation of cnndsl")


def digest() -> str:
    """Enough to notice an edit; to load a cryptographic hash takes as long as the tables."""
    return f"{zlib.crc32(grammar_text().encode()):08x}"


def load() -> Tables:
    """The stored tables when they fit the grammar, else new ones."""
    try:
        stored = json.loads(TABLES.read_text(encoding="utf-8"))
        tables = Tables(**{**stored, "rules": [Rule(*r) for r in stored["rules"]]})
    except (OSError, ValueError, KeyError, TypeError):
        return build()
    return tables if tables.digest == digest() else build()


def build(start: str = "declaration") -> Tables:
    """The tables, from the grammar itself."""
    import lark

    parser = lark.Lark(
        grammar_text(), parser="lalr", lexer="basic", start=start, maybe_placeholders=False
    )
    table = parser.parser.parser._parse_table
    rules = sorted(parser.rules, key=lambda rule: (str(rule.origin.name), rule.order))
    numbers = {rule: i for i, rule in enumerate(rules)}
    order = _order(table.states, table.start_states[start])
    actions: list[dict[str, int]] = []
    gotos: list[dict[str, int]] = []
    for state in order:
        row = sorted(table.states[state].items(), key=lambda entry: str(entry[0]))
        coded = {str(k): -1 - numbers[v] if _reduces(a) else order[v] for k, (a, v) in row}
        actions.append({k: v for k, v in coded.items() if k.isupper()})
        gotos.append({k: v for k, v in coded.items() if not k.isupper()})
    return Tables(
        digest(),
        order[table.start_states[start]],
        order[table.end_states[start]],
        {str(t.pattern.value): t.name for t in parser.terminals if t.pattern.type == "str"},
        [_rule(rule) for rule in rules],
        actions,
        gotos,
    )


def _order(states: dict[int, dict[str, tuple[Any, Any]]], start: int) -> dict[int, int]:
    """New numbers by first visit: Lark's own change from run to run with Python's hashes."""
    order = {start: 0}
    waiting = deque([start])
    while waiting:
        row = states[waiting.popleft()]
        for symbol in sorted(row, key=str):
            action, target = row[symbol]
            if not _reduces(action) and target not in order:
                order[target] = len(order)
                waiting.append(target)
    return order


def _reduces(action: object) -> bool:
    return str(action) == "Reduce"


def _rule(rule: Any) -> Rule:
    name = str(rule.origin.name)
    passes = rule.options.expand1 and not rule.alias and len(rule.expansion) == 1
    call = "" if passes else str(rule.alias or name)
    runs = [i for i, symbol in enumerate(rule.expansion) if symbol.name.startswith("__")]
    return Rule(name, len(rule.expansion), call, name.startswith("__"), runs)


def generate() -> str:
    """The contents of ``tables.json``."""
    return json.dumps(build()._asdict(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    TABLES.write_text(generate(), encoding="utf-8")
