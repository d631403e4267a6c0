"""Changes that follow from a code and its place alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from cnndsl.diagnostics import Diagnostic, Edit, Fix
from cnndsl.repair.offers import Offer
from cnndsl.repair.places import Places
from cnndsl.repair.rules import fixed_inputs
from cnndsl.source import Span
from cnndsl.syntax import ast

_NUMBERED = re.compile(r"(.*?)_?([0-9]*)")


def mend_words(diagnostic: Diagnostic, places: Places) -> Iterator[Offer]:
    """What a code's place suggests; nothing for most codes."""
    if diagnostic.code == "E0204":
        yield from _everywhere(diagnostic.fixes, places)
    family = _FAMILIES.get(diagnostic.code)
    if family is not None and diagnostic.span is not None:
        yield from family(diagnostic.span, places)


def _everywhere(fixes: tuple[Fix, ...], places: Places) -> Iterator[Offer]:
    """An imported name in another spelling, where it is imported and where it is used."""
    for fix in fixes:
        span, near = fix.edits[0].span, fix.edits[0].text
        uses = places.names(span.source, span.text)
        yield Fix(fix.title, (*fix.edits, *(Edit(use, near) for use in uses)))


def _round(span: Span, places: Places) -> Iterator[Fix]:
    """``c/2`` that is not whole is rounded one way or the other."""
    inner = span.text[1:-1] if isinstance(places.node(span), ast.Group) else span.text
    for name in ("floor", "ceil"):
        yield Fix(f"round with {name}(…)", (Edit(span, f"{name}({inner})"),))


def _end_recursion(span: Span, places: Places) -> Iterator[Fix]:
    """``if c then f else g + h`` ends at ``g``: the whole of ``g + h`` was probably meant."""
    path = places.path(span)
    for node in path:
        parts = node.operands if isinstance(node, ast.Infix) else ()
        parts = node.steps if isinstance(node, ast.Chain) else parts
        for part in parts:
            if isinstance(part, ast.If) and part.span.end <= span.start:
                start, end = (part.orelse or part.then).span.start, node.span.end
                source = span.source
                edits = (Edit(Span(source, start, start), "("), Edit(Span(source, end, end), ")"))
                yield Fix("make it all one branch", edits)


def _rename(span: Span, places: Places) -> Iterator[Fix]:
    """A label that is taken gets the next free number, or the loop's counter."""
    path = places.path(span)
    labels = places.labels(span)
    for at in range(len(path) - 1, -1, -1):
        node = path[at]
        if not isinstance(node, ast.Labelled) or len(node.label.parts) != 1:
            continue
        loop = next((n for n in path[:at] if isinstance(n, ast.For)), None)
        if loop is not None:
            text = f"{node.label.span.text}{{{loop.variable.text}}}"
            yield Fix("number it in the loop", (Edit(node.label.span, text),))
        match = _NUMBERED.fullmatch(str(node.label.parts[0]))
        stem, number = (match[1], int(match[2] or 1)) if match else ("step", 1)
        name = next(n for i in range(1, 10_000) if (n := f"{stem}{number + i}") not in labels)
        yield Fix(f"label it `{name}`", (Edit(node.label.span, name),))
        if any(isinstance(n, ast.Power) for n in path[:at]):
            start, end = node.label.span.start, node.body.span.start
            yield Fix("leave the label out", (Edit(Span(span.source, start, end), ""),))
        return


def _identity(span: Span, places: Places) -> Iterator[Fix]:
    """``none`` where a value is needed becomes ``id``."""
    around = places.declaration(span)
    for node in ast.walk(around) if around else ():
        if isinstance(node, ast.Constant) and node.name == "none" and node.span.end <= span.end:
            yield Fix("write `id`, which changes nothing", (Edit(node.span, "id"),))


def _input(span: Span, places: Places) -> Iterator[Fix]:
    """The batch is left out; channels are a number."""
    dims = places.node(span)
    if not isinstance(dims, ast.Items):
        return
    source = span.source
    if len(dims.items) == 4:
        cut = Span(source, dims.items[0].span.start, dims.items[1].span.start)
        yield Fix("leave the batch out", (Edit(cut, ""),))
    elif len(dims.items) == 2:
        yield Fix("add the channels", (Edit(Span(source, span.start + 1, span.start + 1), "3, "),))
    elif dims.items and isinstance(dims.items[0], ast.Name):
        yield Fix("say the channels", (Edit(dims.items[0].span, "3"),))


def _name_output(span: Span, places: Places) -> Iterator[Fix]:
    """``emit f`` gets a label that is free; ``[train]`` is the only mode."""
    node = places.node(span)
    if isinstance(node, ast.Identifier):
        yield Fix("write `train`", (Edit(span, "train"),))
    elif isinstance(node, ast.Emit) and isinstance(node.body, ast.Labelled):
        yield from _rename(node.body.body.span, places)
    elif isinstance(node, ast.Emit):
        labels = places.labels(span)
        name = next(n for i in range(1, 10_000) if (n := f"aux{i}") not in labels)
        start = node.body.span.start
        yield Fix(f"name it `{name}`", (Edit(Span(span.source, start, start), f"{name}: "),))


def _superfluous(span: Span, places: Places) -> Iterator[Fix]:
    """An argument too many: without it, or without it and all behind it."""
    path = places.path(span)
    call = next((n for n in reversed(path) if isinstance(n, ast.Call)), None)
    for listed in (call.args or (), call.wires or ()) if call else ():
        for index, given in enumerate(listed):
            if given.span == span:
                start = listed[index - 1].span.end if index else span.start
                for end in dict.fromkeys((span.end, listed[-1].span.end)):
                    yield Fix("leave it out", (Edit(Span(span.source, start, end), ""),))


def _fixed(span: Span, places: Places) -> Iterator[Offer]:
    """A number that depends on the input's size is one when the input is fixed."""
    yield from fixed_inputs(places.nets(span))


_FAMILIES: dict[str, Callable[[Span, Places], Iterator[Offer]]] = {
    "E0306": _round, "E0208": _rename, "E0502": _identity, "E0408": _input,
    "E0503": _name_output, "E0305": _superfluous, "E0304": _superfluous, "E0214": _superfluous,
    "E0404": _fixed, "E0211": _end_recursion,
}  # fmt: skip
