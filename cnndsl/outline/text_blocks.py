"""Groups that stand deep inside of others become blocks of their own."""

from __future__ import annotations

from cnndsl.outline.holes import REQUIRED, Expr, Hole
from cnndsl.outline.reroll_search import Roots
from cnndsl.outline.terms import Call, Chain, Definition, Emit, If, Named, Ref, Tap, Term, walk
from cnndsl.outline.text_labels import free_names

_LARGE = 8  # words: a smaller group stays on its line

_Key = tuple[bytes, tuple[Hole, ...]]


def parted(roots: Roots) -> bool:
    """Takes large groups out of the definitions that hold them; whether there were any.

    Groups that are the same become one block. What a group reads of the definition around it
    becomes a parameter; one that reads its values, or its channels, stays.
    """
    made: dict[_Key, Definition] = {}
    roots.terms = [_parted(term, made) for term in roots.terms]
    for definition in roots.definitions:
        definition.body = _parted(definition.body, made)
    roots.definitions += made.values()
    return bool(made)


def _parted(term: Term, made: dict[_Key, Definition], deep: bool = False) -> Term:
    """``deep``: it stands in something else than the chain of a definition."""
    inside = deep or not isinstance(term, Chain)
    parts = tuple(_parted(part, made, inside) for part in term.parts)
    if any(a is not b for a, b in zip(parts, term.parts, strict=True)):
        term = term.remade(term.own, parts)
    if not deep or not isinstance(term, Named) or not _stands_alone(term.body):
        return term
    names = tuple(sorted(free_names(term.body)))
    definition = Definition("", True, names, (REQUIRED,) * len(names), (), term.body)
    definition = made.setdefault((term.body.shape, term.body.holes), definition)
    call = Call(definition, tuple(map(Expr, names)), (), 0)
    return term.remade(term.own, (call,))


def _stands_alone(body: Term) -> bool:
    """Whether a group means the same in another place."""
    if body.size < _LARGE or isinstance(body, Call | If):
        return False
    if any(isinstance(inner, Ref | Tap | Emit) for inner in walk(body)):
        return False
    calls = (inner for inner in walk(body) if isinstance(inner, Call))
    if any(call.wires for call in calls):
        return False
    return not any(isinstance(hole, Expr) and "in." in hole for hole in body.holes)
