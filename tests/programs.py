"""Graphs of many programs that share their first declarations: those are parsed once."""

from __future__ import annotations

from functools import cache, lru_cache

from cnndsl.graph.model import Graph
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.semantics.net import expand_net
from cnndsl.semantics.values import Definition, Scope
from cnndsl.source import Source
from cnndsl.syntax import ast
from cnndsl.syntax.parser import parse


def split_net(text: str) -> tuple[str, str]:
    """What comes before a file's only net, which is its last declaration; and the net."""
    before, _, net = text.rpartition("\nnet ")
    return before, f"net {net}" if before else text


def graph_of(text: str) -> Graph:
    """The graph of a file's only net; AssertionError with the text and what is wrong in it."""
    before, net = split_net(text)
    scope = _scope(net)
    scope.names.update(_shared(before))
    definition = next(d for d in scope.names.values() if d.tree.kind == "net")
    expansion = expand_net(definition, DEFAULT_LIMITS)
    assert expansion.graph is not None, f"{expansion.diagnostics}\n{text}"
    return expansion.graph


@cache
def _shared(text: str) -> dict[str, Definition]:
    return _scope(text).names


def _scope(text: str) -> Scope:
    source, module = parsed(text)
    scope = Scope(source)
    scope.names.update({d.name.text: Definition(d, scope) for d in module.declarations})
    return scope


@lru_cache(maxsize=1)
def parsed(text: str) -> tuple[Source, ast.Module]:
    """A text's tree, kept for whoever asks for the same text next."""
    source = Source("<text>", text)
    module, problems = parse(source)
    assert not problems, f"{problems}\n{text}"
    return source, module
