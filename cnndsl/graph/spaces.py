"""Namespaces as stretches of a graph: where each step stands.

A namespace is opened once in the text, so its steps stand together. What `again` repeats has
paths of a namespace that is over, and stands where the `again` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnndsl.graph.model import Node


def spaces(steps: Sequence[Node]) -> Iterator[str]:
    """For each step the namespace in which it stands."""
    return (node.stands if node.again else node.space for node in steps)


def around(space: str) -> Iterator[str]:
    """The namespace and all that hold it, innermost first; not the network itself."""
    while space:
        yield space
        space = space.rpartition(".")[0]


def child(space: str, outer: str) -> str:
    """The namespace directly in ``outer`` that ``space`` is, or is in; "" for ``outer`` itself."""
    if space == outer:
        return ""
    end = space.find(".", len(outer) + 1 if outer else 0)
    return space if end < 0 else space[:end]
