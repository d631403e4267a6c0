"""ONNX models to import: small ones of each kind, written as other programs write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from onnx import TensorProto, helper, numpy_helper

import cnndsl
from cnndsl.exporters.onnx import build

Dims = Sequence[int | str]


class Sketch:
    """An ONNX model, node by node; every node has one output, whose name comes back."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset, self.rng = opset, numpy.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []

    def node(self, kind: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        """Arrays among the inputs become initialisers."""
        names = [x if isinstance(x, str) else self.tensor(x) for x in inputs]
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], name=name, **attributes))
        return output

    def tensor(self, value: Any, name: str = "") -> str:
        array = numpy.asarray(value)
        if array.dtype == numpy.float64:
            array = array.astype(numpy.float32)
        name = name or f"t{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def weights(self, *shape: int) -> Any:
        return self.rng.standard_normal(shape) / 2

    def bytes(
        self, output: str | Sequence[str], inputs: Mapping[str, Dims] | None = None,
        listed: bool = False,
    ) -> bytes:  # fmt: skip
        """The file; ``listed``: initialisers are inputs too, as before IR version 4."""
        shapes = inputs or {"x": ("N", 4, 8, 8)}
        values = [_info(name, dims) for name, dims in shapes.items()]
        if listed:
            values += [_info(tensor.name, tensor.dims) for tensor in self.tensors]
        names = [output] if isinstance(output, str) else output
        results = [_info(name, None) for name in names]
        graph = helper.make_graph(self.nodes, "sketch", values, results, self.tensors)
        version = helper.make_opsetid("", self.opset)
        model = helper.make_model(graph, opset_imports=[version], ir_version=3 if listed else 8)
        return bytes(model.SerializeToString())


def _info(name: str, dims: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


def exported(text: str) -> bytes:
    """The model of a text whose weights and statistics are drawn."""
    return bytes(exported_net(cnndsl.loads(text).net())[1].SerializeToString())


def exported_net(net: Any) -> tuple[Any, Any]:
    """The module with drawn weights, and its model."""
    torch.manual_seed(1)
    module = net.compile(optimize=0).eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith(("running_mean", "bn.bias")):
                value.normal_()
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2)
    return module, build(net, module)
