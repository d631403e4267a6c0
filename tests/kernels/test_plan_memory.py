"""Static memory: nothing that is needed at once overlaps, and nothing lies idle."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from cnndsl.kernels.plan.memory import ALIGNED, Block, Memory, lay_out, memory
from cnndsl.kernels.plan.network import Plan, Region
from cnndsl.kernels.plan.storage import peak
from cnndsl.ops.merge import Concat
from tests.kernels.planning import flow_from, flow_of, ours_only, planned

RESIDUAL = (
    "[8, 6, 6] = stem: conv(8, 3) -> for i in 1..3 do (id + (conv(8, 3) -> relu -> conv(8, 3)))"
)
DENSE = "[8, 6, 6] = for i in 1..3 do (id | bn -> relu -> conv(4, 3, bias=no)) -> conv(4, 1)"


def overlaps(found: Memory) -> list[tuple[Block, Block]]:
    """Pairs that are needed at once and share a byte."""
    slots = [*found.slots.values(), *found.running.values()]
    return [
        (a.block, b.block)
        for index, a in enumerate(slots)
        for b in slots[:index]
        if a.block.first <= b.block.last
        and b.block.first <= a.block.last
        and a.offset < b.offset + b.block.bytes
        and b.offset < a.offset + a.block.bytes
    ]


@pytest.mark.parametrize("seed", range(20))
def test_blocks_never_overlap(seed: int) -> None:
    draw = random.Random(seed)
    blocks = []
    for _ in range(40):
        first = draw.randrange(30)
        blocks.append(Block(draw.randrange(1, 9) * 777, first, first + draw.randrange(6)))
    offsets, total = lay_out(blocks)
    rows = list(zip(blocks, offsets, strict=True))
    for index, (a, at) in enumerate(rows):
        assert at % ALIGNED == 0 and at + a.bytes <= total
        for b, there in rows[:index]:
            if a.first <= b.last and b.first <= a.last:
                assert at + a.bytes <= there or there + b.bytes <= at
    needed = max(sum(b.bytes for b in blocks if b.first <= t <= b.last) for t in range(36))
    assert needed <= total <= 1.6 * needed


def test_resnet() -> None:
    """No more than what is alive at once, but for the rounding of offsets."""
    found = planned(flow_of("resnet", "ResNet50"), 8, torch.half, chunks=(), measured=ours_only)
    laid = memory(found)
    assert not overlaps(laid)
    alive = 8 * 2 * peak(laid.storages.all, 0, len(found.steps))
    assert laid.bytes <= 1.1 * alive
    assert laid.in_place >= 8


def test_concatenations_are_slices() -> None:
    found = planned(flow_from(DENSE), 2, torch.half, measured=ours_only)
    laid, concats = memory(found), [s for s in found.flow if isinstance(s.op, Concat)]
    homes = laid.storages.homes
    assert len(concats) == 3 and all(s.id in found.buffers.views for s in concats)
    assert len({id(homes[s.id].storage) for s in concats}) == 1
    assert [homes[s.id].channels for s in concats] == [12, 16, 20]
    assert not overlaps(laid)


def same_place(found: Plan, laid: Memory) -> list[bool]:
    """For each step whether it writes over its second input."""
    homes = laid.storages.homes
    return [
        homes[step.id].storage is homes[step.inputs[1].id].storage
        for step in (one.step for one in found.steps)
        if len(step.inputs) == 2
    ]


def test_sums_over_their_residuals() -> None:
    """But not over an input, nor where the sum is a result."""
    found = planned(flow_from(RESIDUAL), 2, torch.half, measured=ours_only)
    assert same_place(found, memory(found)) == [True, True, False]
    bare = planned(flow_from(RESIDUAL.replace("stem: conv(8, 3) -> ", "")), 2, torch.half,
                   measured=ours_only)  # fmt: skip
    assert same_place(bare, memory(bare)) == [False, True, False]


def test_not_over_what_the_convolution_reads() -> None:
    """It reads neighbours, which the program beside it would have overwritten."""
    text = "[8, 6, 6] = a: conv(8, 3) -> (id + b: conv(8, 3)) -> c: conv(8, 3)"
    found = planned(flow_from(text), 2, torch.half, measured=ours_only)
    assert memory(found).in_place == 0


def test_not_over_what_is_read_later() -> None:
    """The first sum of `a` leaves it as it is for the second."""
    inner = "(id + (b: conv(8, 3) -> c: conv(8, 3)))"
    text = f"[8, 6, 6] = a: conv(8, 3) -> (id + ({inner} -> d: conv(8, 3))) -> e: conv(8, 3)"
    found = planned(flow_from(text), 2, torch.half, measured=ours_only)
    laid = memory(found)
    sums = [one.step for one in found.steps if len(one.step.inputs) == 2]
    first, second = (laid.storages.homes[step.id].storage for step in sums)
    assert first is not second and laid.in_place == 1


def test_what_crosses_a_chunked_region_is_needed_by_every_chunk() -> None:
    flow = flow_from(RESIDUAL)
    whole, part = (planned(flow, b, torch.half, measured=ours_only, chunks=()) for b in (4, 2))
    steps = (*whole.steps[:2], *part.steps[2:4], *whole.steps[4:])
    regions = (Region(0, 2, 4, 0.0), Region(2, 4, 2, 0.0), Region(4, len(steps), 4, 0.0))
    found = replace(whole, steps=steps, regions=regions)
    laid = memory(found)
    assert not overlaps(laid)
    crossing = [s for s in laid.slots.values() if s.storage.first < 2 <= s.storage.last]
    assert crossing and all(slot.block.last >= 3 and slot.samples == 4 for slot in crossing)
    inside = [s for s in laid.slots.values() if s.storage.first >= 2 and s.storage.last < 4]
    assert all(slot.samples == 2 for slot in inside)


def test_what_a_view_shows_stays_as_long() -> None:
    """A library's view of what a kernel of ours wrote: its memory is not free yet."""
    text = "[4, 6, 6] = a: conv(4, 1) -> slice(0, 2) -> conv(4, 1)"
    found = planned(flow_from(text), 2, torch.half, measured=ours_only)
    first, view, _ = found.steps
    assert first.pieces[-1].way.ours and not view.pieces[-1].way.ours and not view.cost.kernels
    laid = memory(found)
    homes = laid.storages.homes
    assert laid.slots[id(homes[first.step.id].storage)].block.last == 2
    assert id(homes[view.step.id].storage) not in laid.slots
