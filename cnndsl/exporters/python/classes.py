"""Drafts that are alike become one class; mere sequences stay ``nn.Sequential``.

Inner namespaces come first: a class is settled when everything that its namespaces hold is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cnndsl.exporters.python import layers, terms
from cnndsl.exporters.python.draft import Draft, around, drafts
from cnndsl.exporters.python.loops import looped
from cnndsl.exporters.python.names import class_name, fresh, identifier
from cnndsl.exporters.python.optional import settle_optional
from cnndsl.exporters.python.runs import rolled
from cnndsl.graph.model import Graph, Node
from cnndsl.ops.types import Type, channels_of
from cnndsl.outline.families import (
    MISSING,
    Scalar,
    Solution,
    Term,
    Value,
    form,
    leaves,
    solve,
)
from cnndsl.outline.tree import declared, tree


@dataclass
class Family:
    """A class: its members' drafts, what tells them apart, and how the text calls them."""

    name: str
    body: Term
    members: list[Draft]
    solution: Solution
    notes: list[str] = field(default_factory=list)
    declared: str = ""


def families(graph: Graph) -> list[Family]:
    """The classes of a network, those that others use first; the network's own is last."""
    return _Settling(graph).run()


class _Settling:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.drafts = drafts(graph)
        root = tree(graph)
        self.spaces = {space.path: space for space in root.spaces()}
        self.frames = {path: declared(space) for path, space in self.spaces.items()}
        self.terms: dict[str, Term] = {}
        self.found: list[Family] = []
        self.names = {class_name(graph.name), f"{class_name(graph.name)}Output"}
        for path in self.drafts:  # inside a class a parameter hides a class of its name
            self.names.update(self._arguments(path))

    def run(self) -> list[Family]:
        pending = {
            path: self._group(path) for path, d in self.drafts.items() if path and not d.inlined
        }
        while pending:
            for paths in self._ready(pending):
                self._settle(paths)
                for path in paths:
                    del pending[path]
        self._family("", [""])
        return self.found

    # --- order ------------------------------------------------------------------------------

    def _ready(self, pending: Mapping[str, str]) -> list[list[str]]:
        """Groups of which everything inside is settled; where groups hold each other, parts."""
        ready = [p for p in pending if all(c in self.terms for c in around(self.drafts, p))]
        groups: dict[str, list[str]] = {}
        for path in ready:
            groups.setdefault(pending[path], []).append(path)
        sizes: dict[str, int] = {}
        for group in pending.values():
            sizes[group] = sizes.get(group, 0) + 1
        whole = [paths for group, paths in groups.items() if len(paths) == sizes[group]]
        return whole or [next(iter(groups.values()))]

    def _group(self, path: str) -> str:
        """What may become one class: calls of one declaration, or labels that are alike."""
        frame = self.frames.get(path)
        if self.drafts[path].chain is not None:
            return f"={path}"
        if frame is not None and frame.given is not None:
            return frame.given[0]
        return "-" + path.rpartition(".")[2].rstrip("0123456789_")

    # --- settling ---------------------------------------------------------------------------

    def _settle(self, paths: list[str]) -> None:
        if self.drafts[paths[0]].chain is not None:
            for path in paths:
                self.terms[path] = self._sequence(self.drafts[path])
            return
        bodies = {path: self._body(self.drafts[path]) for path in paths}
        settle_optional(bodies)
        alike: dict[Term, list[str]] = {}
        for path, body in bodies.items():
            alike.setdefault(form(body), []).append(path)
        for members in alike.values():
            self._family(members[0], members, bodies)

    def _family(
        self, first: str, members: list[str], bodies: Mapping[str, Term] | None = None
    ) -> None:
        own = bodies or {path: self._body(self.drafts[path]) for path in members}
        chosen = [self.drafts[path] for path in members]
        rows = [list(leaves(own[path])) for path in members]
        known = [self._arguments(path) for path in members]
        width = [self._width(draft) for draft in chosen]
        notes = self._notes(chosen, own[first])
        solution, texts = solve(rows, known, width, notes)
        family = Family(
            self._name(first), own[first], chosen, solution, texts, self._declared(first)
        )
        self.found.append(family)
        number = len(self.found) - 1
        for place, path in enumerate(members):
            arguments = tuple(
                terms.arg(
                    parameter.name,
                    parameter.values[place],
                    terms.NONE if parameter.default is MISSING else parameter.default,
                    "" if parameter.default is MISSING else parameter.name,
                )
                for parameter in solution.parameters
            )
            self.terms[path] = terms.call(("class", number), *arguments)

    def _name(self, path: str) -> str:
        if not path:
            return class_name(self.graph.name)
        frame = self.frames.get(path)
        given = frame.given[0] if frame is not None and frame.given is not None else None
        return fresh(class_name(given or self._words(path)), self.names)

    def _words(self, path: str) -> str:
        """A name for what the text only labelled: the last label that is a word."""
        parts = [part for part in path.split(".") if not part.isdigit()]
        name = parts[-1].rstrip("0123456789_") if parts else ""
        if len(name) == 1 and len(parts) > 1:  # a letter says little by itself
            around = self._declared(path.rpartition(".")[0]) or parts[-2]
            return f"{class_name(around)}{name.upper()}"
        return name or "Block"

    def _declared(self, path: str) -> str:
        frame = self.frames.get(path)
        return frame.given[0] if frame is not None and frame.given is not None else ""

    def _arguments(self, path: str) -> dict[str, Scalar]:
        """Numbers that the text gave a block, by Python's names."""
        frame = self.frames.get(path)
        found: dict[str, Scalar] = {}
        for name, (value, *_) in (frame.given[1] if frame and frame.given else {}).items():
            number = _number(value)
            if number is not None:
                found[identifier(name)] = number
        return found

    def _width(self, draft: Draft) -> Value:
        if not draft.inputs:
            return MISSING
        return _channels(self.graph.nodes[draft.inputs[0]].type)

    def _notes(self, members: list[Draft], body: Term) -> list[tuple[Value, ...]]:
        """Channels of the inputs, and of what every statement of the body makes."""
        optional = {name for name, term in body[2] if term[0] == "optional"}
        places = [
            term[0] == "call" and term[1][0] == "child" and term[1][1] in optional
            for _, term, _ in body[4]
        ]
        columns = []
        for draft in members:
            whole = len(draft.statements) == len(places)
            own = iter(draft.statements)
            nodes = [-1 if skip and not whole else next(own).node for skip in places]
            columns.append([self._noted(node) for node in (*draft.inputs, *nodes)])
        return list(zip(*columns, strict=True))

    def _noted(self, node: int) -> Value:
        return _channels(self.graph.nodes[node].type) if node >= 0 else MISSING

    # --- terms ------------------------------------------------------------------------------

    def _body(self, draft: Draft) -> Term:
        listed = [(name, self._child(draft, name, node)) for name, node in draft.children.items()]
        children = tuple(looped(draft, listed))
        noise = tuple(layers.layer(n.op, self.graph.types_into(n)) for n in draft.noise)
        statements = tuple((s.targets, s.term, s.train) for s in draft.statements)
        counts = (len(draft.inputs), len(draft.borrowed), draft.live)
        return ("body", counts, children, noise, statements, draft.results)

    def _child(self, draft: Draft, name: str, node: Node | None) -> Term:
        if node is None:
            return self.terms[f"{draft.path}.{name}" if draft.path else name]
        types = self.graph.types_into(node)
        if layers.bare(node.op):
            return ("bare", layers.weight(node.op, types[0]))
        return layers.layer(node.op, types)

    def _sequence(self, draft: Draft) -> Term:
        """``nn.Sequential`` of layers and inner namespaces."""
        assert draft.chain is not None
        parts = []
        for place, node in enumerate(draft.chain):
            if node is None:
                parts.append(self.terms[f"{draft.path}.{place}"])
            else:
                parts.append(layers.layer(node.op, self.graph.types_into(node)))
        return ("sequence", rolled(parts))


def _channels(type: Type) -> Value:
    found: Any = channels_of(type)  # type: ignore[arg-type]
    return found if isinstance(found, int) else MISSING


def _number(value: Any) -> Scalar | None:
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, tuple) and value and all(type(v) is int for v in value):
        return value
    return None
