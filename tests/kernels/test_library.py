"""``cnndsl::chain`` is an operator as PyTorch wants one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.source import ConstantSource
from torch._functorch.aot_autograd import aot_export_module
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental import _config as tracing
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import cnndsl
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job
from cnndsl.kernels.library import chain, weight_names
from cnndsl.kernels.module import Lowered
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.reference import backward_error, reference
from cnndsl.kernels.spelling import read, spelled
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA, GPU
from tests.kernels.oracle import UNITS, drawn, problem_of
from tests.kernels.shapes import SHAPES
from tests.passes.drawn import Drawn
from tests.passes.hook import unmeasured

TEXTS = [
    "[3, 5, 4] = conv(6, 3, stride=2) -> relu",
    "[4, 3, 3] = (conv(4, 3, padding=same_upper) -> bn -> scale(0.3) -> scale) * id",
    "[5] = linear(3) -> prelu(3)",
    "[4, 3, 3] = conv_transpose(2, 2, stride=2, bias=no)",
]


def arguments(problem: Problem, *, grad: bool = False) -> tuple[list[Tensor], list[Tensor], str]:
    given = drawn(problem)
    weights = [given.weights[name] for name in weight_names(problem)]
    for x in (*given.inputs, *weights):
        x.requires_grad_(grad)
    return given.inputs, weights, spelled(problem)


class Net(nn.Module):
    """One chain as a module."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.problem = problem_of(text)
        _, weights, self.text = arguments(self.problem)
        self.weights = nn.ParameterList(weights)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        inputs = [x] * len(self.problem.inputs)
        return (torch.ops.cnndsl.chain(inputs, [*self.weights], self.text),)


def test_a_problem_is_read_back() -> None:
    texts = [*TEXTS, *(row[0] for row in SHAPES.values())]
    for text in texts:
        problem = problem_of(text, 3, torch.half)
        assert read(spelled(problem)) == problem
        assert spelled(read(spelled(problem))) == spelled(problem)


@pytest.mark.parametrize("text", TEXTS)
def test_it_is_the_reference(text: str) -> None:
    problem = problem_of(text)
    inputs, weights, spelling = arguments(problem)
    named = dict(zip(weight_names(problem), weights, strict=True))
    error = backward_error(chain(inputs, weights, spelling), *reference(problem, inputs, named))
    assert float(error.max()) <= UNITS


@pytest.mark.parametrize("text", TEXTS[:2])
def test_opcheck(text: str) -> None:
    torch.library.opcheck(chain, arguments(problem_of(text), grad=True))


def test_sizes_are_those_of_the_inputs() -> None:
    """Which pixels this padding adds depends on the size."""
    text = "[3, {0}, {0}] = conv(2, 3, stride=2, padding=same_upper)"
    small, large = problem_of(text.format(5)), problem_of(text.format(8), 3)
    inputs, weights, spelling = arguments(large)
    torch.testing.assert_close(
        chain(inputs, weights, spelled(small)), chain(inputs, weights, spelling)
    )


PADDED = "[3, {0}, {0}] = conv(2, 3, stride=2, padding=same_upper) -> relu"


@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled_it_is_right_at_every_size(dynamic: bool | None) -> None:
    """Which pixels the padding adds is not what it was where the trace was made."""
    spelling = spelled(problem_of(PADDED.format(9)))
    _, weights, _ = arguments(problem_of(PADDED.format(9)))
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: chain([x], weights, spelling), backend="aot_eager", dynamic=dynamic
    )
    for size in (9, 8, 10):
        x = torch.randn(2, 3, size, size)
        wanted = chain([x], weights, spelled(problem_of(PADDED.format(size))))
        torch.testing.assert_close(compiled(x), wanted)


def test_a_trace_of_what_pads_by_the_size_holds_for_every_batch() -> None:
    problem = problem_of(PADDED.format(8))
    dims = {"x": {0: torch.export.Dim("N", min=1)}}
    net = Net(PADDED.format(8)).eval()
    with torch.no_grad():
        program = torch.export.export(net, (drawn(problem).inputs[0],), dynamic_shapes=dims)
        for batch in (1, 3):
            x = torch.randn(batch, 3, 8, 8)
            torch.testing.assert_close(program.module()(x), net(x))


def test_gradients_are_those_at_the_sizes_of_the_inputs() -> None:
    text = "[3, {0}, {0}] = conv(2, 3, stride=2, padding=same_upper)"
    large, found = problem_of(text.format(8), 3), []
    for problem in (problem_of(text.format(5)), large):
        inputs, weights, _ = arguments(large, grad=True)
        chain(inputs, weights, spelled(problem)).square().sum().backward()
        found.append([x.grad for x in (*inputs, *weights)])
    torch.testing.assert_close(*found)


def test_gradients() -> None:
    """Those of differences, in float64."""
    text = "[2, 2, 3] = (conv(2, 3, padding=same_upper) -> bn -> scale(0.3) -> scale) * id"
    problem = problem_of(text, 1, dtype=torch.float64)
    inputs, weights, spelling = arguments(problem, grad=True)
    double = [w.detach().double().requires_grad_() for w in weights]

    def function(*given: Tensor) -> Tensor:
        return chain([*given[: len(inputs)]], [*given[len(inputs) :]], spelling)

    assert torch.autograd.gradcheck(function, (*inputs, *double))


@pytest.mark.parametrize("text", TEXTS[1:2])
def test_compiled(text: str) -> None:
    net = Net(text).eval()
    x = drawn(net.problem, 1).inputs[0]
    with torch.no_grad():
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)(x)
        torch.testing.assert_close(compiled, net(x))


