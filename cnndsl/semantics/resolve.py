"""Names and parameters of every declaration, used or not, before anything is expanded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cnndsl.diagnostics import Collector, Diagnostic
from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.ops import Op, catalogue, find_op, load_plugins
from cnndsl.semantics import errors
from cnndsl.semantics.evaluate import SIZES
from cnndsl.semantics.kinds import Kind, kind_of, name_kind
from cnndsl.semantics.numbers import FUNCTIONS
from cnndsl.semantics.values import Definition, Scope
from cnndsl.semantics.vocabulary import words
from cnndsl.source import Span
from cnndsl.syntax import ast

_BUILT_IN = (*FUNCTIONS, "oneof", "in")
_COMPARED = 10_000  # names that all unknown ones together are compared with
_COUNTED = ("params", "macs")


def resolve(scope: Scope, module: ast.Module, collector: Collector) -> None:
    """Reports unknown names, misfit parameters, mixed kinds, and what is never used."""
    used: set[str] = set()
    found = Collector()
    unknown = Unknowns()
    for tree in module.declarations:
        definition = scope.names.get(tree.name.text)
        if definition is not None and definition.tree is tree:
            used |= _Checker(definition, found, unknown).check()
    found.extend(unknown.diagnostics)
    _unused_imports(scope, module, used, found)
    collector.extend(sorted(found.all, key=lambda d: d.span.start if d.span else 0))


def _unused_imports(scope: Scope, module: ast.Module, used: set[str], found: Collector) -> None:
    perhaps = {*used, *scope.missing, *module.unread}
    for imported in module.imports:
        for name in imported.names:
            if name.text in scope.names and name.text not in perhaps:
                found.add(errors.unused(name.span, "import", name.text))


class Unknowns:
    """Names that nobody knows: one diagnostic for each, wherever it is written."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str | None], list[Span]] = {}
        self._kinds: dict[tuple[str, str | None], str] = {}
        self._notes: dict[tuple[str, str | None], str] = {}
        self.compared = 0
        """How many names unknown ones were compared with."""

    def add(self, span: Span, name: str, what: str, near: str | None, note: str = "") -> None:
        self._places.setdefault((name, near), []).append(span)
        self._kinds.setdefault((name, near), what)
        if note:
            self._notes.setdefault((name, near), note)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        return [
            errors.unknown_name(places, name, what, near, self._remarks(name, what, near))
            for (name, near), places in self._places.items()
            for what in [self._kinds[name, near]]
        ]

    def _remarks(self, name: str, what: str, near: str | None) -> Iterable[str]:
        note = self._notes.get((name, near))
        return [note] if note else _broken_packages(what, near)


def _broken_packages(what: str, near: str | None) -> Iterable[str]:
    """A layer that is like no other may be one of a package that failed to load."""
    return map(str, load_plugins()) if what == "layer" and near is None else ()


