"""What the text says about its declarations, as docstrings."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from cnndsl.program import Program
from cnndsl.syntax.ast import Declaration

_PLAIN = str.maketrans({"×": "x", "–": "-", "—": "-", "…": "...", '"': "'", "\\": "/"})
_WIDTH = 84


def descriptions(program: Program) -> dict[str, str]:
    """For each declaration its docstring, or the comment right above it."""
    found: dict[str, str] = {}
    for scope in program.library.scopes.values():
        for name, definition in scope.names.items():
            if definition.scope is scope:
                words = _said(definition.tree, scope.source.text)
                if words:
                    found.setdefault(name, words)
    return found


def _said(tree: Declaration, text: str) -> str:
    if tree.body.doc:
        return tree.body.doc
    above = text[: tree.span.start].split("\n")[:-1]
    comment: list[str] = []
    while above and above[-1].startswith("#"):
        comment.insert(0, above.pop().lstrip("# ").rstrip())
    # At the top of a file a comment speaks of the file.
    return " ".join(comment) if any(line.strip() for line in above) else ""


def docstring(paragraphs: Sequence[str], indent: int = 4) -> list[str]:
    """Paragraphs as the lines of a docstring; only printable ASCII gets into it."""
    plain = [_ascii(words) for words in paragraphs if words]
    pad = " " * indent
    if len(plain) == 1 and len(plain[0]) <= _WIDTH - indent:
        return [f'{pad}"""{plain[0]}"""']
    lines: list[str] = []
    for words in plain:
        lines += ["", *textwrap.wrap(words, _WIDTH - indent)]
    return [f'{pad}"""{lines[1]}', *(f"{pad}{line}".rstrip() for line in lines[2:]), f'{pad}"""']


def _ascii(words: str) -> str:
    plain = " ".join(words.split()).translate(_PLAIN)
    return "".join(c if " " <= c <= "~" else "?" for c in plain)
