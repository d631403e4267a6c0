"""Plans of networks: what is chosen, how many kernels that is, and what they move."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cache

import pytest
import torch

import cnndsl
from cnndsl.kernels.plan.choice import Chooser, Ends
from cnndsl.kernels.plan.cost import Way, cost_of
from cnndsl.kernels.plan.device import DEVICES, device_of, present
from cnndsl.kernels.plan.network import Plan
from cnndsl.kernels.plan.planner import plan, problems
from cnndsl.kernels.plan.report import rows, text, to_json
from cnndsl.kernels.plan.store import WRONG
from cnndsl.kernels.plan.vendor import ATEN, is_view
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.segments import segment, segments
from cnndsl.kernels.table import taking
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow
from tests.kernels.oracle import problem_of
from tests.kernels.planning import (
    EXAMPLES,
    H100,
    ROOMY,
    flow_for,
    flow_from,
    flow_of,
    ours_only,
    planned,
)

BLOCK = "[64, 28, 28] = conv(64, 3) -> relu -> (id + (conv(64, 3) -> relu -> conv(64, 3))) -> relu"


# --- bars ---------------------------------------------------------------------------------------


def roofline_bytes(flow: Flow, batch: int) -> int:
    """Every input, weight and result of every part once, in two bytes.

    A part is as much of a step as some kernel of ours takes, so that a max-pool is one with the
    first convolution of a network and apart from all others. Views are free, but for a part of a
    map that belongs into a concatenation: it is read and written.
    """
    buffers, total = Buffers.of(flow), 0
    for step in flow:
        if step.inputs and step.id not in buffers.views:
            whole = Problem.of(step, flow.sizes, batch, torch.bfloat16)
            if is_free(whole):
                total += 2 * 2 * batch * flow.values(step) * len(buffers.writes.get(step.id, ()))
            else:
                parts = (cut.problem for cut in segments(whole, _is_taken))
                total += sum(part.bytes for part in parts if not is_free(part))
    return total


def _is_taken(problem: Problem) -> bool:
    return bool(taking(problem, H100.capability))


def is_free(part: Problem) -> bool:
    return len(part.links) == 1 and is_view(part.links[0].op, part.operands[0])


@pytest.mark.parametrize(
    ("file", "net", "batch", "most"),
    [
        ("resnet", "ResNet50", 1, 57),
        ("resnet", "ResNet50", 256, 57),
        ("densenet", "DenseNet121", 1, 127),
        ("densenet", "DenseNet121", 256, 127),
    ],
)
def test_kernels(file: str, net: str, batch: int, most: int) -> None:
    assert plan_of(file, net, batch).kernels <= most


@cache
def plan_of(file: str, net: str, batch: int) -> Plan:
    """Without batch chunks, whose traffic stays in the cache."""
    return planned(flow_of(file, net), batch, chunks=())


QUICK = ("alexnet", "densenet", "googlenet", "resnet", "shufflenet_v2")
ALL = sorted(path.stem for path in EXAMPLES.glob("*.cnn"))


def every_net_has_a_plan(file: str, nets: Sequence[str] | None = None) -> None:
    program = cnndsl.load(EXAMPLES / f"{file}.cnn")
    for name in nets or program.nets:
        net = program.net(name)
        if net.open_choices:
            net = program.space(name).first
        flow = flow_for(net)
        for batch in (1, 256):
            found = planned(flow, batch, chunks=())
            done = [planned.step for planned in found.steps]
            assert done == [step for step in flow if step.inputs]
            views = {step.id for step, one in zip(done, found.steps, strict=True) if not one.pieces}
            assert views == set(found.buffers.views)
            assert 0 < found.seconds < math.inf
            share = found.bytes / roofline_bytes(flow, batch)
            assert 0.9 <= share <= 1.1, (name, batch, share)


@pytest.mark.parametrize("file", QUICK)
def test_the_zoo(file: str) -> None:
    """Each net's plan moves its bytes about once."""
    nets = cnndsl.load(EXAMPLES / f"{file}.cnn").nets[:1]
    every_net_has_a_plan(file, [*nets, *(["ResNet50"] if file == "resnet" else [])])


@pytest.mark.slow
@pytest.mark.parametrize("file", ALL)
def test_the_whole_zoo(file: str) -> None:
    every_net_has_a_plan(file)


# --- choice -------------------------------------------------------------------------------------


