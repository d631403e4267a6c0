"""A flow as an ONNX model: standard operators, float32, names of the text.

The batch is symbolic (``N``), H, W, … too, unless the shapes are fixed. Weights are
initialisers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cnndsl.engines.base import EngineError
from cnndsl.engines.derived import Tensors
from cnndsl.graph.cost import concrete
from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type, Vector
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.ops import RUNNING, Chain, weights_of_link

OPSET = 20
IR_VERSION = 10
Sizes = Mapping[str, int]


class Writer:
    """Collects nodes and initialisers; every value has a name that is used once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[object, str] = {}
        self._number = 0

    def name(self, hint: str) -> str:
        self._number += 1
        return f"{hint}_{self._number}"

    def node(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name."""
        output = self.name(kind.lower())
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **given))
        return output

    def tensor(self, value: Any, hint: str = "weight") -> str:
        """An initialiser from a torch tensor."""
        name = self.name(hint)
        array = value.detach().cpu().contiguous().numpy()
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def constant(self, values: Any, dtype: str = "int64") -> str:
        """A small constant; equal ones are stored once."""
        array = np.asarray(values, dtype=dtype)
        key = (array.tobytes(), array.shape, dtype)
        if key not in self._constants:
            name = self.name("constant")
            self.initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]


def onnx_model(
    flow: Flow, weights: Tensors, sizes: Sizes | None = None, batch: int | None = None
) -> Any:
    """The model of a flow with these weights; ``sizes`` and ``batch`` fix the shapes.

    Raises EngineError for an operator that ONNX has no form of.
    """
    writer = Writer()
    names = {s.id: n.path for s, n in zip(flow.inputs, flow.graph.inputs, strict=True)}
    for step in flow:
        if step.inputs:
            names[step.id] = _step(step, [names[s.id] for s in step.inputs], weights, writer)
    inputs = [
        helper.make_tensor_value_info(names[s.id], TensorProto.FLOAT, _dims(s.type, sizes, batch))
        for s in flow.inputs
    ]
    outputs = []
    for output, step in zip(flow.outputs, flow.results, strict=True):
        writer.nodes.append(helper.make_node("Identity", [names[step.id]], [output.name]))
        dims = _dims(step.type, sizes, batch)
        outputs.append(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, dims))
    graph = helper.make_graph(writer.nodes, flow.graph.name, inputs, outputs, writer.initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _step(step: Step, inputs: list[str], weights: Tensors, writer: Writer) -> str:
    types = [source.type for source in step.inputs]
    own = weights.get(step.id, {})
    if not isinstance(step.op, Chain):
        return emit(step.op, inputs, types, own, writer)
    running = ""
    for index, (link, operands) in enumerate(
        zip(step.op.links, step.op.types(*types), strict=True)
    ):
        mine = weights_of_link(own, index)
        given = [running if slot == RUNNING else inputs[slot] for slot in link.slots]
        running = emit(link.op, given, operands, mine, writer)
    return running


def emit(
    op: Op, inputs: list[str], types: Sequence[Type], weights: Mapping[str, Any], writer: Writer
) -> str:
    """One operator; the name of its output."""
    from cnndsl.engines.onnx_ops import RULES

    rule = next((RULES[kind] for kind in type(op).__mro__ if kind in RULES), None)
    if rule is None:
        raise EngineError(f"`{op.name}` has no form in ONNX")
    return rule(op, inputs, types, weights, writer)


def _dims(type: Type, sizes: Sizes | None, batch: int | None) -> list[int | str]:
    known = concrete(type, sizes) if sizes is not None else type
    first: int | str = "N" if batch is None else batch
    if isinstance(known, FeatureMap):
        rest = (known.channels, known.height, known.width)
        return [first, *(x if isinstance(x, int) else str(x) for x in rest)]
    assert isinstance(known, Vector)
    return [first, known.features]  # type: ignore[list-item]
