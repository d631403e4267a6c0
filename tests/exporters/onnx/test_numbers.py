"""The model computes what the plain module does, and says the shape of every value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import cnndsl
from cnndsl.exporters.onnx import export_onnx
from tests.engines.operators import OPERATORS
from tests.exporters.drawn import network_of
from tests.networks import random_network

MORE = {
    "lrn of an even size": "[6, H, W] = lrn(4, alpha=0.3, beta=0.6, k=2)",
    "adaptive of any size": "[3, H, W] = adaptive_avgpool((6, 5)) -> adaptive_maxpool((4, 3))",
    "adaptive along one axis": "[3, H, 8] = adaptive_maxpool((3, 4)) -> adaptive_avgpool((1, 3))",
    "lppool of an odd power": "[3, H, W] = relu -> lppool(3, 2, stride=1)",
    "lppool rounded up": "[3, H, W] = lppool(2, 3, stride=2, ceil=yes)",
    "lppool of a fraction": "[3, H, W] = sigmoid -> lppool(1.5, 2)",
    "avgpool rounded up": "[3, H, W] = avgpool(3, stride=2, ceil=yes, count_include_pad=no)",
    "norms of vectors": "[6] = group_norm(2) -> prelu(6) -> layer_norm -> bn -> prelu -> scale",
    "again": "[4, H, W] = x: (conv(4, 3) -> bn) -> relu -> again x -> again x",
    "an input is an output": "[4, H, W] a = a, b: (a -> relu)",
    "one value, two names": "[4, H, W] = relu @r -> emit x: id -> id",
    "ends with noise": "[4, H, W] = conv(2, 1) -> dropout",
    "names like those of weights": "[4, H, W] = scale: (weight: conv(4, 1)) -> g: scale -> relu",
    "many operands": "[4, H, W] = mul(sigmoid, relu, tanh, id) -> add(id, relu, tanh, id)",
    "heads": "[4, H, W] = conv(4, 3) -> emit[train] a: (gap -> flatten) -> emit b: conv(2, 1)",
    "a symbol called N": "[4, N, W] = conv(4, 3, stride=2)",
}


def declared(model: Any) -> dict[str, list[int | str]]:
    """The dimensions that a model says its values have."""
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }


def said_size(size: int | str, symbols: dict[str, int]) -> int:
    return int(eval(str(size), {"floor": math.floor, "ceil": math.ceil, **symbols}))


def check_shapes(data: bytes) -> None:
    """Every value is declared, and has that shape when it is run."""
    model = onnx.load_from_string(data)
    shapes = declared(model)
    values = [name for node in model.graph.node for name in node.output]
    assert set(values) <= set(shapes)
    known = {value.name for value in model.graph.output}
    known |= {value.name for value in model.graph.input}
    inner = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(inner[name] for name in values if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    symbols: dict[str, int] = {}
    for value in model.graph.input:
        for size in shapes[value.name]:
            if isinstance(size, str):
                symbols.setdefault(size, 2 if not symbols else 32 + 16 * len(symbols))
    given = {
        value.name: np.ones([said_size(d, symbols) for d in shapes[value.name]], np.float32)
        for value in model.graph.input
    }
    names = [value.name for value in session.get_outputs()]
    for name, found in zip(names, session.run(names, given), strict=True):
        assert found.shape == tuple(said_size(d, symbols) for d in shapes[name]), name


@pytest.mark.parametrize("operator", [*OPERATORS, *MORE])
def test_operators(operator: str) -> None:
    net = cnndsl.loads(f"net Net: {(OPERATORS | MORE)[operator]}").net()
    assert net.ok, net.diagnostics
    check_shapes(export_onnx(net, network_of(net)).data)


def proven(seed: int) -> None:
    net = cnndsl.loads(random_network(seed, tiny=True)).net()
    exported = export_onnx(net, network_of(net, seed), optimize=seed % 2)
    assert exported.proof.difference <= 1e-3 * max(exported.proof.magnitude, 1)
    check_shapes(exported.data)


FOUND = (1003, 1194)
"""An input that is thinned out, and a mean over many pixels, which onnxruntime adds up in turn."""


@pytest.mark.parametrize("seed", [*range(300, 312), *FOUND])
def test_random_networks(seed: int) -> None:
    proven(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_many_random_networks(seed: int) -> None:
    proven(seed)
