"""Tiles of pixels in registers, as the kernels of boxes have them: where they lie, how they end."""

from __future__ import annotations

import triton
import triton.language as tl

from cnndsl.kernels.epilogue import finish


@triton.jit
def corner(
    tile, down, across, TN: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
):  # fmt: skip
    """First image, row and column of a tile; an image is ``down`` by ``across`` tiles."""
    return tile // (down * across) * TN, tile // across % down * TH, tile % across * TW


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
def put_rows(y, y_pitch, value, m, m_ok, f, filters):
    """Stores ``[pixels m, filters f]`` number by number."""
    ok = m_ok[:, None] & (f < filters)[None, :]
    at = m[:, None] * y_pitch + f[None, :]
    tl.store(y + at, value.to(y.dtype.element_ty), mask=ok)
