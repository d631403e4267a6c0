"""An ONNX file's bytes as a validated model; what the file says of its own shapes is not read.

The file is a stranger's: every name, number and order is checked here once, so that the rest
of the import meets well-formed operations only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy

from cnndsl.graph.model import reached
from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx.outside import is_outside, read_outside
from cnndsl.limits import PROTOBUF_BYTES, Limits

ELEMENTS = 2**29
"""Numbers that the weights of a model may have together."""

RANK = 8
"""Axes that a tensor may have."""

_LAST_PLACE = 2.0**-23
_DOMAINS = ("", "ai.onnx")
_OLDEST = 1


@dataclass(frozen=True)
class Operation:
    """One ONNX node. A missing optional input is ""."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        """How messages call it."""
        named = self.name or next(filter(None, self.outputs), "")
        return f"node {named!r} ({self.kind})"


@dataclass(frozen=True)
class Port:
    """An input of the network: dimensions are numbers, names, or None where nothing is said."""

    name: str
    dims: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Model:
    """Operations in an order in which inputs come first, only those that outputs need."""

    name: str
    opset: int
    operations: tuple[Operation, ...]
    constants: Mapping[str, Any]
    """Initialisers, as ONNX keeps them: ``array`` reads one."""
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    readers: Mapping[str, int] = field(default_factory=dict)
    """How often each value is read; an output of the network counts too."""


Folder = str | os.PathLike[str] | None


def read_model(data: bytes, limits: Limits, folder: Folder = None) -> tuple[Model, Any]:
    """The model, and ONNX's own form of it without all that was not looked at.

    ``folder``: where files that it keeps weights in may lie; None: there are none.
    Raises ImportProblem for what is no model, or one of a kind that is not read.
    """
    if len(data) > PROTOBUF_BYTES:  # larger models keep their weights outside
        raise ImportProblem(f"more than {PROTOBUF_BYTES:,} bytes")
    proto = _parsed(data)
    opset = _opset(proto)
    graph = proto.graph
    if len(graph.node) > limits.nodes:
        raise ImportProblem(f"more than {limits.nodes:,} nodes")
    _check_strings(proto)
    constants = _constants(graph)
    inputs = tuple(_port(value) for value in graph.input if value.name not in constants)
    outputs = tuple(value.name for value in graph.output)
    _check_ends(inputs, outputs)
    operations = _live([_operation(node) for node in graph.node], outputs)
    _check_order(operations, {*constants, *(port.name for port in inputs)}, outputs)
    readers = _readers(operations, outputs)
    constants = {name: tensor for name, tensor in constants.items() if name in readers}
    _open(constants, folder, PROTOBUF_BYTES - len(data))
    _strip(proto, operations, {*constants, *(port.name for port in inputs)})
    return Model(graph.name, opset, operations, constants, inputs, outputs, readers), proto


def _parsed(data: bytes) -> Any:
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import ModelProto
    except ModuleNotFoundError as missing:
        raise ImportProblem(
            f"reading ONNX needs the package `{missing.name}`: pip install cnndsl[onnx]"
        ) from None
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise ImportProblem("it is no ONNX model") from None
    if not proto.graph.node and not proto.graph.output:
        raise ImportProblem("it is no ONNX model, or one without a graph")
    return proto


def _opset(proto: Any) -> int:
    from onnx.defs import onnx_opset_version

    found = [entry.version for entry in proto.opset_import if entry.domain in _DOMAINS]
    opset = found[0] if found else 1  # models from before operator sets had versions
    if len(set(found)) > 1 or not _OLDEST <= opset <= onnx_opset_version():
        told = ", ".join(map(str, found))
        newest = onnx_opset_version()
        raise ImportProblem(f"its operator set is {told}; {_OLDEST} to {newest} can be read")
    return int(opset)


def _check_strings(proto: Any) -> None:
    """Protocol buffers give what is no UTF-8 as bytes."""
    graph = proto.graph
    found = [graph.name, *(entry.domain for entry in proto.opset_import)]
    for node in graph.node:
        found += (node.name, node.op_type, node.domain, *node.input, *node.output)
        found += (attribute.name for attribute in node.attribute)
    found += (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.output):
        found += (value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim))
    for name in found:
        if not isinstance(name, str):
            raise ImportProblem(f"the name {name!r} in it is no UTF-8")


def _strip(proto: Any, operations: tuple[Operation, ...], given: set[str]) -> None:
    """Leaves what was looked at: the runtime that is the reference gets nothing else to read.

    It would also run what no output needs, and open the files that unread weights name.
    """
    live = {name for operation in operations for name in operation.outputs if name}
    _keep(proto.graph.node, lambda node: not live.isdisjoint(node.output))
    _keep(proto.graph.initializer, lambda tensor: tensor.name in given)
    _keep(proto.graph.input, lambda value: value.name in given)
    for place in ("functions", "training_info", "metadata_props", "configuration"):
        if place in proto.DESCRIPTOR.fields_by_name:
            proto.ClearField(place)
    for place in ("value_info", "quantization_annotation", "sparse_initializer"):
        proto.graph.ClearField(place)


def _keep(messages: Any, wanted: Callable[[Any], bool]) -> None:
    """Takes the others out of a repeated field, in linear time and without copying weights."""
    count = sum(map(wanted, messages))
    messages.sort(key=lambda message: not wanted(message))
    del messages[count:]


# --- values -------------------------------------------------------------------------------------


def _constants(graph: Any) -> dict[str, Any]:
    """The weights by name; nothing is opened."""
    if graph.sparse_initializer:
        raise ImportProblem("it has sparse weights, which are not supported")
    constants: dict[str, Any] = {}
    total = 0
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in constants:
            raise ImportProblem(f"two of its weights are called {tensor.name!r}")
        total += _count(tensor)
        if total > ELEMENTS:
            raise ImportProblem(f"its weights have more than {ELEMENTS:,} numbers")
        constants[tensor.name] = tensor
    return constants


def _open(constants: Mapping[str, Any], folder: Folder, room: int) -> None:
    """Reads what is kept in other files. ``room``: bytes that these may add to the model."""
    outside = [tensor for tensor in constants.values() if is_outside(tensor)]
    if folder is None:
        for tensor in outside:
            _check_inside(tensor)
        return
    sizes = [_count(tensor) * _width(tensor) for tensor in outside]
    if sum(sizes) > room:
        raise ImportProblem(f"more than {PROTOBUF_BYTES:,} bytes with its other files")
    digests: dict[str, str] = {}
    for tensor, size in zip(outside, sizes, strict=True):
        read_outside(tensor, size, folder, digests)


def _count(tensor: Any) -> int:
    dims = list(tensor.dims)
    if len(dims) > RANK or any(d < 0 for d in dims):
        raise ImportProblem(f"the tensor {tensor.name!r} has the shape {dims[:RANK]}")
    return math.prod(dims)


def _width(tensor: Any) -> int:
    """Bytes of one number."""
    from onnx import helper

    _check_kind(tensor)
    return int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _check_inside(tensor: Any) -> None:
    if is_outside(tensor):
        raise ImportProblem(
            f"the tensor {tensor.name!r} is kept in another file, which is not opened: "
            "save the model as one file"
        )


def array(tensor: Any) -> Any:
    """The numbers of one of ONNX's tensors, checked against its shape; ImportProblem."""
    from onnx import numpy_helper

    _check_inside(tensor)
    if _count(tensor) > ELEMENTS:
        raise ImportProblem(f"the tensor {tensor.name!r} is too large")
    _check_kind(tensor)
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, IndexError, KeyError):
        told = f"the numbers of the tensor {tensor.name!r} do not fit its shape"
        raise ImportProblem(told) from None


