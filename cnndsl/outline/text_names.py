"""Names of definitions, in the field's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from cnndsl.graph.names import is_word
from cnndsl.limits import DEFAULT_LIMITS
from cnndsl.ops import catalogue
from cnndsl.outline.holes import Expr, Label
from cnndsl.outline.reroll_fold import follows
from cnndsl.outline.reroll_search import Roots
from cnndsl.outline.terms import (
    Call,
    Definition,
    Emit,
    For,
    Id,
    If,
    Join,
    Leaf,
    Named,
    Power,
    Tap,
    Term,
    steps,
    walk,
)

_WORD = re.compile(r"[A-Za-z]+")


def christen(roots: Roots, taken: Iterable[str]) -> None:
    """Gives every definition a name that nothing else has, inner ones first."""
    used = {*taken, *catalogue()}
    hints = _hints(roots)
    for definition in roots.definitions:
        name = hints.get(id(definition)) or _by_content(definition)
        if not is_word(name, DEFAULT_LIMITS):
            name = "Block"
        candidates = (name if k == 1 else f"{name}{k}" for k in range(1, 10_000))
        definition.name = next(n for n in candidates if n not in used)
        used.add(definition.name)


def _hints(roots: Roots) -> dict[int, str]:
    """What blocks are called where they are used: `denselayer1`, `denselayer2`, …"""
    stems: dict[int, set[str]] = {}
    for term in [*roots.terms, *(d.body for d in roots.definitions)]:
        for inner in walk(term):
            if isinstance(inner, Named | Emit) and isinstance(inner.body, Call):
                label = Label.of(inner.name) if isinstance(inner, Emit) else inner.label
                stem = "" if label is None else label.stem
                stems.setdefault(id(inner.body.definition), set()).add(stem)
    return {key: _camel(*stem) for key, stem in stems.items() if len(stem) == 1 and _tells(*stem)}


def _tells(stem: str) -> bool:
    words = _WORD.findall(stem)
    plain = {"branch", "body", "layer", "features", "shortcut", "gate", "block", "blocks"}
    return bool(words) and len(words[0]) > 2 and stem.rstrip("_") not in plain


def _camel(stem: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in _WORD.findall(stem))


def _by_content(definition: Definition) -> str:
    items = steps(definition.body)
    return next((name for name in _guesses(items) if name), "Block")


def _guesses(items: tuple[Term, ...]) -> Iterator[str]:
    last = items[-2] if len(items) > 1 and follows(items[-1]) else items[-1]
    if isinstance(last, Join):
        yield _joined(last)
    if any(isinstance(item, Leaf) and item.op.name in _ENLARGING for item in items[:-1]):
        yield "Up"
    yield _layers(items)
    if any(isinstance(item, Power | For) or _is_block(item) for item in items):
        yield "Stage"
    if any(_is_depthwise(item) for item in items):
        yield "Separable"


def _is_depthwise(term: Term) -> bool:
    if not isinstance(term, Leaf) or term.op.name != "conv":
        return False
    values = dict(zip(term.op.params, term.values, strict=True))
    return isinstance(values["groups"], Expr) and "/" not in values["groups"]


def _is_block(term: Term) -> bool:
    term = term.body if isinstance(term, Named | Tap | If) else term
    return isinstance(term, Call)


def _joined(join: Join) -> str:
    if join.op.name == "mul":
        return "SqueezeExcite"
    if join.op.name == "concat":
        passing = any(isinstance(operand, Id) for operand in join.operands)
        return "DenseLayer" if passing else "Inception" if len(join.operands) > 2 else "Branches"
    if join.op.name == "add" and len(join.operands) == 2:
        return {2: "Basic", 3: "Bottleneck"}.get(_kernels(join.operands[0]), "Residual")
    return join.op.name.capitalize()


def _kernels(term: Term) -> int:
    """Convolutions of a residual."""
    found = 0
    for inner in walk(term):
        if isinstance(inner, Leaf):
            found += inner.op.name == "conv"
        elif isinstance(inner, Call):
            found += _kernels(inner.definition.body)
    return found


_ENLARGING = frozenset({"upsample", "conv_transpose"})


def _layers(items: tuple[Term, ...]) -> str:
    """``ConvBnRelu``: for short chains."""
    inner = [item.body if isinstance(item, Tap) else item for item in items]
    names = [item.op.name for item in inner if isinstance(item, Leaf)]
    if len(names) < len(items) or not 0 < len(names) <= 3:
        return ""
    if len(names) == 1:
        return _camel(names[0])
    return "".join(map(_camel, names))