def test_a_trace_holds_operators_of_pytorch() -> None:
    net = Net(TEXTS[0]).eval().requires_grad_(False)
    with torch.no_grad():
        graph, _ = aot_export_module(net, [*drawn(net.problem, 1).inputs], trace_joint=False)
    assert "convolution" in graph.code and "cnndsl" not in graph.code


NETWORK = """\
net N: [3, 8, 8] = conv(8, 3) -> bn -> relu -> (id | bn -> relu -> conv(4, 3)) -> maxpool(2)
  -> (id * (gap -> gate: conv(12, 1) -> sigmoid)) -> gap -> flatten -> linear(5)
"""


def job() -> Job:
    net = cnndsl.loads(NETWORK).net()
    flow = Flow(net.graph)
    parameters = {k: v.float() for k, v in Drawn(flow, {}, 0).parameters.items()}
    with unmeasured():
        ALGEBRA.run(flow)
        GPU.run(flow)
    return Job(flow, parameters, ((2, 3, 8, 8),))


def test_a_network_is_exported(tmp_path: Path) -> None:
    """And read back, with our operators in it."""
    given, x = job(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        lowered = Lowered(given).eval()
        program = torch.export.export(lowered, (x,))
        torch.export.save(program, tmp_path / "net.pt2")
        (found,) = torch.export.load(tmp_path / "net.pt2").module()(x)
    (true,) = Plain(given.flow, given.parameters, torch.float64)(x.double())
    torch.testing.assert_close(found.double(), true, rtol=1e-5, atol=1e-5)
    names = [str(node.target) for node in program.graph.nodes]
    assert names.count("cnndsl.chain.default") >= 4


def test_traced_for_a_gpu_it_is_the_kernel() -> None:
    """Inductor sees through the operator: filters are packed in plain view, once if frozen."""
    problem = problem_of("[16, 8, 8] = (conv(16, 3) + id) -> relu", 2, torch.half)
    spelling, shapes = spelled(problem), [w.shape for w in problem.chain.weights(*problem.inputs)]

    class Traced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for k, size in enumerate(shapes):
                self.register_buffer(f"w{k}", torch.empty(size, device="cuda", dtype=torch.half))

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (torch.ops.cnndsl.chain([x], list(self.buffers()), spelling),)

    with FakeTensorMode(), torch.no_grad():
        x = torch.empty(3, 16, 8, 10, device="cuda", dtype=torch.half)
        x = torch.empty_like(x, memory_format=torch.channels_last)
        graph, _ = aot_export_module(Traced(), [x], trace_joint=False)
        assert Traced()(x)[0].shape == x.shape  # not what the text was written at
    (launch,) = [n for n in graph.graph.nodes if "triton_kernel_wrapper" in str(n.target)]
    assert launch.kwargs["kwargs"]["EPILOGUE"] == "shift 0|add|relu"


def test_what_no_kernel_takes_is_pytorch_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnndsl.kernels.table.taking", lambda problem, capability: [])

    class Traced(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (torch.ops.cnndsl.chain([x], [], spelled(problem_of("[3, 4, 4] = relu"))),)

    with FakeTensorMode(), torch.no_grad():
        x = torch.empty(2, 3, 4, 4, device="cuda")
        graph, _ = aot_export_module(Traced(), [x], trace_joint=False)
        monkeypatch.setattr(torch, "empty", None)  # nothing is made in vain
        (found,) = Traced()(x)
    assert "relu" in graph.code and "triton" not in graph.code
    assert found.is_contiguous(memory_format=torch.channels_last)  # as kernels leave it


def test_sizes_that_a_gpu_trace_leaves_open_become_numbers() -> None:
    """A launch's grid and its tiles follow from them: the trace is for these alone."""
    problem, sizes = problem_of("[16, 8, 8] = conv(16, 3)", 2, torch.half), ShapeEnv()
    with FakeTensorMode(shape_env=sizes), torch.no_grad():
        symbol = sizes.create_symbol(5, ConstantSource("N"))
        batch = sizes.create_symintnode(symbol, hint=5)
        x = torch.empty(batch, 16, 8, 8, device="cuda", dtype=torch.half)
        x = torch.empty_like(x, memory_format=torch.channels_last)
        shapes = [weight.shape for weight in problem.chain.weights(*problem.inputs)]
        weights = [torch.empty(shape, device="cuda", dtype=torch.half) for shape in shapes]
        found = chain([x], weights, spelled(problem))
    assert not isinstance(x.shape[0], int)
    assert isinstance(found.shape[0], int) and found.shape[0] == 5


def test_on_the_cpu_a_result_is_contiguous() -> None:
    """Whatever lies how: a trace for all sizes would ask else which of them are 1."""
    problem = problem_of("[4, 3, 3] = conv(5, 3) -> relu")
    (x,), weights, spelling = arguments(problem)
    found = chain([x.contiguous(memory_format=torch.channels_last)], weights, spelling)
    assert found.is_contiguous()


def test_a_trace_holds_for_every_size() -> None:
    """Whether the last window of such a pool starts outside depends on the size."""
    spelling = spelled(problem_of("[3, 9, 9] = maxpool(3, stride=2, ceil=yes)"))

    class Traced(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = chain([x], [], spelling)
            return found

    height, width = (torch.export.Dim(name, min=3) for name in "HW")
    dims = {"x": {0: torch.export.Dim("N", min=1), 2: height, 3: width}}
    with tracing.patch(backed_size_oblivious=True), torch.no_grad():  # type: ignore[attr-defined]
        program = torch.export.export(Traced(), (torch.randn(2, 3, 9, 9),), dynamic_shapes=dims)
        for shape in [(1, 3, 3, 4), (3, 3, 14, 9)]:
            x = torch.randn(shape)
            wanted = nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)
            torch.testing.assert_close(program.module()(x), wanted)
