"""Damaged ONNX files: bytes that were changed, and well-formed files that say something else."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy
from onnx import AttributeProto, TensorProto, helper, numpy_helper

_KINDS = (
    "Conv", "Relu", "Reshape", "Transpose", "Gemm", "MatMul", "Add", "Mul", "Sub", "Div", "Concat",
    "Split", "Slice", "Pad", "Resize", "Clip", "Softmax", "Erf", "Pow", "Sqrt", "ReduceMean",
    "BatchNormalization", "LayerNormalization", "GroupNormalization", "InstanceNormalization",
    "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Squeeze", "Unsqueeze", "Identity",
    "Dropout", "PRelu", "LRN", "DepthToSpace", "ConvTranspose", "Expand", "Shape", "Gather",
    "Constant", "ConstantOfShape", "Cast", "Upsample", "Max", "Mean", "Sum", "If", "Loop",
    "Nothing", "HardSigmoid", "LpPool", "Neg", "Exp",
)  # fmt: skip
_ATTRIBUTES = (
    "axis pads group perm auto_pad strides epsilon axes min to mode broadcast dilations "
    "kernel_shape ceil_mode transB scales"
)
_NUMBERS = (-(2**63), -(2**31), -3, -1, 0, 1, 2, 3, 5, 7, 2**31 - 1, 2**40, 2**63 - 1)
_FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e-45, 0.5, 1.0, 6.0, 3e38)
_WORDS = ("", "SAME_UPPER", "SAME_LOWER", "VALID", "nearest", "linear", "\x1b[2J", "é" * 70, "DCR")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, lost, doubled or put in."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(4):
            case 0:
                found[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del found[place : place + rng.choice((1, 2, 40))]
            case 2:
                found[place:place] = rng.randbytes(rng.choice((1, 3, 30)))
            case _:
                found[place:place] = found[place : place + 50]
    return bytes(found)


def changed(data: bytes, rng: random.Random) -> bytes:
    """A file that is well formed, with other fields."""
    from onnx import ModelProto

    model = ModelProto()
    model.ParseFromString(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_CHANGES)(model, rng)
    return bytes(model.SerializeToString())


def _kind(model: Any, rng: random.Random) -> None:
    if model.graph.node:
        rng.choice(model.graph.node).op_type = rng.choice(_KINDS)


def _number(model: Any, rng: random.Random) -> None:
    attributes = [a for node in model.graph.node for a in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    attribute.i, attribute.f = rng.choice(_NUMBERS), rng.choice(_FLOATS)
    attribute.s = rng.choice(_WORDS).encode()
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_NUMBERS)
    if rng.random() < 0.2:
        attribute.type = rng.choice(AttributeProto.AttributeType.values())


def _attribute(model: Any, rng: random.Random) -> None:
    names = _ATTRIBUTES.split()
    value = rng.choice((rng.choice(_NUMBERS), rng.choice(_WORDS), [0, 1], [2, 2, 2, 2], 1.5))
    if model.graph.node:
        node = rng.choice(model.graph.node)
        node.attribute.append(helper.make_attribute(rng.choice(names), value, attr_type=None))


def _wire(model: Any, rng: random.Random) -> None:
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    names += [tensor.name for tensor in graph.initializer] + ["", "nobody"]
    node = rng.choice(graph.node) if graph.node else None
    if node is not None and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    if node is not None and node.output and rng.random() < 0.2:
        node.output[0] = rng.choice(names)


def _order(model: Any, rng: random.Random) -> None:
    nodes = list(model.graph.node)
    match rng.randrange(3):
        case 0:
            rng.shuffle(nodes)
        case 1 if nodes:
            nodes.append(rng.choice(nodes))
        case _ if nodes:
            nodes.remove(rng.choice(nodes))
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _tensor(model: Any, rng: random.Random) -> None:
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    match rng.randrange(6):
        case 0 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_NUMBERS)
        case 1:
            tensor.data_type = rng.choice(TensorProto.DataType.values())
        case 2:
            tensor.raw_data = tensor.raw_data[:-3]
        case 3:
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="../../etc/passwd")
        case 4:
            tensor.name = rng.choice(_WORDS)
        case _:
            shape = [rng.choice((0, 1, 2, 4, 8)) for _ in range(rng.randrange(6))]
            value = numpy.full(shape, rng.choice(_FLOATS), "float32")
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def _ends(model: Any, rng: random.Random) -> None:
    graph = model.graph
    values = [*graph.input, *graph.output]
    if not values:
        return
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    match rng.randrange(4):
        case 0 if dims:
            rng.choice(dims).dim_value = rng.choice(_NUMBERS)
        case 1 if dims:
            rng.choice(dims).dim_param = rng.choice(("H", "W", "N", "?", "\x1b]0;x\x07"))
        case 2 if dims:
            del dims[-1]
        case _:
            value.name = rng.choice(_WORDS)


def _version(model: Any, rng: random.Random) -> None:
    if model.opset_import:
        model.opset_import[0].version = rng.choice((*_NUMBERS, 6, 9, 12, 18))
        if rng.random() < 0.3:
            model.opset_import[0].domain = rng.choice(_WORDS)


_CHANGES: tuple[Callable[[Any, random.Random], None], ...] = (
    _kind, _kind, _number, _number, _attribute, _wire, _wire, _order, _tensor, _tensor, _ends,
    _version,
)  # fmt: skip
