"""Makes a network that shows a mistake small, so that a person can see what it is about.

Greedy: whatever can be cut out, or be replaced by one of its parts, while the mistake stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cnndsl.source import Source
from cnndsl.syntax import ast
from cnndsl.syntax.parser import parse
from tests.programs import graph_of

FOUND = "tests/corpus/passes/found"
Shows = Callable[[str], bool]


def reduced(text: str, shows: Shows) -> str:
    """The smallest text found that still shows it; ``text`` must have one net, as its last."""
    assert shows(text), "nothing to reduce"
    while smaller := next((t for t in _smaller(text) if _is_net(t) and shows(t)), ""):
        text = smaller
    return "".join(line for line in text.splitlines(keepends=True) if line.strip())


def report(text: str, problem: str, rewrites: str) -> str:
    """What to tell, and what to keep for ever."""
    return (
        f"{problem}\nreduced to the case below; once it is understood keep it in "
        f"{Path(FOUND)}/<what it is about>.txt\n\n--- input\n# rewrites: {rewrites}\n{text}"
    )


def _is_net(text: str) -> bool:
    try:
        graph_of(text)
    except AssertionError:
        return False
    return True


def _smaller(text: str) -> Iterator[str]:
    """Texts with something left out, the shortest first."""
    module, problems = parse(Source("<text>", text))
    if problems:
        return
    cuts = [(d.span.start, d.span.end, "") for d in module.declarations[:-1]]
    if module.declarations:
        cuts += [cut for node in ast.walk(module.declarations[-1]) for cut in _cuts(node)]
    for start, end, new in sorted(cuts, key=lambda cut: len(cut[2]) - (cut[1] - cut[0])):
        if len(new) < end - start:
            yield (text[:start] + new + text[end:]).lstrip()


def _cuts(node: ast.Node) -> Iterator[tuple[int, int, str]]:
    """Pieces of text and what may stand there instead."""
    start, end = node.span.start, node.span.end
    if isinstance(node, ast.Body) and node.defaults:
        yield start, min(n.span.start for n in (*node.lets, *node.results)), ""
    if isinstance(node, ast.Let):
        yield start, end, ""
    if isinstance(node, ast.Chain):
        yield from ((start, end, " -> ".join(rest)) for rest in _all_but_one(node.steps))
    if isinstance(node, ast.Infix) and len(node.operands) > 2:
        yield from ((start, end, f" {node.op} ".join(r)) for r in _all_but_one(node.operands))
    if isinstance(node, ast.Expr):
        yield start, end, "id"
        for part in ast.children(node):
            inner = part.value if isinstance(part, ast.Argument) else part
            if isinstance(inner, ast.Expr):
                yield start, end, inner.span.text
                yield start, end, f"({inner.span.text})"


def _all_but_one(nodes: tuple[ast.Expr, ...]) -> Iterator[list[str]]:
    texts = [node.span.text for node in nodes]
    for i in range(len(texts)):
        yield texts[:i] + texts[i + 1 :]
