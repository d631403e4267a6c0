"""Namespaces of a graph as drafts of classes: their children, and the statements of ``forward``.

Values are numbered inside a namespace: its inputs from 0, then what statements make. So two
namespaces that do the same have equal drafts, up to numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cnndsl.backends.torch.plan import Scope, Step, plan
from cnndsl.exporters.python import layers, terms
from cnndsl.graph.model import Graph, Node
from cnndsl.outline.families import Term

_WIDEST = 4  # operands of one expression: more take several statements


@dataclass
class Statement:
    """``targets`` are made by ``term``; ``train``: in training only; ``node``: whose type it is."""

    targets: tuple[int, ...]
    term: Term
    train: bool
    node: int


@dataclass
class Draft:
    """A namespace. ``children``: steps with weights by name, None for an inner namespace.

    ``chain``: the children's names when it is a mere sequence of layers, numbered from 0.
    ``noise``: modules without weights, by the number in ``("noise", number)``; ``plain``: steps
    without weights that could be modules, by name. ``inlined``: others do its work.
    """

    path: str
    children: dict[str, Node | None] = field(default_factory=dict)
    noise: list[Node] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    results: tuple[int, ...] = ()
    borrowed: list[str] = field(default_factory=list)
    chain: list[Node | None] | None = None
    live: bool = False
    plain: dict[str, Node] = field(default_factory=dict)
    numbered: bool = False
    inlined: bool = False

    def number(self) -> None:
        """Takes layers without weights as children where that makes the names 0, 1, ….

        Such a namespace is an ``nn.Sequential`` with a ``forward`` of its own.
        """
        names = [*self.children, *self.plain]
        whole = sorted(names) == sorted(map(str, range(len(names))))
        if not whole or not self.children or [*self.children] != sorted(self.children, key=int):
            return
        self.numbered = True
        both = {**self.children, **self.plain}
        self.children = {str(place): both[str(place)] for place in range(len(names))}


def drafts(graph: Graph) -> dict[str, Draft]:
    """Every namespace by path, inner ones behind those that hold them; "" is the network."""
    found = _children(graph)
    _Drafting(graph, found).scope(plan(graph))
    return found


def _children(graph: Graph) -> dict[str, Draft]:
    """Modules in the order of the text, as ``state_dict`` has them."""
    found = {"": Draft("")}
    for node in graph:
        if not node.inputs:
            continue
        space = _space(found, node.stands if node.again else node.space)
        if not node.again and layers.has_weights(node, graph.types_into(node)):
            space.children[node.path.rpartition(".")[2]] = node
        elif not node.again and layers.layer(node.op, graph.types_into(node)) is not None:
            space.plain[node.path.rpartition(".")[2]] = node
    for draft in found.values():
        if not any(node is not None and layers.bare(node.op) for node in draft.children.values()):
            draft.number()
    return found


def _space(found: dict[str, Draft], path: str) -> Draft:
    """The draft of a namespace; those around it are made first."""
    start = 0
    while path and path not in found:
        end = path.find(".", start)
        inner = path if end < 0 else path[:end]
        start = end + 1
        if inner not in found:
            outer, _, label = inner.rpartition(".")
            found[outer].children[label] = None
            found[inner] = Draft(inner)
    return found[path]


class _Drafting:
    def __init__(self, graph: Graph, found: dict[str, Draft]) -> None:
        self.graph, self.found = graph, found

    def scope(self, scope: Scope, train: bool = False) -> None:
        """Drafts a namespace, the inner ones first: what they borrow is known then.

        ``train``: it runs in training only, so that nothing in it has to ask.
        """
        for step in scope.steps:
            if step.scope is not None and not step.repeats:
                self.scope(step.scope, train or step.train)
        draft = self.found[scope.path]
        writer = _Writer(self.graph, draft, scope, self.found, train)
        for step in scope.steps:
            writer.step(step)
        draft.inputs, draft.live = list(scope.inputs), True
        draft.results = tuple(writer.numbers[i] for i in scope.outputs)
        draft.chain = _chain(self.graph, draft, scope)
        self._dissolve(draft)

    def _dissolve(self, draft: Draft) -> None:
        """A namespace without modules and without a name is written where it stands."""
        space, _, label = draft.path.rpartition(".")
        outer = self.found[space]
        empty = not (draft.children or draft.noise or draft.borrowed or draft.chain)
        if empty and draft.path and label.isdigit() and not outer.numbered:
            draft.inlined = True
            del outer.children[label]


class _Writer:
    """Turns the steps of one namespace into statements."""

    def __init__(
        self, graph: Graph, draft: Draft, scope: Scope, found: dict[str, Draft], train: bool
    ) -> None:
        self.graph, self.draft, self.found, self.train = graph, draft, found, train
        self.numbers = {i: number for number, i in enumerate(scope.inputs)}
        self.count = len(scope.inputs)

    def step(self, step: Step) -> None:
        if step.node is None:
            self._call(step)
        elif step.node.op.join:
            self._join(step)
        else:
            self._node(step, step.node)

    def _call(self, step: Step) -> None:
        assert step.scope is not None
        inner = self.found[step.scope.path]
        if inner.inlined:
            self._inline(step, inner)
            return
        wires = [terms.given(self._wire(i)) for i in step.reads]
        lent = [terms.given(("module", self._module(path))) for path in inner.borrowed]
        term = terms.call(self._module(inner.path), *wires, *lent)
        self._put(step, term, step.writes)

    def _inline(self, step: Step, inner: Draft) -> None:
        """The statements of a namespace that holds nothing: the pieces of a split."""
        wires = dict(enumerate(self.numbers[i] for i in step.reads))
        for statement in inner.statements:
            made = tuple(range(self.count, self.count + len(statement.targets)))
            self.count += len(made)
            wires.update(zip(statement.targets, made, strict=True))
            term = rewired(statement.term, wires)
            train = step.train and not self.train
            self.draft.statements.append(Statement(made, term, train, statement.node))
        self.numbers.update(zip(step.writes, (wires[i] for i in inner.results), strict=True))

    def _node(self, step: Step, node: Node) -> None:
        types, wire = self.graph.types_into(node), self._wire(node.inputs[0])
        if node.op.name == layers.FOLDED:
            self.numbers[node.id] = self.numbers[node.inputs[0]]
        elif layers.bare(node.op):
            weight = ("module", self._module(node.path))
            self._put(step, terms.text(wire, " * ", weight), [node.id])
        elif layers.has_weights(node, types) or self._is_child(node):
            value = layers.around(node.op, types[0], wire)
            term = terms.call(self._module(node.path), terms.given(value))
            self._put(step, term, [node.id])
        elif layers.drops(node.op):
            term = terms.call(self._noise(node), terms.given(wire))
            self._put(step, term, [node.id])
        else:
            self._put(step, layers.expression(node.op, types, wire), [node.id])

    def _join(self, step: Step) -> None:
        node = step.node
        assert node is not None
        wires = [self._wire(i) for i in node.inputs]
        if layers.drops(node.op):
            given = [terms.given(wire) for wire in wires]
            self._put(step, terms.call(self._noise(node), *given), [node.id])
        elif len(wires) == 1:
            self.numbers[node.id] = self.numbers[node.inputs[0]]
        elif node.op.name == "concat" or len(wires) <= _WIDEST:
            self._put(step, layers.join(node.op, wires), [node.id])
        else:
            self._long_join(step, node, wires)

    def _long_join(self, step: Step, node: Node, wires: list[Term]) -> None:
        """Piece by piece from the left, so that the rounding is that of one expression."""
        whole = layers.plain_join(node.op)
        while len(wires) > 1:
            self._put(step, layers.join(whole, wires[:_WIDEST]), [node.id])
            wires = [self._wire(node.id), *wires[_WIDEST:]]
        if node.op.name in ("mean", "join"):
            shared = terms.text(wires[0], f" / {len(node.inputs)}")
            self._put(step, shared, [node.id])

    def _put(self, step: Step, term: Term, ids: Sequence[int]) -> None:
        targets = range(self.count, self.count + len(ids))
        self.count += len(ids)
        self.numbers.update(zip(ids, targets, strict=True))
        node = ids[0] if len(ids) == 1 else -1
        train = step.train and not self.train
        self.draft.statements.append(Statement(tuple(targets), term, train, node))

    def _is_child(self, node: Node) -> bool:
        space, _, name = node.path.rpartition(".")
        mine = space == self.draft.path and self.draft.numbered
        return mine and not node.op.join and self.draft.children.get(name) is not None

    def _wire(self, i: int) -> Term:
        return ("wire", self.numbers[i])

    def _noise(self, node: Node) -> Term:
        self.draft.noise.append(node)
        return ("noise", len(self.draft.noise) - 1)

    def _module(self, path: str) -> Term:
        """A child at any depth, or what a namespace further out lends."""
        here = self.draft.path
        if not here or path.startswith(f"{here}."):
            space, _, name = path.rpartition(".")
            owner = self.found[space].children.get(name)
            kind = "weight" if owner is not None and layers.bare(owner.op) else "child"
            return (kind, path[len(here) + 1 :] if here else path)
        if path not in self.draft.borrowed:
            self.draft.borrowed.append(path)
        return ("borrowed", self.draft.borrowed.index(path))


def _chain(graph: Graph, draft: Draft, scope: Scope) -> list[Node | None] | None:
    """The layers of a namespace that is an ``nn.Sequential``, else None."""
    if len(scope.inputs) != 1 or len(scope.outputs) != 1 or not scope.path or draft.borrowed:
        return None
    found: list[Node | None] = []
    current, names = scope.inputs[0], []
    for step in scope.steps:
        if step.reads != [current] or len(step.writes) != 1 or not _layered(graph, step):
            return None
        path = step.scope.path if step.scope is not None else step.node.path  # type: ignore[union-attr]
        space, _, name = path.rpartition(".")
        if space != draft.path:
            return None
        found.append(step.node)
        names.append(name)
        current = step.writes[0]
    numbered = names == [str(place) for place in range(len(names))]
    whole = current == scope.outputs[0] and all(name in names for name in draft.children)
    return found if numbered and whole else None


def _layered(graph: Graph, step: Step) -> bool:
    """Whether a step is a layer of its own."""
    if step.repeats or step.train:
        return False
    node = step.node
    if node is None:
        return True
    types = graph.types_into(node)
    if node.again or node.op.join or layers.layer(node.op, types) is None:
        return False
    return bool(layers.around(node.op, types[0], "") == "")


def rewired(term: Term, wires: dict[int, int]) -> Term:
    """The expression with other numbers for values."""
    if not isinstance(term, tuple):
        return term
    if len(term) == 2 and term[0] == "wire":
        return ("wire", wires[term[1]])
    return tuple(rewired(part, wires) for part in term)


def around(drafts: dict[str, Draft], path: str) -> Iterator[str]:
    """The namespaces directly in one."""
    for name, node in drafts[path].children.items():
        if node is None:
            yield f"{path}.{name}" if path else name
