"""Plans that run: on memory laid out before, whole or in chunks, as near to float64 as PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import Standard, agrees
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.kernels.base import Config
from cnndsl.kernels.conv import Convolution
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.chunks import Search
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.launches import Launches
from cnndsl.kernels.plan.memory import memory
from cnndsl.kernels.plan.network import Plan, Region
from cnndsl.kernels.plan.outlook import Outlook
from cnndsl.kernels.plan.store import WRONG
from cnndsl.kernels.plan.trial import Trial
from cnndsl.kernels.problem import Problem
from cnndsl.passes.flow import Flow
from tests.kernels.planning import H100, flow_for, ours_only, planned
from tests.passes.drawn import Drawn

BATCH, CHUNK = 4, 2
TEXTS = {
    "residuals": "[4, 4, 4] = s: conv(4, 1) -> for i in 1..2 do (id + conv(4, 3)) -> conv(4, 1)",
    "slices": "[4, 4, 4] = for i in 1..2 do (id | conv(4, 3) -> relu) -> maxpool(2)",
    "input in a slice": "[4, 4, 4] = (id | conv(4, 3)) -> gap -> flatten -> linear(3)",
    "pixels left out": "[4, 5, 4] = a: conv(4, 1) -> maxpool(1, stride=2) -> conv(4, 1)",
    "some left out in a slice": "[4, 4, 4] = conv(4, 1) -> (maxpool(1, stride=2) | avgpool(2)) "
    "-> conv(4, 1)",
    "several results": "[4, 4, 4] = conv(4, 3) -> emit a: conv(2, 1) -> relu",
}


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter pays for each program and each step of its loop, hardly for their size."""
    large = [Config.of(8, BM=256, BN=64, BK=32)]
    monkeypatch.setattr(Convolution, "configs", lambda *_: large)


