"""Is a graph what every stage takes it for? Run by the tests on every graph, after every pass.

What it finds is a mistake of ours, never of the text: those are diagnostics by now.
"""

from __future__ import annotations

from cnndsl.graph.cost import weights_of
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import infer
from cnndsl.graph.model import Graph, Node
from cnndsl.graph.spaces import around, spaces
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.ops.base import RuleError
from cnndsl.ops.types import Type, Unknown


class InternalError(Exception):
    """A graph that the compiler should not have made. ``node``: where, if at one place."""

    def __init__(self, message: str, node: Node | None = None) -> None:
        super().__init__(f"{message}: {node}" if node else message)
        self.node = node


def verify(graph: Graph, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raises InternalError at the first thing that does not hold.

    Inputs come first and exist; types and facts are what inference gives; a module path has
    one owner, which comes before those that share its weights; a namespace's steps stand
    together; outputs exist.
    """
    _wires(graph)
    _paths(graph)
    _namespaces(graph)
    _types(graph, limits)
    _outputs(graph)


def _wires(graph: Graph) -> None:
    seen: set[int] = set()
    for key, node in graph.nodes.items():
        if key != node.id:
            raise InternalError(f"a node is kept as %{key}", node)
        if node.op.name == "input" and node.inputs:
            raise InternalError("an input reads something", node)
        if node.op.name != "input" and not node.inputs:
            raise InternalError("a step reads nothing", node)
        for i in node.inputs:
            if i not in seen:
                why = "comes later" if i in graph.nodes else "does not exist"
                raise InternalError(f"%{i} is read and {why}", node)
        seen.add(node.id)
    if not graph.inputs:
        raise InternalError("a network without inputs")


def _paths(graph: Graph) -> None:
    """One module per path; who shares it has its operator and its weights."""
    owners: dict[str, Node] = {}
    for node in graph:
        if node.op.join or not node.inputs:
            continue
        owner = owners.setdefault(node.path, node)
        if owner is node and node.shared:
            raise InternalError("it shares a module that nobody owns", node)
        if owner is not node:
            _sharing(graph, node, owner)


def _sharing(graph: Graph, node: Node, owner: Node) -> None:
    if not node.shared:
        raise InternalError(f"its path is that of %{owner.id}", node)
    if node.op != owner.op:
        raise InternalError(f"it shares the module of %{owner.id}, another operator", node)
    if node.op.weights(*graph.types_into(node)) != weights_of(graph, owner):
        raise InternalError(f"it needs other weights than %{owner.id}", node)


def _namespaces(graph: Graph) -> None:
    steps = [node for node in graph if node.inputs]
    over: set[str] = set()
    here: set[str] = set()
    for node, space in zip(steps, spaces(steps), strict=True):
        now = set(around(space))
        over |= here - now
        if now & over:
            raise InternalError("its namespace was left before", node)
        here = now


def _types(graph: Graph, limits: Limits) -> None:
    """Facts only grow, so of what holds once, on the very same values, nothing new is learnt."""
    facts = graph.facts.stated()
    known: dict[tuple[int, ...], Type] = {}
    for node in graph:
        xs = graph.types_into(node)
        alike = id(node.op), *map(id, xs)
        if known.get(alike) is not node.type:
            _type(node, xs, facts, limits)
            known[alike] = node.type
    if facts.signature() != graph.facts.signature():
        raise InternalError("other sizes are valid than the graph says")


def _type(node: Node, xs: list[Type], facts: Facts, limits: Limits) -> None:
    if isinstance(node.type, Unknown):
        raise InternalError("its type is unknown", node)
    if not node.inputs:
        for size in (getattr(node.type, "height", 1), getattr(node.type, "width", 1)):
            facts.reach(size)
        return
    try:
        found = infer(node.op, xs, facts, limits, node.id)
    except RuleError as error:
        raise InternalError(f"a rule does not hold ({error.message})", node) from error
    if found != node.type:
        raise InternalError(f"inference gives {found}", node)


def _outputs(graph: Graph) -> None:
    names = [output.name for output in graph.outputs]
    if len(set(names)) < len(names) or not names:
        raise InternalError(f"the outputs are {names}")
    for output in graph.outputs:
        if output.node not in graph.nodes:
            raise InternalError(f"the output {output.name} is %{output.node}, which does not exist")
