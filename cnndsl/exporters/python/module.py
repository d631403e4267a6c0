"""A whole Python file: what stands above the classes, and what they bring along."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

from cnndsl.exporters.python.allowed import check
from cnndsl.exporters.python.classes import families
from cnndsl.exporters.python.docs import docstring
from cnndsl.exporters.python.names import class_name, fresh, identifier
from cnndsl.exporters.python.source import ClassWriter
from cnndsl.files import sealed
from cnndsl.graph.model import Graph

MARK = "Written by cnndsl."
"""In the docstring of every file of ours."""


def module_text(graph: Graph, docs: Mapping[str, str], tail: str = "") -> str:
    """The file; ``docs`` are the text's words about its declarations, by name.

    ``tail``: source to stand behind the classes.
    """
    found = families(graph)
    name = class_name(graph.name)
    written = []
    for family in found:
        said = docs.get(family.declared or (graph.name if family.name == name else ""), "")
        written.append("\n".join(ClassWriter(graph, found, family, said).write()))
    output = _output(graph, name)
    body = "\n\n\n".join(filter(None, [output, *_brought("\n".join(written)), *written, tail]))
    text = "\n".join([*_head(graph, name), *_imports(body), "", "", body, "", "", ""])
    check(text)
    return sealed(text)


def _head(graph: Graph, name: str) -> list[str]:
    inputs = ", ".join(str(node.type) for node in graph.inputs)
    outputs = ", ".join(str(graph.nodes[output.node].type) for output in graph.outputs)
    shapes = f"Shapes without the batch: {inputs} -> {outputs}."
    return [*docstring([f"{name} for PyTorch. {MARK}", shapes], 0), ""]


def _imports(body: str) -> Iterator[str]:
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    if "NamedTuple" in used:
        yield "from typing import NamedTuple"
        yield ""
    if "torch" in used:
        yield "import torch"
    yield "from torch import Tensor, nn"
    if "F" in used:
        yield "from torch.nn import functional as F"


def _output(graph: Graph, name: str) -> str:
    """The named tuple that a network of several outputs returns."""
    if len(graph.outputs) == 1:
        return ""
    taken: set[str] = set()
    kinds = [
        f"    {fresh(identifier(o.name), taken)}: {'Tensor | None' if o.train else 'Tensor'}"
        for o in graph.outputs
    ]
    trained = any(output.train for output in graph.outputs)
    said = "Heads that only training has are None in evaluation." if trained else ""
    doc = docstring([f"What {name} returns. {said}"])
    return "\n".join([f"class {name}Output(NamedTuple):", *doc, "", *kinds])


def _brought(text: str) -> list[str]:
    """The helper classes that the text uses, each before what needs it."""
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    if names & {"NetDropPath", "Join"}:
        names.add("Draw")
    return [source for name, source in _helpers().items() if name in names]


@cache
def _helpers() -> dict[str, str]:
    text = files("cnndsl.exporters.python").joinpath("helpers.py").read_text("utf-8")
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = ast.get_source_segment(text, node) or ""
    return found
