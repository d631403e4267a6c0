"""Depthwise convolution: every filter reads one channel.

    y[p, f] = epilogue(sum over taps t of x[pixel(p, t), f // multiplier] * w[t, f])

No channel is summed over, so there is no matrix product and nothing for tensor cores to do:
the kernel is bound by memory, and reads its input from L1 for all taps but the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import map_arguments, pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.operands import pack_behind, the_window
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.taps import source_of
from cnndsl.kernels.tiles import finish_tile, put_rows, strip_of, strips, strips_in
from cnndsl.kernels.window import filters_of, window_of


@triton.jit
def convolve_depthwise(
    x, w, y, rows, residual, gate,
    height, width, out_height, out_width, pixels, filters,
    x_pitch, y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    TRANSPOSED: tl.constexpr, MULTIPLIER: tl.constexpr, WIDE: tl.constexpr,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    m, f = strip_of(filters, WIDE, BM, BC)
    image = m // (out_height * out_width)
    m_ok, f_ok = m < pixels, f < filters
    acc = sum_of_taps(
        x, w, image, (m // out_width) % out_height, m % out_width, m_ok, f, f_ok,
        height, width, filters, x_pitch,
        R, S, SH, SW, DH, DW, TOP, LEFT, TRANSPOSED, MULTIPLIER, BM, BC,
    )  # fmt: skip
    acc = finish_tile(
        acc, m, m_ok, f, filters, out_height * out_width,
        rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, acc, m, m_ok, f, filters)


@triton.jit
def sum_of_taps(
    x, w, image, oh, ow, m_ok, f, f_ok, height, width, filters, x_pitch,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    TRANSPOSED: tl.constexpr, MULTIPLIER: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """``[BM, BC]`` in float32, for these pixels and filters; 0 where there are none."""
    acc = tl.zeros((BM, BC), dtype=tl.float32)
    for r in range(R):
        ih, ih_ok = source_of(oh, r, height, SH, DH, TOP, TRANSPOSED)
        for s in tl.static_range(S):
            iw, iw_ok = source_of(ow, s, width, SW, DW, LEFT, TRANSPOSED)
            inside = (m_ok & ih_ok & iw_ok)[:, None] & f_ok[None, :]
            at = ((image * height + ih) * width + iw)[:, None] * x_pitch
            a = tl.load(x + (at + (f // MULTIPLIER)[None, :]), mask=inside, other=0.0)
            b = tl.load(w + (r * S + s) * filters + f, mask=f_ok, other=0.0)
            acc += a.to(tl.float32) * b.to(tl.float32)[None, :]
    return acc


class Depthwise(Kernel):
    """Groups of one channel each, with any number of filters per channel."""

    name = "depthwise"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        window = window_of(problem, 0)
        if window is None or problem.links[0].slots != (0,):
            return "it does not begin with a convolution of its first input"
        if window.groups == 1 or window.groups != extents(problem.inputs[0])[0]:
            return "its filters read more than one channel"
        epilogue = Epilogue.of(problem, 1)
        return epilogue if isinstance(epilogue, str) else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        return strips(extents(problem.output)[0])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``[taps, filters]``, so that a tap's numbers lie beside each other."""
        filters = filters_of(the_window(problem, 0), weights["0.weight"])
        packed = {"filters": filters.flatten(1).t().contiguous()}
        return packed | pack_behind(problem, 0, weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        pixels = pixels_of(problem)
        if pixels == 0:
            return []
        filters = extents(problem.output)[0]
        window = the_window(problem, 0).constants
        arguments = map_arguments(problem, operands, 1) | window | dict(config.tiles)
        arguments |= {
            "w": operands.packed["filters"], "filters": filters,
            "MULTIPLIER": filters // arguments.pop("GROUPS"),
        }  # fmt: skip
        grid = strips_in(pixels, filters, config)
        return [Launch(convolve_depthwise, grid, arguments, config)]
