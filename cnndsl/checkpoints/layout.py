"""What a network's ``state_dict`` holds, from its graph alone: no torch is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from cnndsl.graph import cost
from cnndsl.graph.model import Graph

COUNTER = "num_batches_tracked"
"""How many batches a norm has seen; used by no computation here, absent from older files."""


class Slot(NamedTuple):
    """One key of a network. ``optional``: what only training uses, so a file may lack it."""

    shape: tuple[int, ...]
    module: str
    nodes: frozenset[int]
    """The steps that compute with it."""
    optional: bool
    whole: bool
    """Whether it is a whole number, as a counter is."""


def layout(graph: Graph) -> Mapping[str, Slot]:
    """Every key of the module that is made of ``graph``, in its ``state_dict``'s order."""
    running = cost.inference_nodes(graph)
    users: dict[str, set[int]] = {}
    for node in graph:
        users.setdefault(node.path, set()).add(node.id)
    found: dict[str, Slot] = {}
    for node in graph:
        for weight in cost.weights_of(graph, node):
            key = f"{node.path}.{weight.name}" if weight.name else node.path
            counter = weight.name == COUNTER
            found[key] = Slot(
                weight.shape, node.path, frozenset(users[node.path]),
                counter or not users[node.path] & running, counter,
            )  # fmt: skip
    return {key: found[key] for key in _as_modules(found)}


def _as_modules(keys: Iterable[str]) -> Iterator[str]:
    """A module's own numbers come before those of the modules inside it."""
    spaces: dict[str, dict[str, None]] = {}
    own: dict[str, list[str]] = {}
    for key in keys:
        space = ""
        for part in key.split(".")[:-1]:
            inner = f"{space}.{part}" if space else part
            spaces.setdefault(space, {})[inner] = None
            space = inner
        own.setdefault(space, []).append(key)
    waiting = [""]
    while waiting:
        space = waiting.pop()
        yield from own.get(space, ())
        waiting.extend(reversed(spaces.get(space, {})))


def module_of(key: str) -> tuple[str, str]:
    """A key's module and its own name in it."""
    module, _, name = key.rpartition(".")
    return module, name