class _Checker:
    """One declaration."""

    def __init__(self, definition: Definition, found: Collector, unknown: Unknowns) -> None:
        self.scope, self.tree, self.found = definition.scope, definition.tree, found
        self.unknown = unknown
        self.locals: dict[str, tuple[str, Span]] = {}
        self.used: set[str] = set()
        self.symbols: set[str] = set()
        self.labels: set[str] = set()
        self.open_labels = False
        self.scoped: set[str] = set()
        self.exempt: set[int] = set()
        self.steps: set[int] = set()
        """Expressions that stand where a layer is needed."""
        self.wanted: dict[int, tuple[str, tuple[str, ...]]] = {}
        """For names in arguments that can be words: whose argument, and which words."""

    def check(self) -> set[str]:
        """The names this declaration uses."""
        self._declare()
        asserted = [clause for clause in self.tree.clauses if clause.kind == "assert"]
        roots: list[ast.Node] = [*self.tree.params, self.tree.body, *asserted]
        nodes = list(ast.walk(*roots))
        for node in nodes:
            self._collect(node)
        for node in nodes:
            self._examine(node)
        for name, (what, span) in self.locals.items():
            if name not in self.used and what != "tap":
                self.found.add(errors.unused(span, what, name))
        return self.used

    # --- what is visible ------------------------------------------------------------------

    def _declare(self) -> None:
        self._bind("parameter", [p.name for p in self.tree.params])
        self._bind("wire", self.tree.wires)
        self._bind("wire", [i.name for i in self.tree.inputs if i.name])
        for given in self.tree.inputs:
            self._name_input(given.name)
            for node in ast.walk(given.dims):
                if isinstance(node, ast.Name):
                    self.used.add(node.name)
                    self.symbols.add(node.name)
        self._bind("let", [name for let in self.tree.body.lets for name in let.names])

    def _name_input(self, given: ast.Identifier | None) -> None:
        """An input's name is the network's interface: it hides no layer and no declaration."""
        declared = self.scope.names.get(given.text) if given else None
        if given and find_op(given.text):  # it could not be printed flat
            self.found.add(errors.shadows_operator(given.span, given.text))
        elif given and declared:
            self.found.add(errors.declared_twice(given.span, declared.tree.name.span, given.text))

    def _bind(self, what: str, names: Iterable[ast.Identifier]) -> None:
        for name in names:
            first = self.locals.get(name.text)
            if first is not None:
                self.found.add(errors.declared_twice(name.span, first[1], name.text))
            self.locals.setdefault(name.text, (what, name.span))

    def _collect(self, node: ast.Node) -> None:
        if isinstance(node, ast.Tap):
            self.locals.setdefault(node.name.text, ("tap", node.name.span))
        elif isinstance(node, ast.For):
            self.locals.setdefault(node.variable.text, ("tap", node.variable.span))
        elif isinstance(node, ast.Labelled):
            parts = node.label.parts
            self.labels.add(str(parts[0]))
            self.steps.add(id(node.body))
            self.open_labels |= len(parts) > 1
        elif isinstance(node, ast.Body):
            self.scoped.update(call.callee.name for call in node.defaults)
            if self.tree.kind != "def":
                self.steps.update(map(id, node.results))
        elif isinstance(node, ast.Chain):
            self.steps.update(map(id, node.steps))
        elif isinstance(node, ast.Clause):
            self.symbols.update(_COUNTED)
        elif isinstance(node, ast.Ascribed):
            # sizes may speak of the network's symbols, which a block does not see
            self.exempt.update(id(n) for n in ast.walk(node.dims) if isinstance(n, ast.Name))

    # --- what is wrong --------------------------------------------------------------------

    def _examine(self, node: ast.Node) -> None:
        if isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Attribute) and node.name.text not in SIZES:
            self.found.add(errors.unknown_attribute(node.name.span, node.name.text))
        elif isinstance(node, ast.Infix):
            self._infix(node)
        elif isinstance(node, ast.Again):
            self._again(node)

    def _name(self, node: ast.Name) -> None:
        name = node.name
        self.used.add(name)
        if self._known(name) or (id(node) in self.exempt and name[0].isupper()):
            return
        layer = id(node) in self.steps
        place, choices = self.wanted.get(id(node), ("", ()))
        near = did_you_mean(name, choices) or self._near(name, layer)
        note = f"{place} takes {' or '.join(choices)}" if choices else ""
        self.unknown.add(node.span, name, "layer" if layer else "name", near, note)
        self.used.add(near or name)
        self.exempt.add(id(node))

    def _near(self, name: str, layer: bool) -> str | None:
        """What may have been meant; a file of thousands of names is not searched for each."""
        known = [*self.locals, *self.scope.names, *catalogue(), *_BUILT_IN, *sorted(self.symbols)]
        known += [] if layer else sorted(words())
        self.unknown.compared += len(known)
        return did_you_mean(name, known) if self.unknown.compared <= _COMPARED else None

    def _known(self, name: str) -> bool:
        return (
            name in self.locals
            or name in self.scope.names
            or name in self.scope.missing
            or name in catalogue()
            or name in _BUILT_IN
            or name in words()
            or name in self.symbols
            or find_op(name) is not None
        )

    def _again(self, node: ast.Again) -> None:
        first, *rest = node.module.parts
        name = str(first).partition(".")[0]
        computed = bool(rest) and not isinstance(rest[0], str)
        if name not in self.labels and not self.open_labels and not computed:
            span = node.module.span
            self.found.add(errors.no_such_module(span, name, sorted(self.labels)))

    def _infix(self, node: ast.Infix) -> None:
        kinds = [kind_of(operand, self._look, self.scope) for operand in node.operands]
        if "layer" not in kinds:
            return
        if node.op in "-/%":
            message = f"`{node.op}` needs numbers, and this is a layer"
            at = node.operands[kinds.index("layer")].span
            self.found.add(errors.wrong_kind(at, message))
        elif "number" in kinds:
            at = node.operands[kinds.index("number")].span
            message = f"a number {_SUMS.get(node.op, 'joined with')} a layer: this is a number"
            self.found.add(errors.wrong_kind(at, message))

    def _look(self, name: str) -> Kind:
        what = self.locals.get(name)
        if what is not None or name in self.symbols:
            return "layer" if what and what[0] == "wire" else None
        return "layer" if name == "in" else name_kind(name, self.scope)

    def _call(self, node: ast.Call) -> None:
        name = node.callee.name
        if id(node) in self.steps:
            self.steps.add(id(node.callee))
        if name in self.locals or name in self.scope.missing:
            return
        definition = self.scope.names.get(name)
        if definition is not None:
            params = definition.tree.params
            required = [p.name.text for p in params if p.default is None]
            self._arguments(node, name, [p.name.text for p in params], required)
            return
        op = catalogue().get(name)
        if op is not None:
            scoped = name in self.scoped or not node.args
            required = [] if scoped else [k for k, p in op.params.items() if p.required]
            self._arguments(node, name, list(op.params), required, join=op.join)
            self._want_words(node, op)

    def _want_words(self, node: ast.Call, op: type[Op]) -> None:
        """Remembers which words an argument can be, for a name in it that nobody knows."""
        names = list(op.params)
        for position, argument in enumerate(node.args or ()):
            name = argument.name.text if argument.name else "".join(names[position : position + 1])
            choices = op.params[name].choices if name in op.params else ()
            if choices:
                place = f"`{name}` of `{op.name}`"
                for inner in ast.walk(argument.value):
                    self.wanted[id(inner)] = (place, choices)

    def _arguments(
        self,
        node: ast.Call,
        owner: str,
        names: Sequence[str],
        required: Sequence[str],
        join: bool = False,
    ) -> None:
        arguments = node.args or ()
        given: set[str] = set()
        positional = [a for a in arguments if a.name is None]
        if not join and len(positional) > len(names):
            at = positional[len(names)].span
            self.found.add(errors.too_many(at, owner, len(arguments), len(names)))
            return
        given.update(names[: 0 if join else len(positional)])
        sound = True
        for argument in arguments:
            if argument.name is None:
                continue
            name = argument.name.text
            if name not in names:
                self.found.add(errors.unknown_parameter(argument.name.span, owner, name, names))
                sound = False
            elif name in given:
                self.found.add(errors.given_twice(argument.span, owner, name))
                sound = False
            given.add(name)
        missing = [name for name in required if name not in given]
        if missing and sound and not self._is_default(node):
            self.found.add(errors.missing_parameter(node.span, owner, missing))

    def _is_default(self, node: ast.Call) -> bool:
        return any(node is call for call in self.tree.body.defaults)


_SUMS = {"+": "plus", "*": "times"}
