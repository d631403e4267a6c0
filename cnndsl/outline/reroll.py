"""Any graph as ``.cnn`` text that a person would have written.

The graph becomes one term (``structure``), what repeats in it becomes powers, loops and blocks
with parameters (``reroll_search``), and the text is read back and compared with the graph node
by node (``text_match``). What does not stand this is written in a plainer form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cnndsl.diagnostics import Collector
from cnndsl.graph.model import Graph
from cnndsl.graph.names import is_word
from cnndsl.graph.printer import print_graph
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.ops import catalogue
from cnndsl.outline.reroll_search import Roots, reroll
from cnndsl.outline.structure import Outline, Unstructured, outline
from cnndsl.outline.structure_view import plain_view
from cnndsl.outline.text import Printer
from cnndsl.outline.text_blocks import parted
from cnndsl.outline.text_labels import branched, hinted, moduled, positioned, unique
from cnndsl.outline.text_match import Mismatch, keeps_keys, matched
from cnndsl.outline.text_names import christen
from cnndsl.semantics.net import expand_net
from cnndsl.semantics.resolve import resolve
from cnndsl.semantics.values import Definition, Scope
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source
from cnndsl.syntax.parser import parse


class Rolled(NamedTuple):
    """One file with one net. ``paths``: the given graph's module paths to those of the text."""

    text: str
    paths: Mapping[str, str]


_DEARER = 1.5
"""How much longer a text may be for its author's names."""


def write_text(graph: Graph, *, name: str | None = None, keep: bool = False) -> Rolled:
    """The graph as text that loads without diagnostics, in the formatter's layout.

    ``name``: of the net; that of the graph by default. ``keep``: every module with weights has
    the same path in the text, so `state_dict` keys are the same. Otherwise paths are hints:
    the given modules are kept where the text does not become much longer by them.
    ValueError for a name that no net can have, and for a graph past the limits of a text.
    """
    name = name or graph.name
    if not is_word(name, DEFAULT_LIMITS) or name in catalogue():
        raise ValueError(f"`{name}` cannot name a network")
    named = _attempt(graph, name, flat=False, keep=keep)
    if keep:
        return named or _plain(graph, name)
    free = _attempt(graph, name, flat=True, keep=False)
    if named is not None and (free is None or len(named.text) <= _DEARER * len(free.text)):
        return named
    return free or _plain(graph, name)


def _attempt(graph: Graph, name: str, *, flat: bool, keep: bool) -> Rolled | None:
    try:
        return _rolled(graph, name, flat, keep)
    except (Unstructured, Mismatch, RecursionError):
        return None


def _rolled(graph: Graph, name: str, flat: bool, keep: bool) -> Rolled:
    view = plain_view(graph, flat=flat)
    lined = outline(view, labels=not flat)
    terms = [*(term for _, term in lined.lets), lined.body]
    terms = [branched(term) if flat else positioned(term) for term in terms]
    roots = reroll(terms, view, keep=not flat)
    moduled(roots)
    if flat:
        roots.terms = [hinted(term, graph) for term in roots.terms]
        unique(roots)
    order = [i for i in lined.order if i in graph.nodes]  # joins of joins are one when it is read
    text = _shortest(view, name, lined, roots)
    paths = matched(graph, read(text), order)
    if keep and not keeps_keys(graph, paths):
        raise Mismatch("a module has another path")
    return Rolled(text, paths)


def _shortest(view: Graph, name: str, lined: Outline, roots: Roots) -> str:
    """The text with large groups where they stand, or as blocks: the one of fewer lines."""
    lets = [let for let, _ in lined.lets]

    def text() -> str:
        christen(roots, {name})
        return formatted(Printer(view).file(name, lets, lined.results, roots))

    found = [text()]
    if parted(roots):
        found.append(text())
    return min(found, key=lambda text: len(text.split("\n")))


def _plain(graph: Graph, name: str) -> Rolled:
    """One step after the other; read back and compared like any other text."""
    renamed = Graph(name, graph.nodes, graph.outputs, graph.facts, graph.parameters)
    alone = {node.id for node in graph if node.op.join and len(node.inputs) == 1}
    order = [node.id for node in graph if node.inputs and node.id not in alone]
    try:
        text = formatted(print_graph(renamed))
        return Rolled(text, matched(graph, read(text, warnings=False), order))
    except Mismatch as problem:
        raise ValueError(f"no text says this network: {problem}") from problem


def formatted(text: str) -> str:
    """In the layout of `cnndsl fmt`."""
    done, problems = format_source(Source("<rolled>", text))
    if done is None:
        raise Mismatch(problems[0].message)
    return done


def read(text: str, *, warnings: bool = True) -> Graph:
    """The graph of a file with one net; Mismatch where it has any problem, or any error."""
    source = Source("<rolled>", text)
    module, problems = parse(source)
    if problems:
        raise Mismatch(problems[0].message)
    scope = Scope(source)
    scope.names.update({d.name.text: Definition(d, scope) for d in module.declarations})
    net = next(d for d in scope.names.values() if d.tree.kind == "net")
    found = Collector()
    resolve(scope, module, found)
    expansion = expand_net(net, DEFAULT_LIMITS)
    problems = [
        p for p in (*found.all, *expansion.diagnostics) if warnings or p.severity == "error"
    ]
    if expansion.graph is None or problems:
        raise Mismatch(problems[0].message if problems else "no graph")
    return expansion.graph
