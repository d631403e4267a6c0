"""How long the hand-written text of one net is: the declarations that it needs, comments left out.

Several nets of the examples share a file, and files share blocks; a re-rolled text has one net.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.source import Source
from cnndsl.syntax import ast
from cnndsl.syntax.formatter import format_source
from cnndsl.syntax.parser import parse
from cnndsl.syntax.scan import scan

EXAMPLES = Path(__file__).parents[2] / "examples"


def needed(file: Path, net: str) -> str:
    """One formatted text with the net and everything that it uses, without comments."""
    found: dict[str, str] = {}
    _collect(file, net, found)
    text, problems = format_source(Source("<needed>", "\n".join(found.values()) + "\n"))
    assert text is not None, problems
    return text


def _collect(file: Path, name: str, found: dict[str, str]) -> None:
    """The declaration and, before it, what it uses."""
    declared, imported = _names(file)
    if name in imported:
        _collect(imported[name], name, found)
    if name not in declared or name in found:
        return
    tree, text = declared[name]
    used = {n.name for n in ast.walk(tree) if isinstance(n, ast.Name)}
    used |= {n.callee.name for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for other in sorted(used - {name}):
        _collect(file, other, found)
    found[name] = text


@cache
def _names(file: Path) -> tuple[dict[str, tuple[ast.Declaration, str]], dict[str, Path]]:
    source = Source(file.name, file.read_text(encoding="utf-8"))
    module, problems = parse(source)
    assert not problems
    declared = {d.name.text: (d, _plain(source, d)) for d in module.declarations}
    imported = {name.text: EXAMPLES / one.path for one in module.imports for name in one.names}
    return declared, imported


def _plain(source: Source, tree: ast.Declaration) -> str:
    """The declaration's text without comments, line breaks kept."""
    text = source.text[tree.span.start : tree.span.end]
    for comment in reversed(scan(Source("<part>", text), DEFAULT_LIMITS).comments):
        text = text[: comment.start].rstrip(" ") + text[comment.end :]
    return text


def lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())
