"""The static memory of a plan: where in one block every value lies, known before anything runs.

Values whose lives do not overlap share their place; a sum with a residual that nobody reads
later is written over it; concatenations are slices of a buffer. What a vendor's library makes
lies where that library puts it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.graph.cost import shape
from cnndsl.kernels.frame import Frame
from cnndsl.kernels.plan.network import Plan, Planned, Region
from cnndsl.kernels.plan.storage import Lies, Storage, Storages
from cnndsl.kernels.plan.vendor import may_share
from cnndsl.ops.merge import Add
from cnndsl.passes.flow import Step
from cnndsl.passes.ops import RUNNING

ALIGNED = 1024
"""Bytes: tensor descriptors want 16, swizzled tiles in shared memory 1024."""


class Block(NamedTuple):
    """Bytes that are needed from step ``first`` to step ``last``."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Slot:
    """A storage for ``samples`` of the batch, ``offset`` bytes from the beginning."""

    storage: Storage
    samples: int
    block: Block
    offset: int


@dataclass(frozen=True)
class Memory:
    """``slots``: by the identity of the storage; ``running``: of what a step hands from part to
    part, by its position and the part's number."""

    storages: Storages
    slots: dict[int, Slot]
    running: dict[tuple[int, int], Slot]
    frames: dict[int, Frame]
    """By the id of the input that lies in it."""
    bytes: int
    in_place: int
    """How many sums are written over their residual."""

    def slot(self, storage: Storage) -> Slot | None:
        """None where a vendor puts what would lie there somewhere else."""
        return self.slots.get(id(storage))


def memory(plan: Plan, only: Region | None = None) -> Memory:
    """The layout, the same for the same plan. ``only``: without what this region does not touch."""
    storages = Storages.of(plan.flow, plan.buffers)
    for planned in reversed(plan.steps):
        _hold(planned, storages)
    frames = dict(_frames(plan, storages, only))
    in_place = sum(_over_residual(plan, storages, k) for k in range(len(plan.steps)))
    wanted: list[tuple[Storage, int]] = []
    for storage in storages.all:
        if not _is_theirs(storage, plan) and (only is None or _touches(storage, only)):
            wanted.append((storage, _samples(storage, plan)))
    between = list(_between(plan, plan.regions if only is None else (only,)))
    wanted += [(storage, samples) for _, storage, samples in between]
    blocks = [_block(storage, samples, plan) for storage, samples in wanted]
    offsets, total = lay_out(blocks)
    rows = zip(wanted, blocks, offsets, strict=True)
    slots = {id(s): Slot(s, samples, block, offset) for (s, samples), block, offset in rows}
    running = {key: slots.pop(id(storage)) for key, storage, _ in between}
    return Memory(storages, slots, running, frames, total, in_place)


def lay_out(blocks: Sequence[Block]) -> tuple[list[int], int]:
    """Offsets at which no two blocks that are needed at once overlap, and the end of the last.

    Large ones first, each at the lowest place that is free for all its life (Pisarchyk and Lee
    2020, greedy by size, arXiv:2001.03288).
    """
    offsets = [0] * len(blocks)
    placed: list[int] = []
    for index in sorted(range(len(blocks)), key=lambda k: -blocks[k].bytes):
        one = blocks[index]
        beside = (k for k in placed if blocks[k].first <= one.last and one.first <= blocks[k].last)
        at = 0
        for start, end in sorted((offsets[k], offsets[k] + blocks[k].bytes) for k in beside):
            if start - at >= one.bytes:
                break
            at = max(at, _aligned(end))
        offsets[index] = at
        placed.append(index)
    return offsets, max((offsets[k] + blocks[k].bytes for k in placed), default=0)


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNED) * ALIGNED


def _hold(planned: Planned, storages: Storages) -> None:
    """What a vendor's view shows must stay as long as the view."""
    if not planned.pieces:
        return
    op, way = planned.pieces[-1].segment.problem.links[-1].op, planned.pieces[-1].way
    own = storages.homes[planned.step.id].storage
    if not way.ours and may_share(op):
        for source in planned.step.inputs:
            storages.homes[source.id].storage.extend(own.last)


