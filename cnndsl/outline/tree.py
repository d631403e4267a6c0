"""A graph as the tree of its namespaces.

Every namespace is one stretch of the graph (``cnndsl.graph.spaces``), so the tree keeps the
graph's order: reading its items from first to last, and the inner ones in place, gives the
graph again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from cnndsl.graph.model import Frame, Graph, Node
from cnndsl.graph.spaces import child, spaces


@dataclass(frozen=True)
class Space:
    """A namespace: its steps and inner namespaces, and which values go in and come out.

    ``inputs``: ids of values made outside, in the order of their first reading;
    ``results``: ids of values that are read behind it or that the network returns, in the
    order of their making. A step that `again` made stands where the text has it.
    """

    path: str
    items: tuple[Node | Space, ...]
    inputs: tuple[int, ...]
    results: tuple[int, ...]

    @property
    def label(self) -> str:
        return self.path.rpartition(".")[2]

    def nodes(self) -> Iterator[Node]:
        """All steps, those of inner namespaces included, in the graph's order."""
        for item in self.items:
            if isinstance(item, Space):
                yield from item.nodes()
            else:
                yield item

    def spaces(self) -> Iterator[Space]:
        """The inner namespaces at any depth, each behind those that it holds."""
        for item in self.items:
            if isinstance(item, Space):
                yield from item.spaces()
                yield item


def tree(graph: Graph) -> Space:
    """The network's own namespace, "", with all others in it."""
    steps = [node for node in graph if node.inputs]
    place = {node.id: k for k, node in enumerate(graph)}  # ids need not be in order
    last = {i: max(map(place.__getitem__, by), default=-1) for i, by in graph.consumers().items()}
    where = {node.id: space for node, space in zip(steps, spaces(steps), strict=True)}
    return _Grower(where, place, last, {o.node for o in graph.outputs}).space("", steps)


class _Grower:
    def __init__(
        self,
        where: Mapping[int, str],
        place: Mapping[int, int],
        last: Mapping[int, int],
        returned: set[int],
    ) -> None:
        self.where, self.place, self.last, self.returned = where, place, last, returned

    def space(self, path: str, nodes: Sequence[Node]) -> Space:
        items: list[Node | Space] = []
        for space, group in groupby(nodes, key=lambda node: child(self.where[node.id], path)):
            members = list(group)
            items.extend([self.space(space, members)] if space else members)
        made = {node.id for node in nodes}
        read = (i for node in nodes for i in node.inputs if i not in made)
        end = self.place[nodes[-1].id] if nodes else -1
        left = (n.id for n in nodes if self.last[n.id] > end or n.id in self.returned)
        return Space(path, tuple(items), tuple(dict.fromkeys(read)), tuple(left))


def declared(space: Space) -> Frame | None:
    """The call that the whole namespace comes from: its name and arguments are the text's.

    None where the text only wrote a label around several steps, and for graphs without text.
    """
    found: Frame | None = None
    for node in space.nodes():
        frame = _outermost(node.frame, space.path)
        if frame is None or (found is not None and frame is not found):
            return None
        found = frame
    return found


def _outermost(frame: Frame | None, path: str) -> Frame | None:
    """The outermost declaration that was expanded at a path."""
    found = None
    while frame is not None:
        if frame.path == path and frame.given is not None:
            found = frame
        frame = frame.parent
    return found
