"""Namespaces that differ in whether they have a child: the shortcut that a projection may be on.

A child that takes one value and gives one may be left out: its value is then what it would
have taken. Members of a class without it get ``nn.Identity()``.
"""

from __future__ import annotations

from typing import Any

from cnndsl.exporters.python.draft import rewired
from cnndsl.outline.families import MISSING, PRESENT, Leaf, Term, form, leaves


def settle_optional(bodies: dict[str, Term]) -> None:
    """Gives bodies of one declaration the form of the largest, where that is all the difference."""
    forms: dict[Term, list[str]] = {}
    for path, body in bodies.items():
        forms.setdefault(form(body), []).append(path)
    while len(forms) > 1:
        merged = _merge(bodies, forms)
        if merged is None:
            return
        one, two = merged
        paths = forms.pop(one) + forms.pop(two)
        forms.setdefault(form(bodies[paths[0]]), []).extend(paths)


def _merge(bodies: dict[str, Term], forms: dict[Term, list[str]]) -> tuple[Term, Term] | None:
    """Merges the first two forms that can be; which they were."""
    ordered = sorted(forms, key=lambda f: -len(f[2]))
    for large in ordered:
        for small in ordered:
            if small != large and _fit(bodies, forms[large], forms[small]):
                return large, small
    return None


def _fit(bodies: dict[str, Term], large: list[str], small: list[str]) -> bool:
    model, other = bodies[large[0]], bodies[small[0]]
    had = {name for name, _ in other[2]}
    extra = [name for name, _ in model[2] if name not in had]
    if not extra or not all(_removable(model, name) for name in extra):
        return False
    if form(_without(model, extra)) != form(other):
        return False
    for path in large:
        bodies[path] = _marked(bodies[path], extra)
    for path in small:
        bodies[path] = _filled(model, bodies[path], extra)
    return True


def _removable(body: Term, name: str) -> bool:
    """Whether the child is called once, on one value, for one."""
    calls = [s for s in body[4] if s[1][0] == "call" and s[1][1] == ("child", name)]
    if len(calls) != 1 or _mentions(body[4], name) != 1:
        return False
    targets, term, train = calls[0]
    arguments = term[2]
    plain = len(arguments) == 1 and arguments[0][3][0] == "wire"
    already = dict(body[2])[name]
    return len(targets) == 1 and plain and not train and already[0] in ("call", "sequence")


def _mentions(term: Any, name: str) -> int:
    if not isinstance(term, tuple):
        return 0
    if len(term) == 2 and term[0] == "child":
        return int(term[1] == name or str(term[1]).startswith(f"{name}."))
    return sum(_mentions(part, name) for part in term)


def _without(body: Term, names: list[str]) -> Term:
    """The body with the children left out, values numbered anew."""
    kind, counts, children, noise, statements, results = body
    wires = {i: i for i in range(counts[0])}
    fresh = counts[0]
    kept = []
    for targets, term, train in statements:
        if term[0] == "call" and term[1][0] == "child" and term[1][1] in names:
            wires[targets[0]] = wires[term[2][0][3][1]]
            continue
        renamed = rewired(term, wires)
        made = tuple(range(fresh, fresh + len(targets)))
        wires.update(zip(targets, made, strict=True))
        fresh += len(targets)
        kept.append((made, renamed, train))
    rest = tuple((name, term) for name, term in children if name not in names)
    return (kind, counts, rest, noise, tuple(kept), tuple(wires[i] for i in results))


def _marked(body: Term, names: list[str]) -> Term:
    """The body, its optional children said to be there."""
    kind, counts, children, *rest = body
    marked = tuple(
        (name, ("optional", Leaf(PRESENT + name, True), term) if name in names else term)
        for name, term in children
    )
    return (kind, counts, marked, *rest)


def _filled(model: Term, body: Term, names: list[str]) -> Term:
    """The model's form with this body's numbers; those of the missing children are missing."""
    children = dict(body[2])
    filled = tuple(
        (name, ("optional", Leaf(PRESENT + name, False), _missing(term)))
        if name in names
        else (name, children[name])
        for name, term in model[2]
    )
    numbers = leaves((body[3], body[4]))
    noise, statements = _renumbered(model[3], numbers), _renumbered(model[4], numbers)
    return (model[0], model[1], filled, noise, statements, model[5])


def _missing(term: Term) -> Term:
    if isinstance(term, Leaf):
        return Leaf(term.name, MISSING)
    return tuple(map(_missing, term)) if isinstance(term, tuple) else term


def _renumbered(term: Term, numbers: Any) -> Term:
    if isinstance(term, Leaf):
        return next(numbers)
    if isinstance(term, tuple):
        return tuple([_renumbered(part, numbers) for part in term])
    return term
