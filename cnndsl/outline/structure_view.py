"""A graph made ready for its text: the same function, wires and weights, in a plainer order.

What the language cannot say or nobody would write is undone: joins of one operand, joins that
stand in a module though everything they read is outside, namespaces without weights, and
concatenations that repeat a list where the one before already holds its beginning. Joins that
the language has made flat are nested again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import count, groupby

from cnndsl.graph.cost import weights_of
from cnndsl.graph.model import Graph, Node, Output
from cnndsl.graph.spaces import around, child


def plain_view(graph: Graph, *, flat: bool) -> Graph:
    """The graph with nodes of the same ids; ``flat``: without namespaces.

    Paths of weightless steps and of joins say no more than where they stand. Joins of joins, which
    dissolve when the text is read, have ids that the graph has not.
    """
    nodes = _rewired(graph)
    weighty = {node.id for node in graph if weights_of(graph, node)}
    if flat:
        nodes = [_moved(node, "") if node.inputs else node for node in nodes]
    else:
        nodes = _nested(_hoisted(_dissolved(nodes, weighty)), graph.outputs)
    left = {node.id for node in nodes}
    alias = _aliases(graph)
    outputs = tuple(
        Output(o.name, o.node if o.node in left else alias[o.node], o.emitted, o.train)
        for o in graph.outputs
    )
    return Graph(graph.name, {n.id: n for n in nodes}, outputs, graph.facts, graph.parameters)


def _aliases(graph: Graph) -> dict[int, int]:
    """Joins of one operand by what they are."""
    found: dict[int, int] = {}
    for node in graph:
        if node.op.join and len(node.inputs) == 1:
            found[node.id] = found.get(node.inputs[0], node.inputs[0])
    return found


def _rewired(graph: Graph) -> list[Node]:
    """Without joins of one operand; a concatenation continues the one that holds its start."""
    alias = _aliases(graph)
    known: dict[tuple[int, ...], int] = {}
    starts: set[tuple[int, ...]] = set()
    nodes = []
    for node in graph:
        if node.id in alias:
            continue
        inputs = tuple(alias.get(i, i) for i in node.inputs)
        if node.op.name == "concat":
            whole = inputs
            inputs = _continued(inputs, known) if whole[:2] in starts else inputs
            known.setdefault(whole, node.id)
            starts.add(whole[:2])
        nodes.append(_with(node, inputs=inputs))
    return nodes


def _continued(inputs: tuple[int, ...], known: dict[tuple[int, ...], int]) -> tuple[int, ...]:
    for length in range(len(inputs) - 1, 1, -1):
        earlier = known.get(inputs[:length])
        if earlier is not None:
            return (earlier, *inputs[length:])
    return inputs


def _dissolved(nodes: list[Node], weighty: set[int]) -> list[Node]:
    """What is in a namespace without weights stands in the one around it."""
    held = {space for node in nodes if node.id in weighty for space in around(node.space)}
    result = []
    for node in nodes:
        space = node.space
        while space and space not in held:
            space = space.rpartition(".")[0]
        result.append(node if space == node.space or not node.inputs else _moved(node, space))
    return result


def _hoisted(nodes: list[Node]) -> list[Node]:
    """A join that reads nothing of its namespace stands before it."""
    where: dict[int, str] = {}
    order: list[list[Node]] = []
    opened: dict[str, int] = {}
    for node in nodes:
        place, outer = len(order), node.space
        if node.op.join:
            while outer and not any(_inside(where[i], outer) for i in node.inputs):
                place = opened.get(outer, place)
                outer = outer.rpartition(".")[0]
        if place < len(order):
            order[place].insert(len(order[place]) - 1, _moved(node, outer))
        else:
            order.append([node if outer == node.space else _moved(node, outer)])
        where[node.id] = outer if node.inputs else ""
        for space in around(outer):
            opened.setdefault(space, len(order) - 1)
    return [node for group in order for node in group]


def _nested(nodes: list[Node], outputs: Sequence[Output]) -> list[Node]:
    """A namespace that hands several values on to one `join` joins them itself."""
    read = Counter([*(i for node in nodes for i in node.inputs), *(o.node for o in outputs)])
    where = {node.id: node.space for node in nodes}
    last = {space: node.id for node in nodes for space in around(node.space)}
    behind: dict[int, list[Node]] = defaultdict(list)
    fresh = count(max(where, default=0) + 1)

    def nested(join: Node) -> Node:
        inputs: list[int] = []
        for space, group in groupby(join.inputs, lambda i: _handing(i, where, read, join.space)):
            found = tuple(group)
            if space and 1 < len(found) < len(join.inputs):
                inner = Node(next(fresh), join.op, found, join.type, f"{space}.join")
                behind[last[space]].append(nested(inner))
                found = (inner.id,)
            inputs += found
        return _with(join, inputs=tuple(inputs))

    made = {node.id: nested(node) for node in nodes if node.op.name == "join"}
    return [step for node in nodes for step in (made.get(node.id, node), *behind[node.id])]


def _handing(i: int, where: Mapping[int, str], read: Mapping[int, int], outer: str) -> str:
    """The namespace in ``outer`` that hands on a value which nothing else reads; else ""."""
    inside = not outer or _inside(where[i], outer)
    return child(where[i], outer) if inside and read[i] == 1 else ""


def _inside(space: str, outer: str) -> bool:
    return f"{space}.".startswith(f"{outer}.")


def _moved(node: Node, space: str) -> Node:
    own = node.path.rpartition(".")[2]
    return _with(node, path=f"{space}.{own}" if space else own)


def _with(node: Node, *, inputs: tuple[int, ...] | None = None, path: str | None = None) -> Node:
    stands = node.stands if node.again else None
    return Node(
        node.id, node.op, node.inputs if inputs is None else inputs, node.type,
        node.path if path is None else path, node.span, node.frame, stands,
    )  # fmt: skip
