"""What a way to compute a problem costs by the roofline: bytes, products, waves, launches.

    seconds of one kernel = max(bytes / bandwidth, products, tiles' reads from L2) + interval

A guess that ranks, not a measurement: where something was measured, that counts instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.kernels.aot import SHARED_LIMIT, Facts, phantoms
from cnndsl.kernels.base import Config, Kernel, Operands
from cnndsl.kernels.frame import Frame
from cnndsl.kernels.parts import stored
from cnndsl.kernels.plan.device import Device
from cnndsl.kernels.plan.vendor import VENDORS, Vendor
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.table import FRAMED, KERNELS, taking
from cnndsl.kernels.window import window_of


@dataclass(frozen=True)
class Way:
    """What computes a problem: a kernel of ours in one configuration, or a vendor's library."""

    maker: Kernel | Vendor
    config: Config | None = None

    @property
    def ours(self) -> bool:
        return isinstance(self.maker, Kernel)

    def frame(self, problem: Problem) -> Frame | None:
        """How it wants the first input to lie, if not as any other."""
        return self.maker.frame(problem) if isinstance(self.maker, Kernel) else None

    def copies(self, places: int) -> int:
        """How often its result is copied to be in so many slices of wider maps, or to be read."""
        if isinstance(self.maker, Kernel):
            return max(places - 1, 0)
        return max(places, self.maker.sparse)

    def __str__(self) -> str:
        return self.maker.name if self.config is None else f"{self.maker.name} {self.config}"


class Work(NamedTuple):
    """One kernel: what it moves, and the seconds that its units take if nothing waits."""

    bytes: int
    units: float

    def seconds(self, device: Device, kept: float = 0.0) -> float:
        """``kept``: the share of its bytes that lies in the L2 cache."""
        memory = (
            self.bytes * (1 - kept) / device.bandwidth + self.bytes * kept / device.l2_bandwidth
        )
        return max(memory, self.units) + device.interval


@dataclass(frozen=True)
class Cost:
    """What one way costs: kernels one after another."""

    works: tuple[Work, ...]

    @property
    def kernels(self) -> int:
        return len(self.works)

    @property
    def bytes(self) -> int:
        return sum(work.bytes for work in self.works)

    def seconds(self, device: Device, kept: float = 0.0) -> float:
        return sum(work.seconds(device, kept) for work in self.works)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.works + other.works)


NOTHING = Cost(())
SHARES = {"conv": 0.45, "aten": 0.7, "copy": 1.0, "cudnn": 0.75, "cublaslt": 0.85}
"""Of the device's products, by who makes them: assumed until measured. Ours else: ``OURS``."""
OURS = 0.7


def ways(problem: Problem, device: Device) -> list[Way]:
    """Everything that may compute it: ours in every configuration that fits, then others'."""
    ours = [
        Way(kernel, config)
        for kernel in taking(problem, device.capability, (*KERNELS, *FRAMED))
        for config in kernel.configs(problem, device.capability)
        if fits(config, problem, device)
    ]
    return ours + [Way(vendor) for vendor in VENDORS if vendor.refuses(problem) is None]


GUESSES = 12
"""Configurations of one kernel that are ranked by the roofline; kernels name the best first."""


def guesses(ways: Sequence[Way]) -> list[Way]:
    """The first of each maker: what is left to the roofline."""
    seen: Counter[Kernel | Vendor] = Counter()
    kept = []
    for way in ways:
        seen[way.maker] += 1
        if seen[way.maker] <= GUESSES:
            kept.append(way)
    return kept


def fits(
    config: Config, problem: Problem, device: Device, facts: Sequence[Facts] | None = None
) -> bool:
    """Whether a block fits on the device: by what was compiled, else by its tiles' sizes.

    Tiles bound from below: a compiler may need more, which ``facts`` then say.
    """
    if facts is not None:
        return all(found.fits(device.capability) for found in facts)
    sides = sides_of(config)
    if sides is None:
        return True
    rows, columns = sides
    depth = dict(config.tiles).get("BK", 0)
    staged = max(config.stages - 1, 1) * (rows + columns) * depth * problem.dtype.itemsize
    sums = rows * columns / (32 * config.warps)
    return staged <= SHARED_LIMIT[device.capability] and sums <= _MOST_REGISTERS


_MOST_REGISTERS = 255
"""Of one thread, 32 bits each (CUDA's programming guide, technical specifications)."""


def costs(problem: Problem, ways: Sequence[Way], device: Device) -> list[Cost]:
    """Of each way, by the roofline."""
    operands: dict[Kernel, Operands] = {}  # making them takes longer than all the rest
    found = []
    for way in ways:
        if isinstance(way.maker, Vendor):
            found.append(_theirs(way.maker, problem, device))
            continue
        if way.maker not in operands:
            operands[way.maker] = phantoms(way.maker, problem)
        assert way.config is not None
        found.append(_ours(way.maker, way.config, problem, operands[way.maker], device))
    return found


