"""Forms for OpenVINO give the same numbers, and are made only where they pay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.base import Job
from cnndsl.engines.openvino.engine import OpenVinoEngine
from cnndsl.passes.flow import Flow

onnxruntime = pytest.importorskip("onnxruntime")
openvino_forms = pytest.importorskip("cnndsl.engines.openvino.forms", exc_type=ImportError)

LINEAR = "net N: [4, 3, 3] = flatten -> linear(40{bias}) -> relu -> linear(50) -> linear(10)"


def model_of(text: str, batch: int = 1, half: bool = True) -> tuple[Any, Any]:
    """The model for OpenVINO, and the plain module."""
    net = cnndsl.loads(text).net()
    module = net.compile(optimize=0).eval()
    shapes = ((batch, 4, 3, 3),)
    job = Job(Flow(net.graph), module.state_dict(), shapes, torch.bfloat16)
    return OpenVinoEngine()._model(job, half), module


def operators(text: str, **options: Any) -> Counter[str]:
    return Counter(node.op_type for node in model_of(text, **options)[0].graph.node)


def assert_equal(text: str) -> None:
    """In float32, by who has that on every processor."""
    model, module = model_of(text)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = torch.randn(1, 4, 3, 3)
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", ["", ", bias=no"])
def test_large_products_are_convolutions(bias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = LINEAR.format(bias=bias)
    monkeypatch.setattr(openvino_forms, "_MANY", 36 * 40 + 1)
    assert operators(text)["Conv"] == 1  # the second
    monkeypatch.setattr(openvino_forms, "_MANY", 10)
    assert operators(text)["Conv"] == 2 and operators(text)["Gemm"] == 1
    assert_equal(text)


@pytest.mark.parametrize("end", ["", " -> softmax", " -> relu -> scale"])
def test_the_last_product_rounds_no_result(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_forms, "_MANY", 10)
    assert not operators(f"net N: [4, 3, 3] = flatten -> linear(40){end}")["Conv"]


def test_a_shared_weight_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_forms, "_MANY", 10)
    text = "net N: [4, 3, 3] = flatten -> l: linear(36) -> relu -> (again l) -> linear(5)"
    model, _ = model_of(text)
    kernels = [t.name for t in model.graph.initializer if t.name.endswith("/kernel")]
    assert operators(text)["Conv"] == 2 and len(kernels) == 1
    assert_equal(text)


def test_means_of_large_maps_are_taken_in_stages() -> None:
    """Where it computes in bfloat16; in float32 it is exact enough."""
    net = cnndsl.loads("net N: [4, 13, 13] = gap").net()
    job = Job(Flow(net.graph), {}, ((1, 4, 13, 13),), torch.bfloat16)
    forms = [OpenVinoEngine()._model(job, half).graph.node for half in (True, False)]
    staged, whole = (Counter(node.op_type for node in nodes) for nodes in forms)
    assert staged["AveragePool"] == 2 and whole["AveragePool"] == 0


def test_where_they_do_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several samples, of few weights, and where float32 is computed."""
    text = LINEAR.format(bias="")
    assert not operators(text)["Conv"]
    monkeypatch.setattr(openvino_forms, "_MANY", 10)
    assert operators(text)["Conv"]
    assert not operators(text, batch=2)["Conv"]
    assert not operators(text, half=False)["Conv"]
