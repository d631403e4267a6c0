"""1x1 convolutions and linear layers as matrix products on an H100.

    y[m, f] = epilogue(sum over c of x[m, c] * w[f, c])          pixels m, filters f
    y[n, f] = mean over the pixels m of image n of the same      where a global pool follows

Tiles of both operands are bulk copies into the shared memory that the tensor cores read. As
many programs as the device holds share the tiles among them, so that one's stores run under
another's products.

Two things are stored in ``parts``: few tiles may be cut along the channels; and a tile of one
image's pixels leaves only their sum to a global pool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.layout import is_wide
from cnndsl.kernels.operands import epilogue_arguments, epilogue_of, pack_with_rows
from cnndsl.kernels.parts import Parts, best_first, stored
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import finish_tile, pixels_of, put_boxes, put_rows
from cnndsl.kernels.window import window_of
from cnndsl.ops.pool import GlobalAvgPool
from cnndsl.passes.ops import RUNNING, Chain


@triton.jit
def multiply(
    x, w, y, y_box, parts, rows, residual, gate,
    images, each, channels, filters, area, programs,
    y_pitch, residual_pitch, gate_pitch,
    SPLIT: tl.constexpr, POOL: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
    BM: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``images`` of ``each`` pixels, whose tiles keep apart. Neighbours share their pixels."""
    strips = tl.cdiv(filters, BF)
    lines = tl.cdiv(each, BM)
    whole = strips * lines * images
    for tile in tl.range(tl.program_id(0), whole * SPLIT, programs):
        first = tile % strips * BF
        p = tile // strips % lines * BM
        n = tile // (strips * lines) % images
        part = tile // whole
        steps = tl.cdiv(tl.cdiv(channels, BK), SPLIT) * BK
        acc = tl.zeros((BM, BF), dtype=tl.float32)
        for c in tl.range(part * steps, tl.minimum((part + 1) * steps, channels), BK):
            a = x.load([n, 0, p, c]).reshape(BM, BK)
            acc = tl.dot(a, w.load([first, c]).T, acc, input_precision=PRECISION)
        f = first + tl.arange(0, BF)
        m, ok = pixels_of(n, 0, p, images, 1, each, 1, 1, BM, WIDE)
        if SPLIT > 1:
            put_rows(parts, filters, acc, part * images * each + m, ok, f, filters)
        else:
            acc = finish_tile(
                acc, m, ok, f, filters, area,
                rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
            )  # fmt: skip
            if POOL:
                total = tl.sum(tl.where(ok[:, None], acc, 0.0), 0)
                row = n * lines + p // BM
                if WIDE:
                    row = row.to(tl.int64)
                tl.store(parts + row * filters + f, total, mask=f < filters)
            else:
                put_boxes(y, y_box, y_pitch, acc, m, ok, f, filters, n, 0, p, first, 1, 1, BM, BF)


