"""The text of a graph from elsewhere: short where that works, step by step where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cnndsl.graph.model import Graph
from cnndsl.graph.printer import print_graph


class Text(NamedTuple):
    """One file with one net. ``paths``: where it puts each module of the graph."""

    text: str
    paths: Mapping[str, str]
    notes: tuple[str, ...] = ()


def text_of(graph: Graph, *, name: str | None = None, keep: bool = False) -> Text:
    """The graph's text; ``keep``: the text's module paths are the graph's."""
    try:
        from cnndsl.outline.reroll import write_text

        rolled = write_text(graph, name=name, keep=keep)
        return Text(rolled.text, rolled.paths)
    except MemoryError:
        raise
    except Exception as problem:  # a network is worth more than the beauty of its text
        note = f"written step by step: repeats were not found ({type(problem).__name__})"
        return Text(print_graph(graph), {node.path: node.path for node in graph}, (note,))
