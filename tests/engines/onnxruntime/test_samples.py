"""Linear layers as convolutions on a row of samples: the same numbers, seldom turned."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.engines.onnx.model import onnx_model
from cnndsl.engines.onnxruntime import samples as ort_samples
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.engines.onnxruntime.samples import samples_as_pixels
from cnndsl.passes.flow import Flow

pytest.importorskip("onnxruntime")

ONE = {"Conv": 1, "Transpose": 2, "Reshape": 2}
TWO = {"Conv": 2, "Transpose": 2, "Reshape": 2}


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_samples, "_MANY", 32 * 48)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


def job(body: str, batch: int) -> tuple[Job, Any]:
    net = cnndsl.loads(f"net N: [32] = {body}").net()
    torch.manual_seed(0)
    plain = net.compile(optimize=0).eval()
    return Job(Flow(net.graph), plain.state_dict(), ((batch, 32),)), plain


@pytest.mark.parametrize(
    ("body", "batch", "kinds"),
    [
        ("linear(48)", 2, ONE),
        ("linear(50, bias=no)", 3, ONE),
        ("linear(48) -> relu -> linear(64)", 4, TWO | {"Relu": 1}),
        ("linear(48) -> sigmoid -> linear(64) -> tanh", 4, TWO | {"Sigmoid": 1, "Tanh": 1}),
        # What another step reads, or is a result, is turned back, once.
        ("linear(48) -> emit t: relu -> linear(64)", 4, TWO | {"Transpose": 3, "Reshape": 3}),
        ("linear(48) -> (id + gelu) -> linear(64)", 4, TWO | {"Transpose": 4, "Reshape": 4}),
        ("linear(48) -> softmax", 2, ONE | {"Softmax": 1}),
        ("(linear(48) | linear(64))", 2, {"Conv": 2, "Transpose": 3, "Reshape": 3, "Concat": 1}),
        ("w: linear(48) -> linear(32) -> again w", 2, {"Conv": 3, "Transpose": 2, "Reshape": 2}),
        ("linear(48)", 1, {"Gemm": 1, "Conv": 0}),  # nothing to be gained
        ("linear(48)", 65, {"Gemm": 1, "Conv": 0}),  # not measured
        ("linear(40)", 2, {"Gemm": 1, "Conv": 0}),  # few weights
        ("linear(80) -> linear(40)", 2, ONE | {"Conv": 2}),
        ("linear(60) -> linear(40)", 2, ONE | {"Gemm": 1}),  # no whole blocks
    ],
)
def test_rows(body: str, batch: int, kinds: dict[str, int]) -> None:
    given, plain = job(body, batch)
    model = onnx_model(given.flow, derived(given), given.sizes, batch)
    size = model.ByteSize()
    samples_as_pixels(model)
    found = Counter(node.op_type for node in model.graph.node)
    assert {kind: found[kind] for kind in kinds} == kinds
    assert model.ByteSize() < size + 4000  # no weight is held twice
    x = torch.randn(batch, 32)
    with torch.no_grad():
        true = plain(x)
    results = OrtEngine().build(given)(x)
    true = [true] if isinstance(true, torch.Tensor) else [*true]
    torch.testing.assert_close(list(results), true, rtol=1e-4, atol=1e-5)


def test_a_map_flattened_before() -> None:
    net = cnndsl.loads("net N: [3, 4, 4] = conv(8, 3) -> relu -> flatten -> linear(48)").net()
    plain = net.compile(optimize=0).eval()
    given = Job(Flow(net.graph), plain.state_dict(), ((5, 3, 4, 4),))
    model = onnx_model(given.flow, derived(given), given.sizes, 5)
    samples_as_pixels(model)
    assert Counter(node.op_type for node in model.graph.node)["Conv"] == 2
    x = torch.randn(5, 3, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(OrtEngine().build(given)(x)[0], plain(x), rtol=1e-4, atol=1e-5)


def test_only_where_it_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    given, _ = job("linear(48)", 2)
    model = onnx_model(given.flow, derived(given), given.sizes, 2)
    samples_as_pixels(model)
    assert [node.op_type for node in model.graph.node] == ["Gemm"]


def test_only_ours_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer runs the network as it is written."""
    seen: list[Any] = []
    monkeypatch.setattr(ort_samples, "samples_as_pixels", seen.append)
    OrtEngine(as_written=True).build(job("linear(48)", 2)[0])
    assert not seen
    OrtEngine().build(job("linear(48)", 2)[0])
    assert seen
