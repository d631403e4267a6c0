"""Names and parameters of every declaration, used or not, before anything is expanded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cnndsl.diagnostics import Collector
from cnndsl.ops import catalogue, find_op
from cnndsl.semantics import errors
from cnndsl.semantics.kinds import Kind, kind_of, name_kind
from cnndsl.semantics.numbers import FUNCTIONS
from cnndsl.semantics.values import Definition, Scope
from cnndsl.semantics.vocabulary import words
from cnndsl.source import Span
from cnndsl.syntax import ast

_BUILT_IN = {*FUNCTIONS, "oneof", "in"}
_SIZES = ("channels", "height", "width")


def resolve(scope: Scope, module: ast.Module, found: Collector) -> None:
    """Reports unknown names, misfit parameters, mixed kinds, and what is never used."""
    used: set[str] = set()
    for tree in module.declarations:
        definition = scope.names.get(tree.name.text)
        if definition is not None and definition.tree is tree:
            used |= _Checker(definition, found).check()
    for imported in module.imports:
        for name in imported.names:
            if name.text not in used and name.text not in scope.missing:
                if name.text in scope.names:
                    found.add(errors.unused(name.span, "import", name.text))


class _Checker:
    """One declaration."""

    def __init__(self, definition: Definition, found: Collector) -> None:
        self.scope, self.tree, self.found = definition.scope, definition.tree, found
        self.locals: dict[str, tuple[str, Span]] = {}
        self.used: set[str] = set()
        self.symbols: set[str] = set()
        self.labels: set[str] = set()
        self.open_labels = False
        self.scoped: set[str] = set()
        self.exempt: set[int] = set()

    def check(self) -> set[str]:
        """The names this declaration uses."""
        self._declare()
        roots: list[ast.Node] = [*self.tree.params, self.tree.body]
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
            for node in ast.walk(given.dims):
                if isinstance(node, ast.Name):
                    self.used.add(node.name)
                    self.symbols.add(node.name)
        self._bind("let", [name for let in self.tree.body.lets for name in let.names])

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
            self.open_labels |= len(parts) > 1
        elif isinstance(node, ast.Body):
            self.scoped.update(call.callee.name for call in node.defaults)
        elif isinstance(node, ast.Ascribed):
            # sizes may speak of the network's symbols, which a block does not see
            self.exempt.update(id(n) for n in ast.walk(node.dims) if isinstance(n, ast.Name))

    # --- what is wrong --------------------------------------------------------------------

    def _examine(self, node: ast.Node) -> None:
        if isinstance(node, ast.Name):
            self._name(node)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Attribute) and node.name.text not in _SIZES:
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
        candidates = [*self.locals, *self.scope.names, *catalogue(), *_BUILT_IN, *words()]
        self.found.add(errors.unknown_name(node.span, name, "name", candidates))
        self.exempt.add(id(node))

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
        name = node.names[0].text
        if name not in self.labels and not self.open_labels:
            span = node.names[0].span
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
        if name in self.locals:
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
