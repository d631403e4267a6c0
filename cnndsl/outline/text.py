"""Terms and definitions as ``.cnn`` text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from cnndsl.graph.model import Graph
from cnndsl.graph.printer import clause, heading
from cnndsl.graph.spelling import label as spelled
from cnndsl.ops import catalogue
from cnndsl.ops.base import spell
from cnndsl.outline.holes import AUTO, REQUIRED, Expr, Label, Read, Tapped
from cnndsl.outline.reroll_search import Roots
from cnndsl.outline.terms import (
    Call,
    Chain,
    Definition,
    Emit,
    For,
    Id,
    If,
    Join,
    Leaf,
    Named,
    Nothing,
    Power,
    Ref,
    Tap,
    Term,
    walk,
)

_SIGNS = {"add": " + ", "concat": " | ", "mul": " * "}
_UNSETTLED = None
"""Whether a norm comes next is not known, or not the same at every turn."""


class Printer:
    """Writes one file. Names of values are given as they are met."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = {node.id: node.path for node in graph.inputs}
        taken = {*self.names.values(), *catalogue(), *(o.name for o in graph.outputs)}
        self.behind: dict[int, set[bool | None]] = {}
        """What comes after each definition where it is called."""
        self.fresh = (name for name in map("x{}".format, count(1)) if name not in taken)

    def file(self, name: str, lets: list[str], results: tuple[str, ...], roots: Roots) -> str:
        lines = [heading(self.graph, name)]
        *named, body = roots.terms
        for let, term in zip(lets, named, strict=True):
            lines.append(f"  let {let} = {self.term(term, False)}")
        lines.append(f"  {', '.join(results) if results else self.term(body, False)}")
        if valid := clause(self.graph):
            lines.append(f"  {valid}")
        # Callers first: what comes behind a `def` is known once all its calls are written.
        parts = [self._definition(d) for d in reversed(_in_order(roots))]
        return "\n\n".join([*reversed(parts), "\n".join(lines)]) + "\n"

    def _definition(self, definition: Definition) -> str:
        params = ", ".join(
            name if default is REQUIRED else f"{name} = {value(default)}"
            for name, default in zip(definition.params, definition.defaults, strict=True)
        )
        wires = f"[{', '.join(definition.wires)}]" if definition.wires else ""
        head = f"{definition.name}{f'({params})' if params else ''}{wires}"
        behind = self.behind.get(id(definition), set())
        after = behind.pop() if len(behind) == 1 else _UNSETTLED
        body = self.term(definition.body, False if definition.module else after)
        return f"{'block' if definition.module else 'def'} {head} = {body}"

    # --- terms ----------------------------------------------------------------------------------

    def term(self, term: Term, after: bool | None) -> str:
        """A term where a whole chain or join may stand. ``after``: whether a norm comes next."""
        if isinstance(term, Chain):
            return self._chain(term, after)
        if isinstance(term, Join) and term.op.name in _SIGNS and len(term.operands) > 1:
            return _SIGNS[term.op.name].join(self._operand(o, term.op.name) for o in term.operands)
        return self.step(term, after)

    def _chain(self, term: Chain, after: bool | None) -> str:
        texts = []
        for k, item in enumerate(term.items):
            texts.append(self.step(item, _next(term.items[k + 1 :], after)))
        return " -> ".join(texts)

    def _operand(self, term: Term, op: str) -> str:
        if isinstance(term, Join) or (op == "mul" and isinstance(term, Chain)):
            return self.step(term, False)
        return self.term(term, False)

    def step(self, term: Term, after: bool | None) -> str:
        """A term where one step has its place."""
        if isinstance(term, Leaf):
            return self._labelled(term.label, self._leaf(term, after))
        if isinstance(term, Named):
            return self._named(term, after)
        if isinstance(term, Call):
            return self._call(term, after)
        if isinstance(term, Ref):
            return self._name(term.value)
        if isinstance(term, Tap):
            return self._tap(term, after)
        if isinstance(term, Power):
            body = self.step(term.body, _turning(term.body, after))
            simple = isinstance(term.body, Call) or (
                isinstance(term.body, Leaf) and term.body.label is None
            )
            simple = simple or (isinstance(term.body, Named) and term.body.label is None)
            body = body if simple or body.startswith("(") else f"({body})"
            times = value(term.count)
            return f"{body}^{times if times.isalnum() else f'({times})'}"
        return self._word(term, after)

    def _word(self, term: Term, after: bool | None) -> str:
        if isinstance(term, For):
            where = value(term.first)
            where = where if term.last is None else f"{where}..{value(term.last)}"
            body = self.step(term.body, _turning(term.body, after))
            return f"for {term.variable} in {where} do {body}"
        if isinstance(term, If):
            return f"if {value(term.condition)} then {self.step(term.body, after)}"
        if isinstance(term, Emit):
            mode = "[train]" if term.train else ""
            return f"emit{mode} {spelled(term.name)}: {self._grouped(term.body, False)}"
        if isinstance(term, Join) and (term.op.name not in _SIGNS or len(term.operands) < 2):
            operands = [self.term(operand, False) for operand in term.operands]
            values = list(_arguments(term.op, term.values, None))
            return f"{term.op.name}({', '.join([*operands, *values])})"
        if isinstance(term, Id | Nothing):
            return "id" if isinstance(term, Id) else "none"
        return f"({self.term(term, after)})"

    def _grouped(self, term: Term, after: bool | None) -> str:
        """Behind a label that opens a namespace."""
        if isinstance(term, Leaf | Named | Tap | Power | For):
            return f"({self.term(term, after)})"
        return self.step(term, after)

    def _named(self, term: Named, after: bool | None) -> str:
        if isinstance(term.body, If):
            inner = term.body
            body = f"if {value(inner.condition)} then {self._inside(inner.body, after)}"
            return self._labelled(term.label, body)
        return self._labelled(term.label, self._inside(term.body, after))

    def _inside(self, term: Term, after: bool | None) -> str:
        return self._call(term, after) if isinstance(term, Call) else f"({self.term(term, after)})"

    def _labelled(self, label: Label | None, text: str) -> str:
        if label is None:
            return text
        if isinstance(label.number, Expr):
            return f"{spelled(label.stem) if label.stem else ''}{{{label.number}}}: {text}"
        return f"{spelled(label.name)}: {text}"

    def _tap(self, term: Tap, after: bool | None) -> str:
        body = self.step(term.body, after)
        if isinstance(term.body, For | If | Emit) or "\n" in body:
            body = f"({body})"
        return f"{body} @{self._name(term.value)}"

    def _name(self, hole: Tapped | Read | Expr) -> str:
        if isinstance(hole, Expr):
            return hole
        known = self.names.get(hole.node)
        if known is None:
            known = self.names[hole.node] = next(self.fresh)
        return known

    def _call(self, term: Call, after: bool | None) -> str:
        definition = term.definition
        self.behind.setdefault(id(definition), set()).add(after)
        given, named = [], False
        for name, default, v in zip(
            definition.params, definition.defaults, term.values, strict=True
        ):
            if default is not REQUIRED and v == default:
                named = True
                continue
            named = named or default is not REQUIRED
            given.append(f"{name}={value(v)}" if named else value(v))
        wires = f"[{', '.join(self._name(w) for w in term.wires)}]" if term.wires else ""
        arguments = f"({', '.join(given)})" if given else ""
        return f"{definition.name}{arguments}{wires}"

    def _leaf(self, term: Leaf, after: bool | None) -> str:
        arguments = ", ".join(_arguments(term.op, term.values, after))
        return f"{term.op.name}({arguments})" if arguments else term.op.name


