"""The mean or the largest of each channel of an image, and what stands before it.

    y[n, c] = epilogue(sum over pixels p of a(x[n, p, c]) / P),   or their largest
    a(v, c) = activation(scale[c] * v + shift[c]), or v

Few images of few channels are few programs: an image is then cut into parts, and a second launch
of the same kernel takes those in the same order always. Same input, same bits.
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
from cnndsl.kernels.epilogue import Epilogue, finish
from cnndsl.kernels.layout import as_rows, is_wide, place
from cnndsl.kernels.operands import epilogue_of, pack_around, prologue_of, why_no_pool
from cnndsl.kernels.parts import stored
from cnndsl.kernels.pool import joined
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import strips
from cnndsl.ops.pool import GlobalAvgPool, GlobalMaxPool


@triton.jit
def pool_images(
    x, y, before, rows, area, each, lines, channels, x_pitch, y_pitch,
    MAX: tl.constexpr, WIDE: tl.constexpr, PROLOGUE: tl.constexpr, EPILOGUE: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Row ``n * lines + k`` of ``y``: pixels ``k * each`` and on of image ``n``."""
    wide = tl.cdiv(channels, BC)
    row = tl.program_id(0) // wide
    if WIDE:
        row = row.to(tl.int64)
    c = tl.program_id(0) % wide * BC + tl.arange(0, BC)
    first = row % lines * each
    last = tl.minimum(first + each, area)
    pixels = x + row // lines * area * x_pitch
    found = pooled(
        pixels, x_pitch, first, last, before, c, channels, MAX, WIDE, PROLOGUE, BM, BC,
    )  # fmt: skip
    c_ok = c < channels
    found = finish(found, EPILOGUE, rows, channels, c, c_ok, None, 0, None, 0, c_ok)
    tl.store(y + row * y_pitch + c, found.to(y.dtype.element_ty), mask=c_ok)


@triton.jit
def pooled(
    pixels, pitch, first, last, before, c, channels,
    MAX: tl.constexpr, WIDE: tl.constexpr, PROLOGUE: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """``[BC]``: of channels ``c`` of an image's pixels the largest or the sum, in float32."""
    NOTHING: tl.constexpr = float("-inf") if MAX else 0.0
    found = tl.full((BM, BC), NOTHING, dtype=tl.float32)
    c_ok = (c < channels)[None, :]
    for start in range(first, last, BM):
        p = start + tl.arange(0, BM)
        if WIDE:
            p = p.to(tl.int64)
        ok = (p < last)[:, None] & c_ok
        at = p[:, None] * pitch + c[None, :]
        value = tl.load(pixels + at, mask=ok, other=0.0).to(tl.float32)
        value = finish(value, PROLOGUE, before, channels, c[None, :], c_ok, None, 0, None, 0, ok)
        found = joined(found, tl.where(ok, value, NOTHING), MAX)
    if MAX:
        return largest(found, 0)
    else:
        return tl.sum(found, 0)


@triton.jit
def largest(value, AXIS: tl.constexpr):
    """The largest along an axis. NaN, which ``tl.max`` drops, stays."""
    is_nan = tl.max((value != value).to(tl.int32), AXIS) > 0
    return tl.where(is_nan, float("nan"), tl.max(value, AXIS))


class GlobalPool(Kernel):
    """``gap`` and ``gmp``."""

    name = "global_pool"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        index = _pool(problem)
        why = why_no_pool(problem, index, "global pool")
        if why is not None:
            return why
        after = epilogue_of(problem, index + 1)
        joins = after.residual is not None or after.gate is not None
        return "it has no operand for a residual or a gate" if joins else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """``PARTS`` of an image: as many as keep the device busy, and one."""
        channels = extents(problem.inputs[0])[0]
        found = []
        for config in strips(channels):
            programs = problem.batch * triton.cdiv(channels, config["BC"])
            most = min(boxes.PROCESSORS // max(1, programs), problem.area // (LEAST * config["BM"]))
            found += [_cut(config, parts) for parts in sorted({max(1, most), 1}, reverse=True)]
        return found

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return pack_around(problem, _pool(problem), weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        packed, prologue = operands.packed, prologue_of(problem, _pool(problem)).text
        before = {"before": packed.get("before"), "PROLOGUE": prologue}
        after = {"rows": packed.get("rows"), "EPILOGUE": _scaled(problem).text}
        x, parts = _Rows(*as_rows(operands.inputs[0]), problem.area), config["PARTS"]
        if parts == 1:
            return [_launch(problem, config, x, place(operands.out), before | after)]
        channels = x.tensor.shape[1]
        sums = x.tensor.new_empty((problem.batch * parts, channels), dtype=torch.float32)
        cut = _launch(problem, config, x, (sums, channels), before, parts)
        whole = _Rows(sums, channels, parts)
        return [cut, _launch(problem, config, whole, place(operands.out), after)]

    def scratch(self, problem: Problem, config: Config) -> int:
        """Parts of sums."""
        return stored(problem.batch * extents(problem.inputs[0])[0], config["PARTS"])


LEAST = 4
"""Tiles of pixels that are worth a program of their own."""


class _Rows(NamedTuple):
    """Rows of channels, ``pitch`` apart, so many of ``each`` image."""

    tensor: Tensor
    pitch: int
    each: int


def _launch(
    problem: Problem, config: Config, x: _Rows, y: tuple[Tensor, int], ends: Mapping[str, Any],
    parts: int = 1,
) -> Launch:  # fmt: skip
    """``y``: rows and how far apart they lie, ``parts`` of each image."""
    channels = extents(problem.inputs[0])[0]
    arguments: dict[str, Any] = {
        "x": x.tensor, "x_pitch": x.pitch, "y": y[0], "y_pitch": y[1], "channels": channels,
        "area": x.each, "each": triton.cdiv(x.each, parts), "lines": parts,
        "MAX": isinstance(problem.links[_pool(problem)].op, GlobalMaxPool),
        "before": None, "PROLOGUE": "", "rows": None, "EPILOGUE": "", **ends,
        "BM": config["BM"], "BC": config["BC"], "WIDE": is_wide(x.tensor, y[0]),
    }  # fmt: skip
    grid = problem.batch * parts * triton.cdiv(channels, config["BC"])
    return Launch(pool_images, (grid,), arguments, config)


def _cut(config: Config, parts: int) -> Config:
    return replace(config, tiles=(*config.tiles, ("PARTS", parts)))


def _scaled(problem: Problem) -> Epilogue:
    """What follows the pool; a mean is a sum first."""
    index = _pool(problem)
    after = epilogue_of(problem, index + 1)
    if isinstance(problem.links[index].op, GlobalMaxPool):
        return after
    words = [f"times {1 / problem.area!r}", *filter(None, [after.text])]
    return replace(after, text="|".join(words))


def _pool(problem: Problem) -> int:
    return problem.first(GlobalAvgPool, GlobalMaxPool)
