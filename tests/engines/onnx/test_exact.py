"""Sums in stages: the same numbers, with a smaller error."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import error
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.engines.onnx.exact import products_in_stages
from cnndsl.engines.onnx.model import onnx_model
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.engines.openvino.engine import OpenVinoEngine
from cnndsl.graph.cost import shape
from cnndsl.passes.flow import Flow

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("size", [(13, 13), (7, 7), (1, 99), (99, 1), (1, 1), (40, 3)])
def test_the_same_mean(size: tuple[int, int]) -> None:
    net = cnndsl.loads(f"net N: [16, {size[0]}, {size[1]}] = relu -> gap").net()
    x = torch.rand(2, 16, *size)
    (found,) = OrtEngine().build(Job(Flow(net.graph), {}, (tuple(x.shape),)))(x)
    torch.testing.assert_close(found, x.mean((2, 3), keepdim=True))


def test_a_smaller_error() -> None:
    net = cnndsl.loads("net N: [64, 56, 56] = conv(64, 1) -> relu -> gap").net()
    job = Job(Flow(net.graph), net.compile(optimize=0).state_dict(), ((1, 64, 56, 56),))
    x = torch.rand(1, 64, 56, 56, generator=torch.Generator().manual_seed(0))
    module = net.compile(optimize=0).double()
    module.load_state_dict(job.parameters)
    with torch.no_grad():
        true = module(x.double())
    ours, written = (
        error(OrtEngine(as_written=form).build(job)(x)[0], true) for form in (False, True)
    )
    assert ours < written / 2


@pytest.mark.parametrize("bias", ["", ", bias=no"])
@pytest.mark.parametrize("features", [200, 250, 260, 512])
def test_the_same_product(features: int, bias: str) -> None:
    """In parts or, of few features or of a number that has no equal parts, in one."""
    pytest.importorskip("openvino")
    net = cnndsl.loads(f"net N: [{features}] = linear(10{bias})").net()
    module = net.compile(optimize=0)
    x = torch.randn(3, features)
    job = Job(Flow(net.graph), module.state_dict(), (tuple(x.shape),))
    (found,) = OpenVinoEngine().build(job)(x)
    with torch.no_grad():
        torch.testing.assert_close(found, module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("text", ["[512] = in: linear(10)", "[512] fc = fc -> fc: linear(10)"])
def test_names_of_inputs_and_layers_may_be_equal(text: str, batch: int) -> None:
    pytest.importorskip("openvino")
    net = cnndsl.loads(f"net N: {text}").net()
    module = net.compile(optimize=0)
    x = torch.randn(batch, 512)
    (found,) = OpenVinoEngine().build(Job(Flow(net.graph), module.state_dict(), ((batch, 512),)))(x)
    with torch.no_grad():
        torch.testing.assert_close(found, module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_what_is_added_has_names_of_its_own(engine: str) -> None:
    """Sums of the rows of an input, and means of those of a layer called like it."""
    pytest.importorskip(engine)
    net = cnndsl.loads("net N: [3, 12, 10] x = x -> x: gap").net()
    fast = net.compile(engine=engine).eval()
    x = torch.randn(1, 3, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), x.mean((2, 3), keepdim=True))
    assert fast._live.refused == ""


def test_weights_are_held_once() -> None:
    net = cnndsl.loads("net N: [512] = linear(300)").net()
    job = Job(Flow(net.graph), net.compile(optimize=0).state_dict(), ((1, 512),))
    model = onnx_model(job.flow, derived(job), {}, 1)
    size = model.ByteSize()
    products_in_stages(model)
    assert model.ByteSize() < 1.01 * size


def test_parts_of_a_shared_weight_are_held_once() -> None:
    pytest.importorskip("openvino")
    net = cnndsl.loads("net N: [512] = l: linear(512) -> relu -> (again l)").net()
    module = net.compile(optimize=0)
    job = Job(Flow(net.graph), module.state_dict(), ((1, 512),))
    model = onnx_model(job.flow, derived(job), {}, 1)
    products_in_stages(model)
    names = [tensor.name for tensor in model.graph.initializer]
    assert len(names) == len(set(names)) and model.ByteSize() < 1.1 * 4 * 512**2
    x = torch.randn(1, 512)
    with torch.no_grad():
        torch.testing.assert_close(OpenVinoEngine().build(job)(x)[0], module(x))


@pytest.mark.parametrize("body", ["emit feat: id -> gap", "gap"])
def test_a_mean_of_a_result(body: str) -> None:
    net = cnndsl.loads(f"net N: [3, 12, 12] = conv(8, 3) -> relu -> {body}").net()
    module = net.compile(optimize=0).eval()
    job = Job(Flow(net.graph), module.state_dict(), ((1, 3, 12, 12),))
    x = torch.randn(1, 3, 12, 12)
    with torch.no_grad():
        expected = module(x)
    wanted = [expected] if body == "gap" else list(expected)
    for found, true in zip(OrtEngine().build(job)(x), wanted, strict=True):
        torch.testing.assert_close(found, true)


def test_a_smaller_error_of_products() -> None:
    pytest.importorskip("openvino")
    net = cnndsl.loads("net N: [2048] = linear(500)").net()
    module = net.compile(optimize=0)
    job = Job(Flow(net.graph), module.state_dict(), ((1, 2048),))
    x = torch.rand(1, 2048, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        true = module.double()(x.double())
    ours, written = (
        error(OpenVinoEngine(as_written=form).build(job)(x)[0], true) for form in (False, True)
    )
    assert ours < written / 1.5


def half_model(text: str) -> tuple[Any, Job]:
    """As OpenVINO gets it for bfloat16."""
    net = cnndsl.loads(text).net()
    torch.manual_seed(0)
    parameters = net.compile(optimize=0).state_dict()
    flow = Flow(net.graph)
    shapes = tuple((2, *shape(step.type)) for step in flow.inputs)
    job = Job(flow, parameters, shapes)
    return OpenVinoEngine()._model(job, half=True), job


GATE = "gap -> conv(4, 1) -> relu -> conv(16, 1) -> sigmoid"


@pytest.mark.parametrize(
    ("body", "high"),
    [
        (f"id * ({GATE})", True),
        (f"id * ({GATE.replace('(4, 1)', '(4, 1, bias=no)')})", True),
        (f"id * ({GATE.replace('(4, 1)', '(4, 1, groups=2)')})", True),
        (f"id * ({GATE.replace('(4, 1)', '(4, 1, padding=1)')} -> gap)", False),
        (f"id * ({GATE.replace('(4, 1)', '(4, 1, stride=2)')})", True),
        ("id * (gap -> (conv(16, 1) + id))", False),
        ("gap -> emit mean: id -> conv(16, 1)", False),
        ("relu -> gap", False),
    ],
)
def test_a_mean_goes_into_the_product_behind_it(body: str, high: bool) -> None:
    """Where nobody else reads it; the same numbers by onnxruntime in float32."""
    import onnxruntime

    model, job = half_model(f"net N: [16, 12, 9] = {body}")
    kernels = [tuple(t.dims[2:]) for t in model.graph.initializer if len(t.dims) == 4]
    assert ((12, 1) in kernels) == high
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    x = torch.randn(job.shapes[0], generator=torch.Generator().manual_seed(0))
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = Plain(job.flow, job.parameters, torch.float64)(x.double())
    for one, true in zip(found, expected, strict=False):  # behind them is the sum of the input
        torch.testing.assert_close(torch.tensor(one).double(), true, rtol=1e-4, atol=1e-4)


def test_a_small_mean_is_taken_at_once() -> None:
    model, _ = half_model(f"net N: [16, 8, 8] = id * ({GATE})")
    assert all(tuple(t.dims[2:]) != (8, 1) for t in model.graph.initializer)


def test_two_means_for_one_weight() -> None:
    """Of maps of different heights."""
    branches = "(gap -> (again gate)) | (maxpool((2, 1)) -> gap -> (again gate))"
    model, _ = half_model(f"net N: [16, 24, 9] = gate: conv(16, 1) -> ({branches})")
    kernels = {tuple(t.dims[2:]) for t in model.graph.initializer if len(t.dims) == 4}
    assert {(24, 1), (12, 1), (1, 1)} <= kernels