def _check_kind(tensor: Any) -> None:
    if tensor.data_type not in _kinds():
        raise ImportProblem(f"the tensor {tensor.name!r} has values of a kind that is not read")


def _kinds() -> frozenset[int]:
    from onnx import TensorProto as T

    return frozenset(
        (T.FLOAT, T.FLOAT16, T.DOUBLE, T.INT64, T.INT32, T.INT16, T.INT8, T.UINT8, T.BOOL)
    )


def _port(value: Any) -> Port:
    from onnx import TensorProto

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type != TensorProto.FLOAT:
        raise ImportProblem(f"the input {value.name!r} is no tensor of float32")
    if not kind.HasField("shape"):
        raise ImportProblem(f"nothing is said of the shape of the input {value.name!r}")
    return Port(value.name, tuple(_dim(d) for d in kind.shape.dim))


def _dim(dim: Any) -> int | str | None:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return dim.dim_param or None


# --- operations ---------------------------------------------------------------------------------


def _operation(node: Any) -> Operation:
    if node.domain not in _DOMAINS:
        raise ImportProblem(
            f"node {node.name!r} is of the operator set {node.domain!r}, which is not ONNX's own"
        )
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in attributes:
            raise ImportProblem(f"node {node.name!r} has two attributes {attribute.name!r}")
        attributes[attribute.name] = _attribute(attribute, node)
    return Operation(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes)


