"""A flow as an ONNX model: standard operators, float32, the names of the text.

Initialisers have the names of the ``state_dict``, nodes those of the modules, and every value
its shape. The batch is symbolic (``N``), H, W, … too, unless the shapes are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from cnndsl.engines.base import EngineError
from cnndsl.engines.derived import Tensors
from cnndsl.graph.cost import concrete
from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type, Vector
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import NOISE
from cnndsl.passes.ops import RUNNING, Chain, weights_of_link
from cnndsl.weights.expr import Expr

FIRST_OPSET = 13
"""From here on all that is written means the same, but for what ``SINCE`` says."""
SINCE = {
    "HardSwish": 14,
    "Shape": 15,  # of one axis
    "LayerNormalization": 17,
    "ReduceMean": 18,  # axes as an input
    "ReduceMax": 18,
    "Gelu": 20,
}
INT64 = TensorProto.INT64
Sizes = Mapping[str, int]
Dims = tuple[int | str, ...]


class Held(NamedTuple):
    """A weight: what its initialiser is called, and its numbers (a torch tensor)."""

    name: str
    value: Any


Types = Sequence[Type]
Weights = Mapping[str, Held]


class NoForm(EngineError):
    """ONNX cannot say what ``step`` does."""

    def __init__(self, message: str, step: Step) -> None:
        super().__init__(message)
        self.step = step


class Writer:
    """Collects nodes and initialisers; every value has a name that is used once.

    ``taken``: names that the caller gives himself. ``batch`` is a number or a symbol.
    """

    def __init__(self, taken: Iterable[str] = (), batch: int | str = "N") -> None:
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, Dims]] = {}
        """Kind of number and dimensions of each value that is no input, output or weight."""
        self.batch = batch
        self._taken, self._labels = set(taken), set[str]()
        self._constants: dict[object, str] = {}
        self._path = ""

    # --- for rules ---------------------------------------------------------------------------

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        dims: Dims | None = None,
        elem: int = TensorProto.FLOAT,
        **attributes: Any,
    ) -> str:
        """Adds a node with one output and returns the output's name.

        ``dims``, batch included, of every node of a rule but its last, whose are known.
        """
        given = {key: value for key, value in attributes.items() if value is not None}
        name = _free(f"{self._path}/{kind}", self._taken)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **given))
        if dims is not None:
            self.shapes[name] = elem, dims
        return name

    def tensor(self, weight: Held) -> str:
        """An initialiser; the same weight is stored once."""
        if weight.name not in self.initializers:
            array = weight.value.detach().cpu().contiguous().numpy()
            self.initializers[weight.name] = numpy_helper.from_array(array, weight.name)
        return weight.name

    def constant(self, values: Any, dtype: str = "int64") -> str:
        """A small constant; equal ones are stored once."""
        array = np.asarray(values, dtype=dtype)
        key = (array.tobytes(), array.shape, dtype)
        if key not in self._constants:
            name = _free(f"constant_{len(self._constants)}", self._taken)
            self.initializers[name] = numpy_helper.from_array(array, name)
            self._constants[key] = name
        return self._constants[key]

    def dims(self, type: Type) -> Dims:
        """The dimensions of a value, the batch first; sizes that are no symbol are text."""
        if isinstance(type, FeatureMap):
            rest = (type.channels, type.height, type.width)
            return (self.batch, *(x if isinstance(x, int) else str(x) for x in rest))
        assert isinstance(type, Vector)
        return self.batch, type.features  # type: ignore[return-value]

    # --- for steps ---------------------------------------------------------------------------

    def at(self, path: str) -> None:
        """What comes now belongs to this module."""
        self._path = path

    def settle(self, name: str, given: str | None, type: Type) -> str:
        """Names the last node after its module, and its output too unless a name is ``given``."""
        last = self.nodes[-1]
        assert last.output[0] == name
        self._taken.discard(name)
        self.shapes.pop(name, None)
        last.name = _free(self._path, self._labels)
        last.output[0] = given or _free(self._path, self._taken)
        if given is None:
            self.shapes[last.output[0]] = TensorProto.FLOAT, self.dims(type)
        return str(last.output[0])

    def copy(self, source: str, target: str) -> None:
        """A second name for a value, given by the caller."""
        label = _free(target, self._labels)
        self.nodes.append(helper.make_node("Identity", [source], [target], name=label))


Rule = Callable[[Any, list[str], Types, Weights, Writer], str]
"""Writes one operator: its declaration, inputs, their types, weights; the name of its output."""


def product(*sizes: int | str) -> int | str:
    """A dimension that is a product, as text where a factor is."""
    known = prod(size for size in sizes if isinstance(size, int))
    texts = [f"({size})" for size in sizes if isinstance(size, str)]
    return "*".join(([str(known)] if known != 1 else []) + texts) if texts else known


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it; taken from now on."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found


# --- models -------------------------------------------------------------------------------------


def onnx_model(
    flow: Flow,
    weights: Tensors,
    sizes: Sizes | None = None,
    batch: int | None = None,
    opset: int | None = None,
) -> Any:
    """The model of a flow with these weights; ``sizes`` and ``batch`` fix the shapes.

    ``opset``: by default the lowest that has all that is needed. Raises EngineError for an
    operator that ONNX, or this opset, has no form of.
    """
    names = {step.id: node.path for step, node in zip(flow.inputs, flow.graph.inputs, strict=True)}
    results = output_names(flow)
    initializers = weight_names(flow, {*names.values(), *results})
    taken = {*names.values(), *results, *initializers.values()}
    writer = Writer(taken, _batch_symbol(flow) if batch is None else batch)
    given = _given(flow, results)
    for step in flow:
        if step.inputs:
            own = {
                name: Held(initializers[expr], weights[step.id][name])
                for name, expr in step.weights.items()
            }
            inputs = [names[s.id] for s in step.inputs]
            names[step.id] = _step(step, inputs, own, given.get(step.id), writer, sizes)
    for name, step in zip(results, flow.results, strict=True):
        if names[step.id] != name:
            writer.copy(names[step.id], name)
    return _model(flow, writer, names, results, sizes, opset)


def output_names(flow: Flow) -> list[str]:
    """What the results are called: as in the text, unless that is the name of another value."""
    inputs = {node.path: step for step, node in zip(flow.inputs, flow.graph.inputs, strict=True)}
    taken = set(inputs)
    return [
        output.name if inputs.get(output.name) is step else _free(output.name, taken)
        for output, step in zip(flow.outputs, flow.results, strict=True)
    ]


def weight_names(flow: Flow, taken: set[str]) -> dict[Expr, str]:
    """Parameters keep their keys; what is computed from them is named after its first step."""
    exprs = {
        expr: f"{step.origins[0].path}.{name}"
        for step in reversed(list(flow))
        for name, expr in step.weights.items()
    }
    found = {expr: expr.options[0] for expr in exprs if expr.kind == "param"}
    taken = {*taken, *found.values()}
    for expr in reversed(exprs):
        if expr not in found:
            found[expr] = _free(f"{exprs[expr]}.folded", taken)
    return found


def _batch_symbol(flow: Flow) -> str:
    return _free("N", set(flow.graph.facts.symbols))


def _given(flow: Flow, results: Sequence[str]) -> dict[int, str]:
    """The steps whose values are called as an output is, without a copy."""
    found: dict[int, str] = {}
    for name, step in zip(results, flow.results, strict=True):
        while isinstance(step.op, NOISE):
            (step,) = step.inputs
        if step.inputs and step.id not in found:
            found[step.id] = name
    return found


def _step(
    step: Step,
    inputs: list[str],
    weights: Weights,
    given: str | None,
    writer: Writer,
    sizes: Sizes | None,
) -> str:
    types = [s.type if sizes is None else concrete(s.type, sizes) for s in step.inputs]
    writer.at(step.origins[0].path)
    try:
        found = _links(step.op, inputs, types, weights, writer)
    except EngineError as problem:
        raise NoForm(str(problem), step) from None
    if found in inputs:
        return found
    return writer.settle(found, given, step.type if sizes is None else concrete(step.type, sizes))


def _links(
    op: Op,
    inputs: list[str],
    types: Types,
    weights: Weights,
    writer: Writer,
) -> str:
    if not isinstance(op, Chain):
        return emit(op, inputs, types, weights, writer)
    running = ""
    for index, (link, operands) in enumerate(zip(op.links, op.types(*types), strict=True)):
        mine = weights_of_link(weights, index)
        given = [running if slot == RUNNING else inputs[slot] for slot in link.slots]
        running = emit(link.op, given, operands, mine, writer)
    return running


def emit(op: Op, inputs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    """One operator; the name of its output."""
    from cnndsl.engines.onnx.ops import RULES

    rule = next((RULES[kind] for kind in type(op).__mro__ if kind in RULES), None)
    if rule is None:
        raise EngineError(f"`{op.name}` has no form in ONNX")
    return rule(op, inputs, types, weights, writer)


def _model(
    flow: Flow,
    writer: Writer,
    names: Mapping[int, str],
    results: Sequence[str],
    sizes: Sizes | None,
    opset: int | None,
) -> Any:
    def value(name: str, step: Step) -> Any:
        dims = writer.dims(step.type if sizes is None else concrete(step.type, sizes))
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)

    inner = [
        helper.make_tensor_value_info(name, elem, dims)
        for name, (elem, dims) in writer.shapes.items()
    ]
    graph = helper.make_graph(
        writer.nodes,
        flow.graph.name,
        [value(names[step.id], step) for step in flow.inputs],
        [value(name, step) for name, step in zip(results, flow.results, strict=True)],
        list(writer.initializers.values()),
        value_info=inner,
    )
    opsets = [helper.make_opsetid("", _opset(writer.nodes, opset))]
    ir_version = helper.find_min_ir_version_for(opsets)
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def _opset(nodes: Sequence[Any], wanted: int | None) -> int:
    """The lowest that has every node, or the one that is wanted."""
    newest = max(nodes, key=lambda node: SINCE.get(node.op_type, FIRST_OPSET), default=None)
    kind = newest.op_type if newest is not None else ""
    needed = SINCE.get(kind, FIRST_OPSET)
    if wanted is not None and wanted < needed:
        why = f": `{newest.name}` needs {kind}" if newest is not None and kind in SINCE else ""
        raise EngineError(f"opset {wanted} is too low, {needed} is the lowest{why}")
    return wanted or needed