def _frames(plan: Plan, storages: Storages, only: Region | None) -> Iterator[tuple[int, Frame]]:
    """Of inputs that a kernel wants in one. Zeros are written once, so its place is not shared."""
    for position, planned in enumerate(plan.steps):
        here = only is None or only.first <= position < only.last
        if planned.frame is not None and here:
            source = planned.step.inputs[0]
            storage = storages.homes[source.id].storage
            storage.size = planned.frame.size
            storage.extend(len(plan.steps))
            storages.homes[source.id] = Lies(storage, 0, planned.frame.channels)
            yield source.id, planned.frame


# --- sums over their residuals ------------------------------------------------------------------


def _over_residual(plan: Plan, storages: Storages, position: int) -> bool:
    """Lets a step write over the residual that it adds, where nothing can tell the difference."""
    planned = plan.steps[position]
    residual = _residual(planned)
    if residual is None:
        return False
    step, there = planned.step, storages.homes[residual.id]
    old, new = there.storage, storages.homes[step.id].storage
    fits = residual.type == step.type and not old.lasting and not new.lasting
    own = not {residual.id, step.id} & {*plan.buffers.writes, *plan.buffers.views}
    if not (fits and own and old.last == position) or _is_theirs(old, plan):
        return False
    storages.homes[step.id] = there
    storages.writes[step.id] = (there,)
    old.written.append(position)
    old.read += new.read
    old.last = new.last
    storages.all.remove(new)
    return True


def _residual(planned: Planned) -> Step | None:
    """What the last part adds point by point, and nothing else of the step reads."""
    if not planned.pieces or not planned.pieces[-1].way.ours:
        return None
    segment = planned.pieces[-1].segment
    for index, link in enumerate(segment.problem.links):
        added = [slot for slot in link.slots if slot != RUNNING]
        if index and isinstance(link.op, Add) and len(added) == 1:
            slot = segment.slots[added[0]]
            return planned.step.inputs[slot] if _reads(planned, slot) == 1 else None
    return None


def _reads(planned: Planned, slot: int) -> int:
    """How often the step reads this input."""
    step = planned.step
    slots = [
        piece.segment.slots[inner]
        for piece in planned.pieces
        for link in piece.segment.problem.links
        for inner in link.slots
        if inner != RUNNING
    ]
    return sum(step.inputs[k] is step.inputs[slot] for k in slots if k != RUNNING)


# --- sizes and lives ------------------------------------------------------------------------------


def _region(plan: Plan, position: int) -> Region:
    return next(region for region in plan.regions if region.first <= position < region.last)


def _inside(storage: Storage, region: Region) -> bool:
    return not storage.lasting and region.first <= storage.first and storage.last < region.last


def _touches(storage: Storage, region: Region) -> bool:
    return storage.first < region.last and storage.last >= region.first


def _samples(storage: Storage, plan: Plan) -> int:
    """A chunk of what lives in one region, the whole batch of what crosses its borders."""
    if not storage.written:
        return plan.batch
    region = _region(plan, storage.written[0])
    return region.chunk if _inside(storage, region) else plan.batch


def _is_theirs(storage: Storage, plan: Plan) -> bool:
    """Whether a vendor's library gives the value, all that is needed of it at once."""
    if len(storage.written) != 1:
        return False
    position = storage.written[0]
    planned = plan.steps[position]
    if planned.step.id in plan.buffers.writes or not planned.pieces:
        return False
    whole = _samples(storage, plan) == _region(plan, position).chunk
    return whole and not planned.pieces[-1].way.ours


def _between(
    plan: Plan, regions: Sequence[Region]
) -> Iterator[tuple[tuple[int, int], Storage, int]]:
    """What the parts of one step hand on, but the last."""
    for region in regions:
        for position in range(region.first, region.last):
            for number, piece in enumerate(plan.steps[position].pieces[:-1]):
                if piece.way.ours:
                    size = shape(piece.segment.problem.output)
                    yield (position, number), Storage(size, position, position), region.chunk


def _block(storage: Storage, samples: int, plan: Plan) -> Block:
    """What crosses the border of a region is needed by every chunk, so all through the region."""
    first, last = storage.first, storage.last
    size = samples * math.prod(storage.size) * plan.dtype.itemsize
    for region in plan.regions:
        if region.chunk != plan.batch and _touches(storage, region) and samples == plan.batch:
            first, last = min(first, region.first), max(last, region.last - 1)
    return Block(size, first, last)