def _attribute(attribute: Any, node: Any) -> Any:
    from onnx import AttributeProto as A

    kind = attribute.type or _guessed(attribute)
    if kind == A.FLOAT:
        return _float(attribute.f, attribute, node)
    if kind == A.FLOATS:
        return tuple(_float(value, attribute, node) for value in attribute.floats)
    if kind == A.INT:
        return int(attribute.i)
    if kind == A.INTS:
        return tuple(map(int, attribute.ints))
    if kind == A.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == A.TENSOR:
        return attribute.t
    return NotImplemented  # sub-graphs and the like: whoever reads it refuses


def _guessed(attribute: Any) -> int:
    """Files from before attributes had a type say it by what is there."""
    from onnx import AttributeProto as A

    for place, kind in (("f", A.FLOAT), ("i", A.INT), ("s", A.STRING), ("t", A.TENSOR)):
        if attribute.HasField(place):
            return int(kind)
    return int(A.INTS if attribute.ints else A.FLOATS)


def _float(value: float, attribute: Any, node: Any) -> float:
    """The file's float32 in as few digits as tell it from others: 1e-05, not 9.99999974e-06."""
    if not math.isfinite(value):
        raise ImportProblem(f"{attribute.name!r} of node {node.name!r} is not finite")
    return short(value)


def short(value: float) -> float:
    """The shortest decimal within one unit in the last place of a float32."""
    for digits in range(1, 9):
        near = float(f"{value:.{digits}g}")
        if abs(near - value) <= abs(value) * _LAST_PLACE:
            return near
    return float(str(numpy.float32(value)))


def _check_ends(inputs: tuple[Port, ...], outputs: tuple[str, ...]) -> None:
    names = [port.name for port in inputs]
    if not inputs:
        raise ImportProblem("it has no input")
    if not all(names) or len(set(names)) < len(names):
        raise ImportProblem("its inputs have no names, or one name twice")
    if not outputs or not all(outputs) or len(set(outputs)) < len(outputs):
        raise ImportProblem("its outputs have no names, or one name twice")


def _live(operations: list[Operation], outputs: tuple[str, ...]) -> tuple[Operation, ...]:
    """Those that outputs are computed from; no name may be given twice."""
    makers: dict[str, Operation] = {}
    for operation in operations:
        for name in filter(None, operation.outputs):
            if name in makers:
                raise ImportProblem(f"{makers[name]} and {operation} both give {name!r}")
            makers[name] = operation
    needed = reached(
        outputs, lambda name: filter(None, makers[name].inputs) if name in makers else ()
    )
    return tuple(op for op in operations if needed.intersection(op.outputs))


def _check_order(
    operations: tuple[Operation, ...], known: set[str], outputs: tuple[str, ...]
) -> None:
    for operation in operations:
        for name in filter(None, operation.inputs):
            if name not in known:
                raise ImportProblem(f"{operation} reads {name!r}, which nothing before it gives")
        for name in filter(None, operation.outputs):
            if name in known:
                raise ImportProblem(f"{operation} gives {name!r}, which is there already")
            known.add(name)
    for name in outputs:
        if name not in known:
            raise ImportProblem(f"nothing gives its output {name!r}")


def _readers(operations: tuple[Operation, ...], outputs: tuple[str, ...]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in chain(*(operation.inputs for operation in operations), outputs):
        counts[name] = counts.get(name, 0) + 1
    return counts
