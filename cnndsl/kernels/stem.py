"""The first convolution of a network, of an image of at most 4 channels, and the pool behind.

    y[n, h, w, f] = epilogue(sum over r, k of X[n, h * SH + r, (w * SW) * 4 + k] * W[f, r, k])
    y[n, h, w, f] = the largest of these in each window, where a max-pool follows

X is the image in a frame, its padding, and with 4 channels: what a filter sees of one row is
then one run of numbers, columns and channels in one, that begins at a multiple of 8 bytes (16 at
stride 2). So 3 channels of 7 taps are 28 numbers of a product 32 deep, not 7 products 16 deep
with 3 numbers each; and no load needs a mask for the image's border. It is made first, unless
the network's input is copied into its frame from the beginning: ``FramedStem``.

A pool reads rows and columns of the convolution that several of its windows share. A program
computes those of some rows of windows, keeps them in scratch memory of its own, small enough to
stay in the second-level cache, and takes the maxima from there: the map between is never
written to main memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.frame import Frame
from cnndsl.kernels.layout import is_wide, place
from cnndsl.kernels.operands import epilogue_arguments, epilogue_of, the_window
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import corner, finish_tile, put_rows
from cnndsl.kernels.window import Window, filters_of, window_of
from cnndsl.ops.activation import ReLU, ReLU6
from cnndsl.ops.pool import MaxPool
from cnndsl.passes.ops import RUNNING, Chain, Link


@triton.jit
def pad(
    x, padded, size, height, width, channels, rows, columns,
    x_image, x_channel, x_row, x_column,
    TOP: tl.constexpr, LEFT: tl.constexpr, WIDE: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """``padded``: ``[N, rows, columns, 4]``, ``size`` pixels; ``x`` of any strides."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    if WIDE:
        m = m.to(tl.int64)
    n, h, v = m // (rows * columns), m // columns % rows - TOP, m % columns - LEFT
    c = tl.arange(0, 4)
    inside = (m < size) & (h >= 0) & (h < height) & (v >= 0) & (v < width)
    at = (n * x_image + h * x_row + v * x_column)[:, None] + (c * x_channel)[None, :]
    value = tl.load(x + at, mask=inside[:, None] & (c < channels)[None, :], other=0.0)
    tl.store(padded + m[:, None] * 4 + c[None, :], value, mask=(m < size)[:, None])


