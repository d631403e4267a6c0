"""Where in the text a change goes: tree nodes by place, and edits that keep the text readable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnndsl.diagnostics import Edit
from cnndsl.source import Source, Span
from cnndsl.syntax import ast

_WRAPPERS = (ast.Labelled, ast.Tap, ast.Ascribed)
_ONE_STEP = (ast.If, ast.For, ast.Emit, ast.Power, *_WRAPPERS)


class Places:
    """The trees of a program's files, searched by span."""

    def __init__(self, modules: Mapping[Source, ast.Module]) -> None:
        self._modules = modules

    def path(self, span: Span) -> list[ast.Node]:
        """The nodes around a place, outermost first; the last one is that place exactly.

        Empty when no node is there.
        """
        module = self._modules.get(span.source)
        roots: Iterable[ast.Node] = (*module.imports, *module.declarations) if module else ()
        path: list[ast.Node] = []
        found: list[ast.Node] = []
        while True:
            inner = next((n for n in roots if _covers(n.span, span)), None)
            if inner is None:
                return found
            path.append(inner)
            if inner.span == span:
                found = list(path)
            roots = ast.children(inner)

    def node(self, span: Span) -> ast.Node | None:
        """The innermost node that takes exactly this place."""
        path = self.path(span)
        return path[-1] if path else None

    def declaration(self, span: Span) -> ast.Declaration | None:
        """The declaration that a place belongs to."""
        module = self._modules.get(span.source)
        declarations = module.declarations if module else ()
        return next((d for d in declarations if _covers(d.span, span)), None)

    def names(self, source: Source, name: str) -> list[Span]:
        """Every use of a name in a file."""
        module = self._modules.get(source)
        nodes = ast.walk(*module.declarations) if module else ()
        return [n.span for n in nodes if isinstance(n, ast.Name) and n.name == name]

    def nets(self, span: Span) -> list[ast.Declaration]:
        """The nets of a place's file."""
        module = self._modules.get(span.source)
        return [d for d in module.declarations if d.kind == "net"] if module else []

    def labels(self, span: Span) -> set[str]:
        """Every label of the surrounding declaration."""
        around = self.declaration(span)
        nodes = ast.walk(around) if around else ()
        return {str(n.label.parts[0]) for n in nodes if isinstance(n, ast.Labelled)}


def _covers(outer: Span, inner: Span) -> bool:
    return outer.source is inner.source and outer.start <= inner.start and inner.end <= outer.end


# --- arguments --------------------------------------------------------------------------------


def argument(call: ast.Node | None, names: Iterable[str], name: str) -> ast.Argument | None:
    """The argument that a call gives to a parameter, by name or by place."""
    if not isinstance(call, ast.Call):
        return None
    for given, declared in zip(call.args or (), names, strict=False):
        if given.name is None and declared == name:
            return given
    return next((a for a in call.args or () if a.name and a.name.text == name), None)


def set_argument(call: ast.Node, names: Iterable[str], name: str, value: str) -> Edit | None:
    """The edit that gives a parameter another value; None where the text has no call."""
    if isinstance(call, ast.Name):
        return _insert(call.span.source, call.span.end, f"({name}={value})")
    if not isinstance(call, ast.Call):
        return None
    known = argument(call, names, name)
    if known is not None:
        return Edit(known.value.span, value)
    source = call.span.source
    if not call.args:
        at = call.callee.span.end
        opened = call.args is not None
        return _insert(source, at + opened, f"{name}={value}" if opened else f"({name}={value})")
    return _insert(source, call.args[-1].span.end, f", {name}={value}")


def drop_argument(call: ast.Node, name: str) -> Edit | None:
    """The edit that leaves a named argument out."""
    if not isinstance(call, ast.Call) or not call.args:
        return None
    for index, given in enumerate(call.args):
        if given.name is not None and given.name.text == name:
            source = call.span.source
            if index:
                return Edit(Span(source, call.args[index - 1].span.end, given.span.end), "")
            if len(call.args) > 1:
                return Edit(Span(source, given.span.start, call.args[1].span.start), "")
            return Edit(given.span, "")
    return None


# --- steps ------------------------------------------------------------------------------------


def before(path: list[ast.Node], text: str) -> tuple[Edit, ...]:
    """Edits that put steps before the one at the end of ``path``."""
    step, bare = _step(path)
    source, start, end = step.span
    if bare:
        return (_insert(source, start, f"{text} -> "),)
    return _insert(source, start, f"({text} -> "), _insert(source, end, ")")


def after(path: list[ast.Node], text: str) -> tuple[Edit, ...]:
    """Edits that put steps behind the one at the end of ``path``."""
    step, bare = _step(path)
    source, start, end = step.span
    if bare and not isinstance(step, ast.Infix):
        return (_insert(source, end, f" -> {text}"),)
    return _insert(source, start, "("), _insert(source, end, f") -> {text}")


def without(path: list[ast.Node]) -> tuple[Edit, ...]:
    """Edits that take a step out of its chain; ``id`` where it stands alone."""
    step, _ = _step(path)
    at = next((i for i, node in enumerate(path) if node is step), 0)
    chain = path[at - 1] if at else None
    if not isinstance(chain, ast.Chain):
        return (Edit(step.span, "id"),)
    index = next(i for i, node in enumerate(chain.steps) if node is step)
    source = step.span.source
    if index:
        return (Edit(Span(source, chain.steps[index - 1].span.end, step.span.end), ""),)
    return (Edit(Span(source, step.span.start, chain.steps[1].span.start), ""),)


def _step(path: list[ast.Node]) -> tuple[ast.Node, bool]:
    """The step with its label and taps, and whether others can stand beside it as it is."""
    at = len(path) - 1
    while at and isinstance(path[at - 1], _WRAPPERS):
        at -= 1
    return path[at], not (at and isinstance(path[at - 1], _ONE_STEP))


def _insert(source: Source, at: int, text: str) -> Edit:
    return Edit(Span(source, at, at), text)
