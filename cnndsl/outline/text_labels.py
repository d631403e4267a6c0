"""Labels: left out where a position says the same, given where the language wants them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from cnndsl.graph.model import Graph
from cnndsl.graph.names import is_label
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.outline.holes import REQUIRED, Expr, Label, words
from cnndsl.outline.reroll_search import Roots
from cnndsl.outline.terms import (
    Call,
    Definition,
    Emit,
    For,
    Join,
    Leaf,
    Named,
    Power,
    Tap,
    Term,
    chain,
    steps,
    walk,
)

_GOOD = re.compile(r"[A-Za-z]{2}\w{0,30}")


class _Space:
    """One namespace while it is read: how many steps it has had, and the labels in it."""

    def __init__(self, term: Term) -> None:
        self.count = 0
        self.taken = {label.name for label in _labels_in(term)}


def positioned(term: Term, space: _Space | None = None, joined: bool = False) -> Term:
    """Without the labels that positions give; what has no weights has a label only where its
    position is another's name. ``joined``: in an operand of a join, where labels are wanted."""
    space = space or _Space(term)
    if isinstance(term, Leaf):
        return replace(term, label=_label(term.label, space, term.op.name, joined))
    if isinstance(term, Named):
        label = _label(term.label, space, "group", joined)
        return Named(label, positioned(term.body), term.label)
    if isinstance(term, Emit):
        space.count += 1
        return replace(term, body=positioned(term.body))
    inside = joined or isinstance(term, Join)
    parts = tuple(positioned(part, space, inside) for part in term.parts)
    return term.remade(term.own, parts)


def _label(label: Label | None, space: _Space, word: str, joined: bool) -> Label | None:
    position = str(space.count)
    space.count += 1
    if label is not None:
        return None if label.name == position and not joined else label
    return Label.of(f"{word}_{position}") if position in space.taken else None


def _labels_in(term: Term) -> Iterator[Label]:
    """The labels in the term's own namespace."""
    if isinstance(term, Leaf | Named):
        if term.label is not None:
            yield term.label
    elif not isinstance(term, Emit):
        for part in term.parts:
            yield from _labels_in(part)


# --- networks without names -------------------------------------------------------------------


def branched(term: Term, inside: bool = False) -> Term:
    """Operands of joins that hold weights get the label that the language wants there."""
    if isinstance(term, Join):
        operands = tuple(branched(operand) for operand in term.operands)
        return replace(term, operands=tuple(_operands(term, operands)))
    parts = tuple(branched(part) for part in term.parts)
    return term.remade(term.own, parts) if parts else term


def _operands(join: Join, operands: tuple[Term, ...]) -> Iterator[Term]:
    weighty = [k for k, operand in enumerate(operands) if _holds_weights(operand)]
    for k, operand in enumerate(operands):
        if k not in weighty:
            yield operand
            continue
        label = Label(*_branch(join, operands, k, len(weighty)))
        if isinstance(operand, Leaf):
            yield replace(operand, label=label)
        else:
            yield Named(label, operand)


def _branch(join: Join, operands: tuple[Term, ...], k: int, weighty: int) -> tuple[str, int | None]:
    if join.op.name == "mul" and weighty == 1:
        return "gate", None
    if join.op.name == "add" and len(operands) == 2:
        return ("body" if k == 0 else "shortcut"), None
    return ("branch", None) if weighty == 1 else ("branch", k + 1)


def _holds_weights(term: Term) -> bool:
    return any(isinstance(inner, Leaf) and inner.weighty for inner in walk(term))


def unique(roots: Roots) -> None:
    """No label twice in a namespace: later ones get a number."""
    roots.terms = _unique_in(roots.terms)
    for definition in roots.definitions:
        (definition.body,) = _unique_in([definition.body])


def hinted(term: Term, graph: Graph) -> Term:
    """Steps of the network's own chain that stand alone keep good names."""
    taken: set[str] = set()

    def named(item: Term) -> Term:
        if isinstance(item, Tap):
            return replace(item, body=named(item.body))
        if not isinstance(item, Leaf) or not item.weighty or item.label is not None:
            return item
        name = graph.nodes[item.node].path
        if name in taken or not _GOOD.fullmatch(name) or not is_label(name, DEFAULT_LIMITS):
            return item
        taken.add(name)
        return replace(item, label=Label.of(name))

    return chain([named(item) for item in steps(term)])


def _unique_in(terms: list[Term]) -> list[Term]:
    taken: set[str] = set()
    return [_distinct(term, taken) for term in terms]


def _distinct(term: Term, taken: set[str]) -> Term:
    if isinstance(term, Leaf | Named) and term.label is not None:
        label = term.label
        if not isinstance(label.number, Expr):
            label = _free(label, taken)
            taken.add(label.name)
        term = replace(term, label=label)
    if isinstance(term, Named):
        return replace(term, body=_distinct(term.body, set()))
    if isinstance(term, Emit):
        return replace(term, body=_distinct(term.body, set()))
    parts = tuple(_distinct(part, taken) for part in term.parts)
    return term.remade(term.own, parts) if parts else term


def _free(label: Label, taken: set[str]) -> Label:
    stem = label.stem if label.number is None else f"{label.stem}{label.number}_"
    number = 1
    while label.name in taken:
        number += 1
        label = Label(stem, number)
    return label


# --- groups at a position ---------------------------------------------------------------------


def moduled(roots: Roots) -> None:
    """The language has no group without a label: one at a position says it, or is a block.

    It is a block where its position is not always the same: in a loop, and in a `def`.
    """
    made: list[Definition] = []
    roots.terms = [_moduled(term, made, True) for term in roots.terms]
    for definition in roots.definitions:
        definition.body = _moduled(definition.body, made, definition.module)
    roots.definitions += made


def _moduled(term: Term, made: list[Definition], placed: bool) -> Term:
    """``placed``: positions in the namespace around are known."""
    inside = placed and not isinstance(term, Power | For)
    parts = tuple(_moduled(part, made, inside or isinstance(term, Named)) for part in term.parts)
    term = term.remade(term.own, parts) if parts else term
    if not isinstance(term, Named) or term.label is not None or _is_module(term.body):
        return term
    if placed and term.place is not None:
        return replace(term, label=term.place)
    names = tuple(sorted(free_names(term.body)))
    definition = Definition("", True, names, (REQUIRED,) * len(names), (), term.body)
    made.append(definition)
    return Named(None, Call(definition, tuple(map(Expr, names)), (), 0))


def _is_module(term: Term) -> bool:
    return isinstance(term, Call) and term.definition.module


def free_names(term: Term) -> set[str]:
    """The parameters and loop variables that a term reads and does not bind."""
    used = {name for hole in term.own if isinstance(hole, Expr) for name in words(hole)}
    inner = {name for part in term.parts for name in free_names(part)}
    return used | (inner - {term.variable} if isinstance(term, For) else inner)