def _arguments(op: Any, values: tuple[Any, ...], after: bool | None) -> Iterator[str]:
    for (key, declared), given in zip(op.params.items(), values, strict=True):
        first = next(iter(op.params)) == key and not op.norm and not op.join
        if declared.required or (first and given is not AUTO):
            yield value(given)
        elif key == "bias" and op.auto_bias:
            if isinstance(given, Expr) or after is _UNSETTLED or given is after:
                yield f"bias={value(given)}"
        elif given is not AUTO and given != declared.default:
            yield f"{key}={value(given)}"


def value(given: Any) -> str:
    """A hole as text."""
    if given is AUTO:
        return "auto"
    return str(given) if isinstance(given, Expr) else spell(given)


# --- whether a norm comes next ------------------------------------------------------------------


def _next(items: tuple[Term, ...], after: bool | None) -> bool | None:
    for item in items:
        if not isinstance(item, Emit | Id):
            return _starts(item)
    return after


def _starts(term: Term) -> bool | None:
    """Whether the first step of a term is a norm that reads the value which arrives."""
    if isinstance(term, Leaf):
        return term.op.norm
    if isinstance(term, Chain):
        return _next(term.items, _UNSETTLED)
    if isinstance(term, Named | Tap | Power | For):
        return _starts(term.parts[0])
    if isinstance(term, Call) and not term.definition.module:
        return _starts(term.definition.body)
    return False


def _turning(body: Term, after: bool | None) -> bool | None:
    """What comes after the body of a repetition: itself, and in the end what is behind."""
    again = _starts(body)
    return again if again is after else _UNSETTLED


# --- order ----------------------------------------------------------------------------------------


def _in_order(roots: Roots) -> list[Definition]:
    """Definitions that are used, each behind those that it uses."""
    found: list[Definition] = []

    def visit(term: Term) -> None:
        for inner in walk(term):
            if isinstance(inner, Call) and inner.definition not in found:
                visit(inner.definition.body)
                if inner.definition not in found:
                    found.append(inner.definition)

    for term in roots.terms:
        visit(term)
    return found
