"""A network as readable PyTorch source: one class per block, torch the only requirement."""

from __future__ import annotations

from cnndsl.compilation import Compilation
from cnndsl.exporters.python.docs import descriptions
from cnndsl.exporters.python.folded import fold_source, folded
from cnndsl.exporters.python.layers import supported
from cnndsl.exporters.python.module import MARK, module_text
from cnndsl.graph.model import Node

__all__ = ["MARK", "Unsupported", "export_python"]


class Unsupported(Exception):
    """An operator that has no form in plain PyTorch source: one of a plug-in."""

    def __init__(self, node: Node) -> None:
        where = f" at {node.path}" if node.path else ""
        super().__init__(f"`{node.op.name}`{where} comes from a plug-in and has no source form")
        self.node = node


def export_python(net: Compilation, *, fold: bool = False) -> str:
    """The Python file of a net: same ``state_dict`` keys and order, same outputs.

    ``fold``: the inference form, with batch norms inside the layers before them, without what
    only training needs, and with a function ``fold`` that turns the plain ``state_dict`` into
    the file's own. Raises CnnError where the text has errors, Unsupported for a plug-in's
    operator.
    """
    graph = net.decided()
    for node in graph:
        if node.inputs and not supported(node.op):
            raise Unsupported(node)
    docs = descriptions(net.program)
    if not fold:
        return module_text(graph, docs)
    inference = folded(graph)
    return module_text(inference.graph, docs, fold_source(inference))
