"""The lines of text that one net of a file needs, and the figures its header claims."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from cnndsl import Program
from cnndsl.semantics.values import Definition
from cnndsl.syntax import ast


class Figures(NamedTuple):
    """A row of a header: parameters in eval mode, GMAC as printed, the least height and width."""

    parameters: int
    gmac: str
    smallest: int


_ROW = re.compile(r"#\s+(\w+)\s+([\d,]+)\s+(\d+\.\d+)\s+(\d+)$")


def header(program: Program) -> dict[str, Figures]:
    """The table in the comment at the top of a file, by net."""
    rows = (_ROW.match(line) for line in program.source.text.splitlines())
    return {
        row[1]: Figures(int(row[2].replace(",", "")), row[3], int(row[4])) for row in rows if row
    }


def lines(program: Program, net: str) -> int:
    """Lines of a net and of all it is built from, imports too, without comments and blanks."""
    main = program.library.main
    needed = dict(_needed(main.names[net]))
    imports = [
        tree
        for tree in program.library.module.imports
        if any(id(main.names.get(name.text)) in needed for name in tree.names)
    ]
    texts = [tree.span.text for tree in (*imports, *(d.tree for d in needed.values()))]
    return sum(bool(_without_comment(line)) for text in texts for line in text.splitlines())


def _needed(start: Definition) -> Iterator[tuple[int, Definition]]:
    waiting, seen = [start], set()
    while waiting:
        definition = waiting.pop()
        if id(definition) in seen:
            continue
        seen.add(id(definition))
        yield id(definition), definition
        names = (node.name for node in ast.walk(definition.tree) if isinstance(node, ast.Name))
        waiting += [found for name in names if (found := definition.scope.names.get(name))]


def _without_comment(line: str) -> str:
    return line.partition("#")[0].strip()