@triton.jit
def products(
    padded, w, at, f, filters, row,
    R: tl.constexpr, RUN: tl.constexpr, BM: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``[BM, BF]``: filters ``f`` on the windows that begin at ``at``. Behind a run of ``RUN``
    numbers lie those of other windows, which are not read: they might be NaN."""
    k = tl.arange(0, BK)
    acc = tl.zeros((BM, BF), dtype=tl.float32)
    for r in range(R):
        a = tl.load(
            padded + at[:, None] + (r * row + k)[None, :], mask=(k < RUN)[None, :], other=0.0
        )
        b_at = f[None, :] * (R * BK) + (r * BK + k)[:, None]
        b = tl.load(w + b_at, mask=(f < filters)[None, :], other=0.0)
        acc = tl.dot(a, b, acc)
    return acc


@triton.jit
def convolve_image(
    padded, w, y, rows, residual, gate,
    out_height, out_width, pixels, filters, image, row, y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, RUN: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, WIDE: tl.constexpr,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
    BM: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``image``, ``row``: how far apart those of ``padded`` are. Neighbours share pixels."""
    strips = tl.cdiv(filters, BF)
    f = tl.program_id(0) % strips * BF + tl.arange(0, BF)
    m = tl.program_id(0) // strips * BM + tl.arange(0, BM)
    ok = m < pixels
    here = tl.minimum(m, pixels - 1)
    if WIDE:
        m, here = m.to(tl.int64), here.to(tl.int64)
    area = out_height * out_width
    at = here // area * image + here // out_width % out_height * SH * row
    at += here % out_width * (SW * 4)
    acc = products(padded, w, at, f, filters, row, R, RUN, BM, BF, BK)
    acc = finish_tile(
        acc, m, ok, f, filters, area, rows, residual, residual_pitch, gate, gate_pitch,
        EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, acc, m, ok, f, filters)


@triton.jit
def convolve_and_pool(
    padded, w, y, scratch, rows,
    out_height, out_width, pooled_height, pooled_width, tiles, programs, filters,
    image, row, y_pitch,
    R: tl.constexpr, RUN: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, DOWN: tl.constexpr, RIGHT: tl.constexpr,
    TOP: tl.constexpr, LEFT: tl.constexpr, WIDE: tl.constexpr, EPILOGUE: tl.constexpr,
    BM: tl.constexpr, BF: tl.constexpr, BK: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """A tile: ``BP`` rows of ``BC`` windows of the pool, ``KH`` by ``KW``. ``scratch``: for each
    program the rows of the convolution under them, ``BM`` columns of ``BF`` filters."""
    LINES: tl.constexpr = (BP - 1) * DOWN + KH
    strips = tl.cdiv(filters, BF)
    down, across = tl.cdiv(pooled_height, BP), tl.cdiv(pooled_width, BC)
    mine = scratch + tl.program_id(0) * (LINES * BM * BF)
    inner = tl.arange(0, BM)[:, None] * BF + tl.arange(0, BF)[None, :]
    for tile in range(tl.program_id(0), tiles, programs):
        n, h, v = corner(tile // strips, down, across, 1, BP, BC)
        f = tile % strips * BF + tl.arange(0, BF)
        if WIDE:
            n = n.to(tl.int64)
        top, left = h * DOWN - TOP, v * RIGHT - LEFT
        column = tl.minimum(tl.maximum(left + tl.arange(0, BM), 0), out_width - 1)
        for line in range(LINES):
            r = tl.minimum(tl.maximum(top + line, 0), out_height - 1)
            at = n * image + r * SH * row + column * (SW * 4)
            acc = products(padded, w, at, f, filters, row, R, RUN, BM, BF, BK)
            acc = finish_tile(
                acc, column, column >= 0, f, filters, 1, rows, None, 0, None, 0, EPILOGUE, False
            )
            tl.store(mine + line * (BM * BF) + inner, acc.to(y.dtype.element_ty))
        tl.debug_barrier()  # the maxima are of what other threads have stored
        for p in range(BP):
            best, c = _largest(mine, p * DOWN, KH, KW, RIGHT, BM, BF, BC)
            ok = (c < BC) & (v + c < pooled_width) & (h + p < pooled_height)
            m = (n * pooled_height + h + p) * pooled_width + v + c
            put_rows(y, y_pitch, best, m, ok, f, filters)
        tl.debug_barrier()  # before the next tile's rows overwrite them


@triton.jit
def _largest(
    mine, first,
    KH: tl.constexpr, KW: tl.constexpr, RIGHT: tl.constexpr,
    BM: tl.constexpr, BF: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The maxima of a row of windows that begins in row ``first`` of the scratch memory. What
    lies outside the map is there as its edge, which the window holds, too."""
    COLUMNS: tl.constexpr = triton.next_power_of_2(BC)
    c = tl.arange(0, COLUMNS)
    ok, f = (c < BC)[:, None], tl.arange(0, BF)[None, :]
    best = tl.full((COLUMNS, BF), float("-inf"), dtype=tl.float32)
    for tap in tl.static_range(KH * KW):
        line, column = first + tap // KW, c * RIGHT + tap % KW
        at = (line * BM + column)[:, None] * BF + f
        value = tl.load(mine + at, mask=ok, other=float("-inf")).to(tl.float32)
        best = tl.maximum(best, value, propagate_nan=tl.PropagateNan.ALL)
    return best, c


CHANNELS = 4
"""Of the padded image: a pixel of half precision then takes 8 bytes."""
LONGEST = 16
"""Columns of the widest filter whose row is taken at once."""


class Stem(Kernel):
    """Half precision only: float32 gains nothing from deeper products."""

    name = "stem"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        window = window_of(problem, 0)
        if window is None or problem.links[0].slots != (0,):
            return "it does not begin with a convolution of its first input"
        if problem.dtype.itemsize != 2:
            return "it is not of half precision"
        epilogue = Epilogue.of(_unpooled(problem), 1)
        if isinstance(epilogue, str):
            return epilogue
        if _pool(problem) and (epilogue.residual is not None or epilogue.gate is not None):
            return "it has no operand for a residual or a gate before a pool"
        return _why_not(window, problem)

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """Few filters first fill a narrow strip; under a pool as many columns as fit."""
        filters, _, width = extents(problem.results[0])
        fitting = [c for c in SHAPES if 2 * filters > c["BF"]] or [SHAPES[-1]]
        pool = _pool(problem)
        if pool is None:
            return [c for c in fitting if c["BP"] == SHAPES[0]["BP"]]
        wide = [c for c in fitting if c["BM"] >= pool.kernel[1] and c["BM"] < 4 * width]
        return wide or [SHAPES[-1]]

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        window, epilogue = the_window(problem, 0), epilogue_of(_unpooled(problem), 1)
        packed = {"filters": _pack(filters_of(window, weights["0.weight"]))}
        rows = epilogue.rows(weights, extents(problem.results[0])[0])
        return packed if rows is None else packed | {"rows": rows}

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        frame, x = frame_of(problem), operands.inputs[0]
        size = (problem.batch, frame.rows, frame.columns, frame.channels)
        padded = torch.empty(size, dtype=x.dtype, device=x.device)
        convolution = self._convolution(problem, config, operands, padded)
        return [_padding(frame, x, padded), convolution]

    def _convolution(
        self, problem: Problem, config: Config, operands: Operands, padded: Tensor
    ) -> Launch:
        """``padded``: the image in its frame, ``[N, rows, columns, 4]``."""
        ends = epilogue_arguments(epilogue_of(_unpooled(problem), 1), operands)
        y, y_pitch = place(operands.out)
        given = {
            "padded": padded, "w": operands.packed["filters"], "y": y, "y_pitch": y_pitch,
            "WIDE": is_wide(padded, y, ends["residual"], ends["gate"]), **_constants(problem),
            "image": padded.stride(0), "row": padded.stride(1),
            "BM": config["BM"], "BF": config["BF"],
        }  # fmt: skip
        pool = _pool(problem)
        if pool is None:
            pixels = given | ends | {"pixels": y.shape[0] * y.shape[2] * y.shape[3]}
            grid = triton.cdiv(pixels["pixels"], config["BM"])
            grid *= triton.cdiv(given["filters"], config["BF"])
            return Launch(convolve_image, (grid,), pixels, config)
        pooled = given | _pooled(problem, pool, config, y)
        pooled |= {"rows": ends["rows"], "EPILOGUE": ends["EPILOGUE"]}
        return Launch(convolve_and_pool, (pooled["programs"],), pooled, config)

    def scratch(self, problem: Problem, config: Config) -> int:
        """The image in its frame."""
        return _framed_bytes(problem)


class FramedStem(Stem):
    """The same of an image that lies in its frame already."""

    name = "framed_stem"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        read = [slot for link in problem.links for slot in link.slots]
        if read.count(0) > 1:
            return "its image is read by more than the convolution"
        return super().refuses(problem, capability)

    def frame(self, problem: Problem) -> Frame:
        return frame_of(problem)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        framed = operands.inputs[0].permute(0, 2, 3, 1)
        return [self._convolution(problem, config, operands, framed)]

    def bytes(self, problem: Problem, config: Config) -> int:
        """Of the image its frame is read, too."""
        alone = problem.batch * math.prod(extents(problem.inputs[0])) * problem.dtype.itemsize
        return problem.bytes - alone + _framed_bytes(problem)

    def scratch(self, problem: Problem, config: Config) -> int:
        return 0


def _framed_bytes(problem: Problem) -> int:
    return problem.batch * math.prod(frame_of(problem).size) * problem.dtype.itemsize


SHAPES = [
    Config.of(4, 3, BM=128, BF=64, BP=4),
    Config.of(4, 3, BM=128, BF=32, BP=4),
    Config.of(4, 3, BM=64, BF=64, BP=4),
    Config.of(4, 3, BM=128, BF=64, BP=2),
    Config.of(4, 3, BM=64, BF=32, BP=4),
    Config.of(4, 3, BM=64, BF=16, BP=4),
]
PADDING = Config.of(4, 1, BM=256)


def _why_not(window: Window, problem: Problem) -> str | None:
    if extents(problem.inputs[0])[0] > CHANNELS:
        return f"its image has more than {CHANNELS} channels"
    if window.transposed or window.groups != 1 or window.dilation != (1, 1):
        return "it is transposed, dilated or has groups"
    if not 2 <= window.kernel[1] <= LONGEST:
        return f"its filters are not of 2 to {LONGEST} columns"
    return None


def frame_of(problem: Problem) -> Frame:
    """Columns are a multiple of 4, so that rows begin at multiples of 32 bytes."""
    window, held = the_window(problem, 0), extents(problem.inputs[0])
    sides = zip(extents(problem.results[0])[1:], window.stride, window.kernel, strict=True)
    rows, columns = ((outs - 1) * stride + taps for outs, stride, taps in sides)
    rows, columns = max(rows, window.top + held[1]), max(columns, window.left + held[2])
    return Frame(CHANNELS, rows, columns + -columns % 4, window.top, window.left, held)


def _padding(frame: Frame, x: Tensor, padded: Tensor) -> Launch:
    """Writes ``x`` and its frame."""
    size = len(x) * frame.rows * frame.columns
    (c, h, w), (image, channel, row, column) = frame.held, x.stride()
    given = {
        "x": x, "padded": padded, "size": size, "height": h, "width": w, "channels": c,
        "rows": frame.rows, "columns": frame.columns, "x_image": image,
        "x_channel": channel, "x_row": row, "x_column": column,
        "TOP": frame.top, "LEFT": frame.left, "WIDE": is_wide(x, padded), "BM": PADDING["BM"],
    }  # fmt: skip
    return Launch(pad, (triton.cdiv(size, PADDING["BM"]),), given, PADDING)


def _pack(filters: Tensor) -> Tensor:
    """``[filters, rows, deep]``: each row of a filter as one run, zeros behind it."""
    _, channels, _, columns = filters.shape
    deep = _deep(columns)
    runs = functional.pad(filters, (0, 0, 0, 0, 0, CHANNELS - channels)).permute(0, 2, 3, 1)
    return functional.pad(runs.flatten(2), (0, deep - CHANNELS * columns)).contiguous()


def _deep(columns: int) -> int:
    """How deep the product is that a row of a filter is."""
    return max(16, 1 << (CHANNELS * columns - 1).bit_length())


def _constants(problem: Problem) -> dict[str, Any]:
    window = the_window(problem, 0)
    filters, height, width = extents(problem.results[0])
    return {
        "R": window.kernel[0], "RUN": CHANNELS * window.kernel[1],
        "BK": _deep(window.kernel[1]), "SH": window.stride[0], "SW": window.stride[1],
        "out_height": height, "out_width": width, "filters": filters,
    }  # fmt: skip


def _pooled(problem: Problem, pool: MaxPool, config: Config, y: Tensor) -> dict[str, Any]:
    """What ``convolve_and_pool`` is given beside what every stem is."""
    bm, bf, bp = (config[side] for side in ("BM", "BF", "BP"))
    columns = (bm - pool.kernel[1]) // pool.stride[1] + 1
    sides, whole = (1, bp, columns), (y.shape[0], y.shape[2], y.shape[3])
    tiles = boxes.tiles_in(sides, whole) * triton.cdiv(y.shape[1], bf)
    programs = min(tiles, RESIDENT * boxes.processors(y.device))
    lines = (bp - 1) * pool.stride[0] + pool.kernel[0]
    scratch = torch.empty((programs, lines, bm, bf), dtype=y.dtype, device=y.device)
    return {
        "scratch": scratch, "tiles": tiles, "programs": programs,
        "pooled_height": whole[1], "pooled_width": whole[2],
        "KH": pool.kernel[0], "KW": pool.kernel[1],
        "DOWN": pool.stride[0], "RIGHT": pool.stride[1],
        "TOP": pool.padding[0], "LEFT": pool.padding[1], "BP": bp, "BC": columns,
    }  # fmt: skip


RESIDENT = 2
"""Programs that a processor runs at once: more would need more scratch than the cache holds."""


def _pool(problem: Problem) -> MaxPool | None:
    index = _pool_index(problem)
    return None if index is None else problem.links[index].op  # type: ignore[return-value]


def _pool_index(problem: Problem) -> int | None:
    """The link that is a max-pool, if only what may as well run before it follows it."""
    for index, link in enumerate(problem.links):
        if isinstance(link.op, MaxPool) and link.op.dilation == (1, 1):
            return index if all(map(_is_monotone, problem.links[index + 1 :])) else None
    return None


def _is_monotone(link: Link) -> bool:
    """Whether the largest of its values is its value of the largest."""
    return isinstance(link.op, ReLU | ReLU6) and link.slots == (RUNNING,)


def _unpooled(problem: Problem) -> Problem:
    """The same without the pool."""
    index = _pool_index(problem)
    if index is None:
        return problem
    links = problem.links
    return replace(problem, chain=Chain((*links[:index], *links[index + 1 :])))
