"""Tiles of pixels in registers: where they lie, how they end, how large they are."""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl

from cnndsl.kernels.base import Config
from cnndsl.kernels.epilogue import finish


@triton.jit
def corner(
    tile, down, across, TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
):  # fmt: skip
    """First image, row and column of a tile; an image is ``down`` by ``across`` tiles."""
    return tile // (down * across) * TN, tile // across % down * TH, tile % across * TW


@triton.jit
def strip_of(filters, WIDE: tl.constexpr, BM: tl.constexpr, BF: tl.constexpr):
    """A program's pixels and filters, by number; neighbouring programs share their pixels."""
    tiles = tl.cdiv(filters, BF)
    f = (tl.program_id(0) % tiles) * BF + tl.arange(0, BF)
    block = tl.program_id(0) // tiles
    if WIDE:
        block = block.to(tl.int64)
    return block * BM + tl.arange(0, BM), f


def strips_in(pixels: int, filters: int, config: Config, side: str = "BC") -> tuple[int]:
    """The grid of ``strip_of``: a program for each strip; ``side``: a strip's filters by name."""
    return (triton.cdiv(pixels, config["BM"]) * triton.cdiv(filters, config[side]),)


@triton.jit
def pixels_of(
    n, h, w, batch, height, width,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The numbers of a tile's pixels, given its corner, and which of them exist."""
    i = tl.arange(0, TN * TH * TW)
    n += i // (TH * TW)
    h += i // TW % TH
    w += i % TW
    ok = (n < batch) & (h < height) & (w < width)
    if WIDE:
        n = n.to(tl.int64)
    return (n * height + h) * width + w, ok


@triton.jit
def finish_tile(
    value, m, m_ok, f, filters, area, rows, residual, residual_pitch, gate, gate_pitch,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
):  # fmt: skip
    """``[pixels m, filters f]`` after the epilogue; an image has ``area`` pixels."""
    ok = m_ok[:, None] & (f < filters)[None, :]
    gate_at = (m if GATE_MAP else m // area)[:, None] * gate_pitch + f[None, :]
    return finish(
        value, EPILOGUE, rows, filters, f[None, :], (f < filters)[None, :],
        residual, m[:, None] * residual_pitch + f[None, :], gate, gate_at, ok,
    )  # fmt: skip


@triton.jit
def get_rows(x, x_pitch, m, m_ok, c, c_ok):
    """``[pixels m, channels c]`` in float32, 0 where there are none."""
    at = m[:, None] * x_pitch + c[None, :]
    return tl.load(x + at, mask=m_ok[:, None] & c_ok[None, :], other=0.0).to(tl.float32)


@triton.jit
def put_rows(y, y_pitch, value, m, m_ok, f, filters):
    """Stores ``[pixels m, filters f]`` number by number."""
    ok = m_ok[:, None] & (f < filters)[None, :]
    at = m[:, None] * y_pitch + f[None, :]
    tl.store(y + at, value.to(y.dtype.element_ty), mask=ok)


@triton.jit
def put_boxes(
    y, y_box, y_pitch, value, m, m_ok, f, filters, n, h, v, first,
    TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr, BF: tl.constexpr,
):  # fmt: skip
    """Stores ``[pixels m, filters f]`` at once if the result can be written in boxes."""
    if y_box is not None:
        y_box.store([n, h, v, first], value.to(y.dtype.element_ty).reshape(TN, TH, TW, BF))
    else:
        put_rows(y, y_pitch, value, m, m_ok, f, filters)


STRIPS = (
    Config.of(4, 1, BM=32, BC=64),
    Config.of(4, 1, BM=16, BC=128),
    Config.of(4, 1, BM=64, BC=32),
    Config.of(4, 1, BM=128, BC=16),
)
"""Each thread holds 16 values; with more, the loads in flight no longer hide the latency."""


def strips(channels: int, known: Sequence[Config] = STRIPS) -> Sequence[Config]:
    """Pixels and channels of a tile that is bound by memory, no wider than what there is."""
    return [c for c in known if c["BC"] < 2 * channels] or known[-1:]
