"""Maxima and averages of windows, and what stands before them, in one pass.

    y[p, c] = epilogue(max over taps t of a(x[pixel(p, t), c]))
    y[p, c] = epilogue(sum over taps t of a(x[pixel(p, t), c]) / the pixels that count)
    a(v, c) = activation(scale[c] * v + shift[c]), or v

Bound by memory: a pixel that several windows share comes from L1 but once, and what is before
the pool costs two instructions on what is loaded, where a kernel of its own would read and write
a map as large as the input (DenseNet's transitions). Padding never wins a maximum and adds
nothing to a sum: it is masked behind the prologue, which would turn it into shifts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import map_arguments, pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import finish
from cnndsl.kernels.operands import pack_around, prologue_of, why_no_pool
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.taps import source_of
from cnndsl.kernels.tiles import finish_tile, put_rows, strip_of, strips, strips_in
from cnndsl.ops.pool import AvgPool, MaxPool


@triton.jit
def pool_windows(
    x, y, before, rows, residual, gate,
    height, width, out_height, out_width, pixels, channels,
    x_pitch, y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    MAX: tl.constexpr, PADDING: tl.constexpr, WIDE: tl.constexpr, PROLOGUE: tl.constexpr,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """``PADDING``: whether it counts in an average."""
    m, c = strip_of(channels, WIDE, BM, BC)
    image, oh, ow = m // (out_height * out_width), m // out_width % out_height, m % out_width
    m_ok, c_ok = m < pixels, (c < channels)[None, :]
    NOTHING: tl.constexpr = float("-inf") if MAX else 0.0
    found = tl.full((BM, BC), NOTHING, dtype=tl.float32)
    for r in range(R):
        ih, ih_ok = source_of(oh, r, height, SH, DH, TOP, False)
        for s in tl.static_range(S):
            iw, iw_ok = source_of(ow, s, width, SW, DW, LEFT, False)
            inside = (m_ok & ih_ok & iw_ok)[:, None] & c_ok
            at = ((image * height + ih) * width + iw)[:, None] * x_pitch + c[None, :]
            value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
            value = finish(
                value, PROLOGUE, before, channels, c[None, :], c_ok, None, 0, None, 0, inside
            )
            found = joined(found, tl.where(inside, value, NOTHING), MAX)
    if not MAX:
        count = _counted(oh, height, R, SH, TOP, PADDING)
        count *= _counted(ow, width, S, SW, LEFT, PADDING)
        found = found / count[:, None].to(tl.float32)
    found = finish_tile(
        found, m, m_ok, c, channels, out_height * out_width,
        rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, found, m, m_ok, c, channels)


@triton.jit
def joined(a, b, MAX: tl.constexpr):
    """The larger or the sum; NaN stays."""
    if MAX:
        return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
    else:
        return a + b


@triton.jit
def _counted(
    out, size, K: tl.constexpr, STRIDE: tl.constexpr, EDGE: tl.constexpr, PADDING: tl.constexpr
):
    """Rows or columns of a window that count: never those that only ``ceil`` adds."""
    first = out * STRIDE - EDGE
    last = tl.minimum(first + K, size + EDGE)
    if not PADDING:
        first, last = tl.maximum(first, 0), tl.minimum(last, size)
    return last - first


class Pool(Kernel):
    """``maxpool`` and ``avgpool`` with any windows."""

    name = "pool"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        return why_no_pool(problem, _pool(problem), "pool of windows")

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        return strips(extents(problem.output)[0])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return pack_around(problem, _pool(problem), weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        index, channels = _pool(problem), extents(problem.output)[0]
        arguments = map_arguments(problem, operands, index + 1) | dict(config.tiles) | {
            "channels": channels, "before": operands.packed.get("before"),
            "PROLOGUE": prologue_of(problem, index).text, **_constants(problem.links[index].op),
        }  # fmt: skip
        grid = strips_in(pixels_of(problem), channels, config)
        return [Launch(pool_windows, grid, arguments, config)]


def _pool(problem: Problem) -> int:
    return problem.first(MaxPool, AvgPool)


def _constants(op: Any) -> dict[str, Any]:
    (r, s), (sh, sw), (top, left) = op.kernel, op.stride, op.padding
    largest = isinstance(op, MaxPool)
    dh, dw = op.dilation if largest else (1, 1)
    return {
        "R": r, "S": s, "SH": sh, "SW": sw, "DH": dh, "DW": dw, "TOP": top, "LEFT": left,
        "MAX": largest, "PADDING": not largest and op.count_include_pad,
    }  # fmt: skip