def test_the_cheapest_cut_of_a_chain() -> None:
    """As if every cut had been tried: the links' times are invented, so that no order is easy."""
    problem = problem_of("[8, 6, 6] = conv(8, 3) -> relu -> maxpool(2)", 2)
    problem = Problem(problem.chain, problem.inputs, 2, torch.half)
    assert len(problem.links) == 3
    invented = {(0, 1): 5.0, (1, 2): 4.0, (2, 3): 3.0, (0, 2): 7.0, (1, 3): 8.0, (0, 3): 11.0}
    for last in (11.0, 9.0):
        invented[0, 3] = last
        by_problem = {segment(problem, *ends).problem: s for ends, s in invented.items()}
        chooser = Chooser(H100, lambda part, ways, t=by_problem: dict.fromkeys(ways, t[part]))
        pieces = chooser.pieces(problem)
        taken = sum(piece.seconds(H100) for piece in pieces)
        cuts = (
            itertools.pairwise((0, *inner, 3))
            for count in range(3)
            for inner in itertools.combinations((1, 2), count)
        )
        assert taken == min(sum(invented[ends] for ends in cut) for cut in cuts)


def test_what_was_measured_counts() -> None:
    problem = problem_of("[64, 28, 28] = conv(64, 3) -> relu", 8, torch.half)
    options = Chooser(H100).options(problem)
    slow = max(options, key=lambda option: option.seconds(H100)).way
    chooser = Chooser(H100, lambda problem, ways: {slow: 1e-9})
    (piece,) = chooser.pieces(problem)
    assert piece.way == slow and piece.seconds(H100) == 1e-9


