"""Rewrites on the example networks: right, fast, linear, and worth it."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import pytest

import cnndsl
from cnndsl.ops.conv import Conv
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA, FUSION
from tests.passes.hook import unmeasured
from tests.passes.oracle import Comparison

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = 10_000_000
"""Parameters from which only the end of the pipeline is measured, not each rewrite."""


def flow_of(file: str, net: str | None = None, **sizes: int) -> Flow:
    program = cnndsl.load(EXAMPLES / f"{file}.cnn")
    graph = program.net(net or program.nets[0]).graph
    return Flow(graph, sizes or None)


def first_nets() -> list[str]:
    """One net of each file; a search space is none."""
    return [p.stem for p in sorted(EXAMPLES.glob("*.cnn")) if p.stem != "nas"]


@pytest.mark.parametrize("file", first_nets())
def test_every_rewrite_is_right(file: str) -> None:
    """The session's hook compares before and after of each; at the smallest size if large."""
    flow = flow_of(file)
    before = flow.copy()
    with unmeasured() if flow.parameters() > LARGE else nullcontext():
        ALGEBRA.run(flow)
        FUSION.run(flow)
    assert len(flow) < len(before)
    if before.parameters() > LARGE:
        Comparison(before).close(flow, 0)


# --- how fast -------------------------------------------------------------------------------------


TRIES = 3
"""Other work on the machine only adds to a time: it is enough that one of a few is short."""


def seconds(flow: Flow) -> float:
    with unmeasured():
        twin = flow.copy()
        start = time.process_time()
        ALGEBRA.run(twin)
        FUSION.run(twin)
        return time.process_time() - start


@pytest.mark.parametrize(
    ("file", "net", "most"), [("densenet", "DenseNet121", 0.3), ("resnet_cifar", "ResNet1202", 3.0)]
)
def test_the_optimiser_is_fast(file: str, net: str, most: float) -> None:
    flow = flow_of(file, net)
    assert any(seconds(flow) < most for _ in range(TRIES))


def test_the_optimiser_is_linear() -> None:
    small, large = flow_of("resnet_cifar", "ResNet110"), flow_of("resnet_cifar", "ResNet1202")
    few = min(seconds(small) for _ in range(TRIES)) / len(small)
    assert any(seconds(large) / len(large) < 3 * few for _ in range(TRIES)), few


# --- what it saves --------------------------------------------------------------------------------


def optimised(file: str, net: str | None = None) -> tuple[Flow, Flow]:
    flow = flow_of(file, net, H=224, W=224)
    after = flow.copy()
    with unmeasured():
        ALGEBRA.run(after)
    return flow, after


@pytest.mark.parametrize("net", ["DenseNet121", "DenseNet161", "DenseNet169", "DenseNet201"])
def test_densenet_pools_before_it_convolves(net: str) -> None:
    before, after = optimised("densenet", net)
    assert after.total_macs() <= 0.93 * before.total_macs()


@pytest.mark.parametrize("file", ["resnet", "vgg", "googlenet", "mobilenet_v2", "inception_v4"])
def test_nothing_gets_more_expensive(file: str) -> None:
    before, after = optimised(file)
    assert after.total_macs() <= before.total_macs()


def test_the_squeeze_reads_the_smaller_tensor() -> None:
    """Work stays the same within the gates, and every gate's average reads fewer channels."""
    before, after = optimised("se_resnet", "SEResNet50")
    assert 0.999 * before.total_macs() <= after.total_macs() <= before.total_macs()
    for step in after:
        if step.op.name == "gap" and after.only_user(step) is not None:
            (x,) = step.inputs
            assert not isinstance(x.op, Conv), f"{step} averages what a convolution widened"
