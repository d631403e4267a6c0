"""Namespaces as stretches of a graph: where each step stands.

A namespace is opened once in the text, so its steps stand together. What `again` repeats has
paths of a namespace that is over, and stands where the `again` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnndsl.graph.model import Node


def spaces(steps: Sequence[Node]) -> Iterator[str]:
    """For each step the namespace in which it stands; steps in the graph's order."""
    last: dict[str, int] = {}
    for index, node in enumerate(steps):
        if not node.again:
            for space in around(node.space):
                last[space] = index
    here = ""
    for index, node in enumerate(steps):
        if not node.again:
            here = node.space
        while here and last[here] < index:  # over: only what is repeated comes behind the end
            here = here.rpartition(".")[0]
        yield here


def around(space: str) -> Iterator[str]:
    """The namespace and all that hold it, innermost first; not the network itself."""
    while space:
        yield space
        space = space.rpartition(".")[0]
