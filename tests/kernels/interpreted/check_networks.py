"""Whole small networks on the ``triton`` engine, as near to float64 as PyTorch is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import Standard
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job
from cnndsl.engines.triton_engine import OnKernel, OnTorch, Program, TritonEngine
from cnndsl.graph.cost import concrete, shape
from cnndsl.kernels.base import Config
from cnndsl.kernels.conv import Convolution
from cnndsl.ops.reshape import Flatten, Slice
from cnndsl.passes.base import Pipeline
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA, GPU
from tests.engines.test_engines import NESTED
from tests.networks import random_network
from tests.passes.drawn import Drawn
from tests.passes.hook import unmeasured

EXAMPLES = Path(__file__).parents[3] / "examples"
DENSE_BLOCK = """\
net N: [8, 6, 6] =
  for i in 1..3 do (id | bn -> relu -> conv(16, 1, bias=no) -> bn -> relu -> conv(4, 3, bias=no))
  -> bn -> relu -> conv(10, 1, bias=no) -> avgpool(2)
"""
MOBILE_BLOCK = """\
net N: [8, 7, 7] =
  ( conv(24, 1) -> bn -> relu6 -> conv(24, 3, groups=24) -> bn -> relu6 -> conv(8, 1) -> bn
  + id
  ) -> conv(24, 1) -> bn -> hardswish -> conv(24, 5, stride=2, groups=24) -> bn -> hardswish
  -> (id * (gap -> conv(6, 1) -> relu -> conv(24, 1) -> hardsigmoid)) -> conv(12, 1) -> bn
"""
SE_RESNET = """\
net N: [3, 8, 8] =
  conv(8, 3, bias=no) -> bn -> relu -> maxpool(3, stride=2, padding=1)
  -> ( conv(4, 1, bias=no) -> bn -> relu -> conv(4, 3, bias=no) -> bn -> relu
       -> conv(16, 1, bias=no) -> bn -> (id * (gap -> conv(2, 1) -> relu -> conv(16, 1) -> sigmoid))
     + conv(16, 1, bias=no) -> bn
     ) -> relu
  -> (conv(16, 3, bias=no) -> bn + id + avgpool(3, stride=1, padding=1)) -> relu
  -> gap -> flatten -> linear(5) -> softmax
"""
INCEPTION = """\
net N: [3, 9, 9] =
  conv(12, 3) -> relu -> lrn(5) -> maxpool(3, stride=2, ceil=yes)
  -> ( conv(4, 1) -> relu
     | conv(3, 1) -> relu -> conv(6, 3) -> relu
     | maxpool(3, stride=1, padding=1) -> conv(3, 1) -> relu
     )
  -> avgpool(2) -> gmp -> flatten -> linear(4) -> log_softmax
"""

DRAWS = 4


def run(
    net: cnndsl.Compilation,
    size: int,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    rewrites: Sequence[Pipeline] = (ALGEBRA, GPU),
    few: bool = False,
) -> Program:
    """AssertionError unless the engine agrees with PyTorch on this network.

    ``few``: its results are so few numbers that which error is larger is a matter of chance, and
    depends on the processor; of others ``DRAWS`` batches are drawn.
    """
    flow = Flow(net.graph)
    sizes = net.facts.reference(size)
    drawn = Drawn(flow, sizes, seed)
    plain, flow = flow.copy(), flow.at(sizes)
    with unmeasured():  # the end is compared
        for pipeline in rewrites:
            pipeline.run(flow)
    shapes = tuple((len(drawn.inputs[0]), *shape(concrete(s.type, sizes))) for s in flow.inputs)
    parameters = {k: v.to(dtype) for k, v in drawn.parameters.items()}
    inputs = [x.to(dtype) for x in drawn.inputs]
    runner = TritonEngine().build(Job(flow, parameters, shapes, dtype))
    if not few:
        more = [Drawn(plain, sizes, seed + i).inputs for i in range(1, DRAWS)]
        given = [inputs, *([x.to(dtype) for x in one] for one in more)]
        assert Standard(Job(plain, parameters, shapes, dtype), given).is_met_by(runner)
    exact = Plain(plain, parameters, torch.float64)(*(x.double() for x in inputs))
    for found, true in zip(runner(*inputs), exact, strict=True):
        least = (1e-6 if dtype == torch.float32 else 2e-2) * float(true.abs().max())
        torch.testing.assert_close(found.double(), true, rtol=2e-5, atol=least)
    assert isinstance(runner, Program)
    return runner


def kernels(program: Program) -> int:
    return sum(isinstance(part, OnKernel) for call in program.calls for part in call.parts)


def left_to_pytorch(program: Program) -> list[str]:
    """What no kernel of ours runs, but what moves no number."""
    parts = [part for call in program.calls for part in call.parts if isinstance(part, OnTorch)]
    return [str(p.problem) for p in parts if not isinstance(p.problem.links[0].op, Flatten | Slice)]


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter pays for each program and each step of its loop, hardly for their size."""
    large = [Config.of(BM=512, BN=64, BK=64)]
    monkeypatch.setattr(Convolution, "configs", lambda *_: large)


def test_lenet() -> None:
    net = cnndsl.load(EXAMPLES / "lenet.cnn").net()
    assert kernels(run(net, 28)) >= 4


@pytest.mark.slow
def test_resnet20() -> None:
    net = cnndsl.load(EXAMPLES / "resnet_cifar.cnn").net("ResNet20")
    assert kernels(run(net, 8)) >= 20


@pytest.mark.parametrize("text", [DENSE_BLOCK, MOBILE_BLOCK])
def test_blocks(text: str) -> None:
    assert kernels(run(cnndsl.loads(text).net(), 7)) >= 6


@pytest.mark.parametrize("text", [SE_RESNET, INCEPTION])
def test_all_of_it_runs_on_our_kernels(text: str) -> None:
    assert not left_to_pytorch(run(cnndsl.loads(text).net(), 8, few=True))


@pytest.mark.parametrize(
    "text",
    [NESTED, "net N: [4, 6, 6] = (maxpool(3, stride=1, padding=1) | conv(3, 1)) -> conv(5, 3)"],
)
def test_concatenations(text: str) -> None:
    """A part of two buffers, one that is a view itself, one that PyTorch computes."""
    run(cnndsl.loads(text).net(), 6, rewrites=())


def test_half() -> None:
    run(cnndsl.loads(MOBILE_BLOCK).net(), 7, 1, torch.float16)


@pytest.mark.parametrize("seed", range(2))
def test_random(seed: int) -> None:
    run(cnndsl.loads(random_network(seed, tiny=True)).net(), 7, seed, few=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 40))
def test_more_random(seed: int) -> None:
    run(cnndsl.loads(random_network(seed, tiny=True)).net(), 7, seed, few=True)


def test_a_module_runs_on_it() -> None:
    text = "net N: [3, H, W] = conv(8, 3) -> bn -> relu -> (id | conv(4, 3)) -> gap -> flatten"
    network = cnndsl.loads(text).net().compile(engine="triton").eval()
    plain = cnndsl.loads(text).net().compile(optimize=0).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        for size in (6, 9):
            x = torch.randn(2, 3, size, size)
            torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-5)
    assert network._live.refused == "" and network._live.engine.name == "triton"