def job_of(text: str) -> tuple[Job, Job, Sequence[torch.Tensor]]:
    """As it is fused, as it was written, and inputs."""
    net = cnndsl.loads(f"net N: {text}").net()
    plain, flow = Flow(net.graph), flow_for(net)
    drawn = Drawn(plain, {}, 0)
    inputs = [x.float().repeat(BATCH // len(x), 1, 1, 1) for x in drawn.inputs]
    parameters = {k: v.float() for k, v in drawn.parameters.items()}
    shapes = tuple(tuple(x.shape) for x in inputs)
    return Job(flow, parameters, shapes), Job(plain, parameters, shapes), inputs


def chunked(flow: Flow, first: int, last: int) -> Plan:
    """Some steps in chunks, the rest for the whole batch."""
    whole, part = (
        planned(flow, b, torch.float32, measured=ours_only, chunks=()) for b in (BATCH, CHUNK)
    )
    steps = (*whole.steps[:first], *part.steps[first:last], *whole.steps[last:])
    ends = ((0, first, BATCH), (first, last, CHUNK), (last, len(steps), BATCH))
    regions = (Region(start, end, size, 0.0) for start, end, size in ends if start < end)
    return replace(whole, steps=steps, regions=tuple(regions))


@pytest.mark.parametrize("name", TEXTS)
def test_static_memory(name: str) -> None:
    fused, plain, inputs = job_of(TEXTS[name])
    found = planned(fused.flow, BATCH, torch.float32, measured=ours_only, chunks=())
    launches = Launches(found, derived(fused), "cpu")
    launches.arena.fill_(0xFF)  # NaN: what is read before it is written shows
    assert agrees(launches, plain, inputs)
    assert agrees(launches, plain, inputs)  # what the first run left behind does not matter
    assert any(piece.way.ours for one in found.steps for piece in one.pieces)


def framed_only(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
    """As if that were the fastest wherever an image may lie in a frame."""
    return {way: 1e-9 for way in ways if way.frame(problem)} or ours_only(problem, ways)


@pytest.mark.parametrize(
    ("text", "framed"),
    [
        ("[3, 9, 8] = conv(8, 7, stride=2) -> relu -> maxpool(2) -> conv(4, 3)", True),
        ("[3, 9, 8] = conv(8, 3, stride=2, padding=same_upper) -> relu", True),
        ("[3, 9, 8] = conv(3, 3) -> emit a: conv(4, 3) -> relu", True),
        ("[3, 9, 8] = (id + conv(3, 3)) -> conv(4, 1)", False),
        ("[3, 9, 8] = (id | conv(5, 3)) -> conv(4, 1)", False),
        ("[3, 9, 8] = (conv(5, 3) | conv(5, 5)) -> conv(4, 1)", False),
        ("[3, 9, 8] = conv(3, 1) -> conv(8, 3) -> relu", False),
        ("[3, 9, 8] = bn -> relu -> conv(8, 3) -> relu -> conv(4, 1)", False),
    ],
)
def test_an_image_is_copied_into_its_frame(text: str, framed: bool) -> None:
    """Where only one step reads it; whatever ran before, the frame is still of zeros."""
    net = cnndsl.loads(f"net N: {text}").net()
    flow, plain = flow_for(net), Flow(net.graph)
    outlook = Outlook(flow, BATCH, torch.half, Chooser(H100, framed_only))
    found = outlook.whole(outlook.planned(BATCH), (Region(0, len(outlook.steps), BATCH, 0.0),))
    assert [step.frame is not None for step in found.steps].count(True) == framed
    numbers = Drawn(plain, {}, 0)
    parameters = {k: v.float() for k, v in numbers.parameters.items()}
    (x,) = (x.half().repeat(BATCH // len(x), 1, 1, 1) for x in numbers.inputs)
    job = Job(flow, parameters, (tuple(x.shape),), torch.half)
    launches = Launches(found, derived(job), "cpu")
    assert len(launches.memory.frames) == framed
    assert not memory(found, Region(1, len(found.steps), BATCH, 0.0)).frames  # of what is behind
    standard = Standard(replace(job, flow=plain), [[x], [x.flip(0)]])
    assert standard.is_met_by(launches) and standard.is_met_by(launches)
    trial = Trial(outlook, 0, len(outlook.steps), "cpu")
    assert trial.is_right(outlook.variants(0, len(outlook.steps), BATCH)[0])


def test_a_view_between_two_kernels() -> None:
    """A chain that was cut at a flattened map: the second kernel reads where the first wrote."""

    def cut(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
        whole = {way: WRONG for way in ways if len(problem.links) > 1}
        return ours_only(problem, ways) | whole

    fused, plain, inputs = job_of(TEXTS["input in a slice"])
    found = planned(fused.flow, BATCH, torch.float32, measured=cut, chunks=())
    makers = [piece.way.maker.name for piece in found.steps[-1].pieces]
    assert makers == ["global_pool", "aten", "conv"]
    launches = Launches(found, derived(fused), "cpu")
    launches.arena.fill_(0xFF)
    assert agrees(launches, plain, inputs)


@pytest.mark.parametrize("name", ["residuals", "slices"])
def test_chunks_of_the_batch(name: str) -> None:
    fused, plain, inputs = job_of(TEXTS[name])
    count = len([step for step in fused.flow if step.inputs])
    launches = Launches(chunked(fused.flow, 1, count), derived(fused), "cpu")
    launches.arena.fill_(0xFF)
    assert agrees(launches, plain, inputs)


@pytest.mark.parametrize("name", ["residuals", "slices"])
def test_steps_alone_are_checked(name: str) -> None:
    """As they would run within the network, whole and in chunks; the numbers are right, and a
    kernel that is off is found out."""
    fused, _, _ = job_of(TEXTS[name])
    outlook = Outlook(fused.flow, BATCH, torch.float32, Chooser(H100, ours_only))
    for first, last in Search(outlook, ()).ends:
        trial = Trial(outlook, first, last, "cpu")
        for chunk in (BATCH, CHUNK):
            variant, *_ = outlook.variants(first, last, chunk)
            assert trial.is_right(variant)
    assert trial.run(variant, 2)() is not None


def test_a_kernel_that_is_off_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, _, _ = job_of(TEXTS["residuals"])
    outlook = Outlook(fused.flow, BATCH, torch.float32, Chooser(H100, ours_only))
    first, last = Search(outlook, ()).ends[1]
    (variant, *_), trial = outlook.variants(first, last, BATCH), Trial(outlook, first, last, "cpu")
    packed = Convolution.pack
    assert trial.is_right(variant)
    monkeypatch.setattr(
        Convolution,
        "pack",
        lambda self, *rest: {k: 1.001 * w for k, w in packed(self, *rest).items()},
    )
    assert not trial.is_right(variant)


def test_results_are_copies() -> None:
    fused, _, inputs = job_of(TEXTS["residuals"])
    found = planned(fused.flow, BATCH, torch.float32, measured=ours_only, chunks=())
    launches = Launches(found, derived(fused), "cpu")
    (first,) = launches(*inputs)
    kept = first.clone()
    launches(*(2 * x for x in inputs))
    assert torch.equal(first, kept)