def test_what_is_wrong_is_never_chosen() -> None:
    problem = problem_of("[64, 28, 28] = conv(64, 3) -> relu", 8, torch.half)
    (best,) = Chooser(H100).pieces(problem)

    def wrong(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
        return {way: WRONG for way in ways if way == best.way}

    (second,) = Chooser(H100, wrong).pieces(problem)
    assert second.way != best.way
    assert best.seconds(H100) <= second.seconds(H100) < math.inf


@pytest.mark.parametrize(("channels", "kernels"), [(320, 1), (640, 2)])
def test_more_kernels_must_promise_more(channels: int, kernels: int) -> None:
    """Guessed, two that are a hundredth faster than one are not worth it; a quarter faster they
    are. What was measured counts as it is."""
    size = 112 if channels == 320 else 56
    text = f"[{channels}, {size}, {size}] = bn -> relu -> conv({channels}, 3) -> relu"
    problem = problem_of(text, 1, torch.bfloat16)
    assert len(Chooser(H100).pieces(problem)) == kernels

    def measured(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
        """Any part takes 0.49 of what the whole takes."""
        return dict.fromkeys(ways, 1e-3 if len(problem.links) == 4 else 0.49e-3)

    assert len(Chooser(H100, measured).pieces(problem)) == 2


def test_a_frame_that_did_not_win_is_told_of() -> None:
    def slow(problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
        """The framed one is second."""
        return {
            way: 2e-4 if way.frame(problem) else 1e-4 if way.maker is ATEN else 3e-4 for way in ways
        }

    flow, chooser = flow_from("[3, 32, 32] = conv(16, 3, stride=2) -> relu"), Chooser(H100, slow)
    (row,) = rows(plan(flow, 8, torch.half, chooser), chooser)
    assert row.piece.way.maker is ATEN
    assert row.rivals[0].way.maker.name == "framed_stem"


def test_fewer_launches_need_promise_nothing() -> None:
    """PyTorch takes any chain, by several launches: two kernels that are faster are two."""
    problem = problem_of(
        "[2048, 28, 28] = conv(2048, 3) -> hardswish -> softmax", 64, torch.bfloat16
    )
    first, second = Chooser(H100).pieces(problem)
    assert first.way.ours and second.way.maker.name == "softmax"


def test_a_library_computes_narrow_groups_as_memory_allows() -> None:
    """No tile of a product is one filter wide."""
    problem = problem_of("[96, 56, 56] = conv(96, 3, groups=96, bias=no)", 64, torch.half)
    (work,) = cost_of(Way(ATEN), problem, H100).works
    assert work.units < work.bytes / H100.bandwidth


def test_a_vendor_copies_into_slices() -> None:
    """A kernel of ours writes its slice itself, which a library does not."""
    problem = problem_of("[64, 28, 28] = conv(64, 3) -> relu", 8, torch.half)
    (ours,) = Chooser(H100, lambda p, ways: {w: WRONG for w in ways if not w.ours}).pieces(
        problem, Ends(1)
    )
    (theirs, *_) = Chooser(H100, lambda p, ways: {w: WRONG for w in ways if w.ours}).pieces(
        problem, Ends(1)
    )
    assert not ours.copies.kernels
    assert theirs.copies.kernels == 1
    assert theirs.copies.bytes == 2 * 8 * 64 * 28 * 28 * 2


# --- the roofline ---------------------------------------------------------------------------------


def test_more_waves_cost_more() -> None:
    """One tile more than the device has room for takes a second wave."""
    conv = next(w for w in ways_of("[64, 8, 8] = conv(64, 3)") if w.maker.name == "conv")
    full, over = (
        cost_of(conv, problem_of("[64, 8, 8] = conv(64, 3)", batch, torch.half), H100)
        for batch in (264, 266)
    )
    assert over.works[0].units == pytest.approx(2 * full.works[0].units, rel=0.05)


def ways_of(text: str) -> list[Way]:
    options = Chooser(H100).options(problem_of(text, 264, torch.half))
    return [option.way for option in options]


def test_few_programs_read_slowly() -> None:
    """One large image is cut into parts for all of the device, many small ones are not; a gate
    is one launch where its weights are small, not where each image would read large ones."""
    large, small = "[32, 112, 112] = gap", "[1024, 7, 7] = gap"
    gate = "[{0}, 7, 7] = gap -> conv(64, 1) -> relu -> conv({0}, 1) -> sigmoid"
    ours = Chooser(H100, ours_only)
    (alone,) = ours.pieces(problem_of(large, 1, torch.half))
    (many,) = ours.pieces(problem_of(small, 256, torch.half))
    assert alone.way.config is not None and alone.way.config["PARTS"] > 1
    assert many.way.config is not None and many.way.config["PARTS"] == 1
    (one,) = Chooser(H100).pieces(problem_of(gate.format(256), 256, torch.half))
    several = Chooser(H100).pieces(problem_of(gate.format(4096), 256, torch.half))
    assert one.way.maker.name == "squeeze" and len(several) > 1


def test_devices() -> None:
    assert device_of(80).capability == 80 and device_of(90).name == "H100 SXM"
    with pytest.raises(ValueError, match="capability 75"):
        device_of(75)
    for device in DEVICES.values():
        assert device.source and device.flops[torch.float16] > device.flops[torch.float32]
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no GPU"):
            present()


# --- chunks -------------------------------------------------------------------------------------


def test_chunks_where_they_pay() -> None:
    flow = flow_from(BLOCK)
    whole, chunked = (planned(flow, 64, device=ROOMY, chunks=c) for c in ((), None))
    assert [region.chunk for region in whole.regions] == [64]
    assert min(region.chunk for region in chunked.regions) < 64
    assert chunked.seconds < whole.seconds
    assert chunked.launches > chunked.kernels
    for found in (whole, chunked):  # every step once, in order
        ends = [(region.first, region.last) for region in found.regions]
        assert [0, *(last for _, last in ends)] == [*(first for first, _ in ends), len(found.steps)]
        batches = [
            (piece.segment.problem.batch, region.chunk)
            for region in found.regions
            for one in found.steps[region.first : region.last]
            for piece in one.pieces
        ]
        assert all(own == chunk for own, chunk in batches)


def test_no_chunks_where_nothing_fits() -> None:
    from dataclasses import replace

    found = planned(flow_from(BLOCK), 64, device=replace(ROOMY, l2=1000))
    assert [region.chunk for region in found.regions] == [64]


# --- reports ------------------------------------------------------------------------------------


def test_every_choice_is_told() -> None:
    flow = flow_of("lenet", size=32)
    chooser = Chooser(H100)
    found = planned(flow, 4)
    told = to_json(found, chooser)
    assert sum(choice["kernels"] for choice in told["choices"]) == told["kernels"] == found.kernels
    assert all(choice["rivals"] or choice["by"] == "aten" for choice in told["choices"])
    said = "\n".join(text(found, chooser))
    for choice in told["choices"]:
        assert choice["problem"] in said and choice["by"] in said
    assert f"{found.kernels} kernels" in said


def test_parts_of_a_plan_are_among_its_problems() -> None:
    flow = flow_from(BLOCK)
    everything = set(problems(flow, 8, torch.half))
    parts = {p.segment.problem for one in planned(flow, 8, torch.half).steps for p in one.pieces}
    assert parts and parts <= everything