def cost_of(way: Way, problem: Problem, device: Device) -> Cost:
    """Of one way alone."""
    return costs(problem, [way], device)[0]


def _theirs(vendor: Vendor, problem: Problem, device: Device) -> Cost:
    """Their tiles are not known: assumed are the best of those that such libraries have, and for
    groups too narrow for any, such as those of depthwise convolutions, that memory binds."""
    peak = SHARES[vendor.name] * device.flops[problem.dtype]
    tiles = filter(None, (Tiles.of(config, problem) for config in _THEIRS))
    products = min(
        (
            max(
                one.flops / (peak * _full(one.blocks, device)),
                (one.bytes + one.between) / device.l2_bandwidth,
            )
            for one in tiles
            if one.filters >= SMALLEST
        ),
        default=0.0,
    )
    return Cost(
        tuple(
            Work(load.bytes, max(load.flops / peak, products if load.flops else 0.0))
            for load in vendor.loads(problem)
        )
    )


_THEIRS = [
    Config.of(BM=rows, BN=columns, SPLIT=split)
    for rows, columns in ((256, 128), (128, 256), (128, 128), (128, 64), (64, 64))
    for split in (1, 2, 4, 8, 16)
]


def _full(blocks: int, device: Device) -> float:
    """The share of the device that is busy: blocks run in waves, and the last one takes as long
    as a full one, however few are in it."""
    return blocks / (math.ceil(blocks / device.sms) * device.sms)


def _ours(
    kernel: Kernel, config: Config, problem: Problem, operands: Operands, device: Device
) -> Cost:
    launches = kernel.launches(problem, config, operands)
    if not launches:
        return NOTHING
    blocks, flops = math.prod(launches[0].grid), float(kernel.flops(problem, config))
    tiles = Tiles.of(config, problem)
    if tiles is not None:  # programs that stay may each do several; what hangs over is computed too
        blocks, flops = max(blocks, tiles.blocks), max(flops, tiles.flops)
    full = _full(blocks, device)
    units = flops / (SHARES.get(kernel.name, OURS) * device.flops[problem.dtype] * full)
    between = 2 * kernel.scratch(problem, config)
    stays = between <= device.l2  # half of it: the rest is for what streams through
    again = between if stays else 0
    if tiles is not None:
        units = max(units, (tiles.bytes + again) / device.l2_bandwidth)
    else:  # a multiprocessor reads its share of what all of them do, however few are at work
        read = kernel.reads(problem, config) + again
        units = max(units, read / (device.l2_bandwidth * full))
    first = Work(kernel.bytes(problem, config) + between - again, units)
    return Cost((first, *(Work(0, 0.0) for _ in launches[1:])))


class Tiles(NamedTuple):
    """How a product of matrices is cut: ``bytes``: what tiles read, rows and columns again and
    again; ``flops``: with what hangs over the edges; ``between``: bytes of parts of sums, out and
    in; ``filters``: of a group."""

    blocks: int
    flops: float
    bytes: float
    between: int
    filters: int

    @staticmethod
    def of(config: Config, problem: Problem) -> Tiles | None:
        """None for a kernel that is no product of matrices."""
        sides = sides_of(config)
        windows = [window_of(problem, index) for index in range(len(problem.links))]
        index = next((k for k, window in enumerate(windows) if window is not None), None)
        if sides is None or index is None or not problem.macs:
            return None
        window = windows[index]
        assert window is not None
        filters, height, width = extents(problem.results[index])
        pixels, each = problem.batch * height * width, filters // window.groups
        rows, columns = sides[0], min(sides[1], max(SMALLEST, 1 << (each - 1).bit_length()))
        count = math.ceil(pixels / rows) * math.ceil(each / columns) * window.groups
        deep = problem.macs / (pixels * filters)
        split = dict(config.tiles).get("SPLIT", 1)
        read = count * (rows + columns) * deep * problem.dtype.itemsize
        between = 2 * stored(pixels * filters, split)
        return Tiles(count * split, 2 * count * rows * columns * deep, read, between, each)


SMALLEST = 16
"""The least side of a tile that tensor cores take."""
_ROWS, _COLUMNS = ("BM", "BP"), ("BN", "BF")


def sides_of(config: Config) -> tuple[int, int] | None:
    """Pixels and filters of a tile of sums, as our kernels of products call them."""
    named = dict(config.tiles)
    rows = next((named[name] for name in _ROWS if name in named), 0)
    columns = next((named[name] for name in _COLUMNS if name in named), 0)
    return (rows, columns) if rows and columns else None