class Gemm(Kernel):
    """``tf32``: float32 products rounded to 10 bits; otherwise float32 is refused."""

    name = "gemm"

    def __init__(self, tf32: bool = False) -> None:
        self.tf32 = tf32

    def refuses(self, problem: Problem, capability: int) -> str | None:
        if not _is_product(problem):
            return "it does not begin with a matrix product of all pixels of its first input"
        epilogue = Epilogue.of(_unpooled(problem), 1)
        if isinstance(epilogue, str):
            return epilogue
        return boxes.why_unaddressable(problem, capability, self.tf32)

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """Large tiles before small ones, as long as they keep the device busy."""
        work = _Work.of(problem)
        fitting = [c for c in _shapes(problem) if work.fills(c)] or [_shapes(problem)[-1]]
        return best_first([(c, work.tiles(c), work.steps(c)) for c in fitting])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return pack_with_rows(_unpooled(problem), 0, weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        call = _Call(problem, config, operands)
        product = Launch(multiply, (call.programs,), call.arguments(self.tf32), config)
        if call.parts is None:
            return [product]
        pooled = Epilogue(f"times {1 / call.area!r}")  # of the sum over an image's pixels
        last = pooled if call.work.pooled else call.epilogue
        return [product, call.parts.launch(last, call.area, operands)]

    def scratch(self, problem: Problem, config: Config) -> int:
        """Parts of sums."""
        work = _Work.of(problem)
        if not work.pooled:
            return stored(work.each * work.filters, config["SPLIT"])
        return stored(work.images * work.filters, work.lines(config), least=1)


class _Work(NamedTuple):
    """A matrix product: ``images`` of ``each`` pixels, which keep apart, by channels, filters."""

    images: int
    each: int
    channels: int
    filters: int
    pooled: bool

    @staticmethod
    def of(problem: Problem) -> _Work:
        channels, height, width = extents(problem.inputs[0])
        filters, pooled = extents(problem.results[0])[0], _is_pooled(problem)
        images = problem.batch if pooled else 1
        each = height * width * (1 if pooled else problem.batch)
        return _Work(images, each, channels, filters, pooled)

    @property
    def size(self) -> boxes.Box:
        return self.images, 1, self.each

    def tiles(self, config: Config) -> int:
        sides = (1, config["BM"], config["BF"])
        return boxes.tiles_in(sides, (self.images, self.each, self.filters))

    def fills(self, config: Config) -> bool:
        """Whether there is more than half of each side of a tile, or no smaller tile."""
        low = config["BM"] == LOWEST or 2 * self.each > config["BM"]
        return low and 2 * self.filters > config["BF"]

    def steps(self, config: Config) -> int:
        """Along the channels, as far as they may be cut; a pool has parts of its own."""
        return 0 if self.pooled else boxes.tiles_in((config["BK"],), (self.channels,))

    def lines(self, config: Config) -> int:
        """Tiles of pixels of an image: parts of its mean, if that is all that is wanted."""
        return boxes.tiles_in((config["BM"],), (self.each,))


class _Call:
    """The arguments of ``multiply``. ``parts``: what it writes instead of the result."""

    def __init__(self, problem: Problem, config: Config, operands: Operands) -> None:
        self.work, self.config, self.operands = _Work.of(problem), config, operands
        self.epilogue = epilogue_of(_unpooled(problem), 1)
        self.area = problem.area
        self.x, self.x_pitch = boxes.readable(operands.inputs[0])
        self.parts = self._parts()
        busy = boxes.programs(self.x, config, config["BM"], config["BF"])
        self.programs = min(busy, self.work.tiles(config) * config["SPLIT"])

    def _parts(self) -> Parts | None:
        work, device = self.work, self.x.device
        if not work.pooled:
            return Parts.cut(work.each, work.filters, self.config["SPLIT"], device)
        lines = work.lines(self.config)
        shape = (work.images * lines, work.filters)
        sums = torch.empty(shape, dtype=torch.float32, device=device)
        return Parts(sums, work.images, lines, row_apart=lines, part_apart=1)

    def arguments(self, tf32: bool) -> dict[str, Any]:
        work, config, filters = self.work, self.config, self.operands.packed["filters"]
        bm, bf, bk = (config[side] for side in ("BM", "BF", "BK"))
        y, y_pitch, y_box, sums = None, 0, None, None
        if self.parts is None:
            y, y_pitch, y_box = boxes.result(self.operands.out, work.size, (1, 1, bm, bf))
        else:
            sums = self.parts.sums
        ends = epilogue_arguments(self.epilogue, self.operands)
        return {
            "x": boxes.maps(self.x, self.x_pitch, work.size, (1, 1, bm, bk)),
            "w": boxes.matrix(filters, work.channels, (bf, bk)),
            "y": y, "y_box": y_box, "y_pitch": y_pitch, "parts": sums,
            "images": work.images, "each": work.each, "channels": work.channels,
            "filters": work.filters, "area": self.area, "programs": self.programs, **ends,
            "POOL": work.pooled, "PRECISION": "tf32" if tf32 else "ieee",
            "WIDE": is_wide(y, sums, ends["residual"], ends["gate"]), **dict(config.tiles),
        }  # fmt: skip


def _shapes(problem: Problem) -> list[Config]:
    """No deeper than the channels, nor than what one bulk copy swizzles for the tensor cores."""
    channels = extents(problem.inputs[0])[0]
    bytes = problem.dtype.itemsize
    deep = max(SHALLOWEST, min(boxes.WIDEST // bytes, triton.next_power_of_2(channels)))
    return [
        Config.of(warps, stages, BM=pixels, BF=filters, BK=deep, SPLIT=1)
        for warps, stages, pixels, filters in TILES
    ]


TILES = [
    (4, 4, 128, 128),
    (4, 3, 128, 64),
    (4, 3, 64, 128),
    (4, 4, 64, 64),
    (4, 4, 128, 32),
    (4, 4, 64, 32),
    (8, 3, 128, 256),
    (8, 4, 128, 128),
    (4, 4, 64, 16),
]
"""Warps, stages, pixels and filters of a tile."""
LOWEST = 64
"""Rows of the smallest product of an H100's tensor cores."""
SHALLOWEST = 16
"""Channels that a tensor core takes at once."""


def _is_product(problem: Problem) -> bool:
    window = window_of(problem, 0)
    if window is None or problem.links[0].slots != (0,):
        return False
    same = extents(problem.results[0])[1:] == extents(problem.inputs[0])[1:]
    return window.is_product and window.groups == 1 and same


def _is_pooled(problem: Problem) -> bool:
    """Whether only the mean of each channel is wanted."""
    last = problem.links[-1]
    return isinstance(last.op, GlobalAvgPool) and last.slots == (RUNNING,)


def _unpooled(problem: Problem) -> Problem:
    """The same without the pool at its end."""
    if not _is_pooled(problem):
        return problem
    return replace(problem, chain=Chain(problem.links[:-1]))
