"""A depthwise convolution and the 1x1 behind it, whose map between is never stored.

    h[p, c] = middle(sum over taps t of x[pixel(p, t), c // multiplier] * d[t, c])
    y[p, f] = epilogue(sum over channels c of h[p, c] * w[f, c])

A program makes ``h`` for its pixels a few channels at a time, as the matrix product wants it.
``h`` is rounded to the dtype of the maps, as it would be if it were stored. Programs for other
filters of the same pixels make it again: worth it while few tiles hold all filters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import map_arguments, pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.depthwise import Depthwise, sum_of_taps
from cnndsl.kernels.epilogue import Epilogue, finish
from cnndsl.kernels.layout import is_wide
from cnndsl.kernels.operands import epilogue_of, pack_with_rows, the_window
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.segments import Segment, segment
from cnndsl.kernels.tiles import finish_tile, put_rows, strip_of, strips_in
from cnndsl.kernels.window import window_of
from cnndsl.passes.kinds import CONVOLUTIONS

_FIRST = Depthwise()


@triton.jit
def convolve_twice(
    x, d, w, y, middle_rows, rows, residual, gate,
    height, width, out_height, out_width, pixels, channels, filters,
    x_pitch, w_pitch, y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    TRANSPOSED: tl.constexpr, MULTIPLIER: tl.constexpr, WIDE: tl.constexpr,
    MIDDLE: tl.constexpr, EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``channels``: of the map between."""
    m, f = strip_of(filters, WIDE, BM, BN)
    image = m // (out_height * out_width)
    m_ok, f_ok = m < pixels, f < filters
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, channels, BK):
        c = start + tl.arange(0, BK)
        c_ok = c < channels
        h = sum_of_taps(
            x, d, image, (m // out_width) % out_height, m % out_width, m_ok, c, c_ok,
            height, width, channels, x_pitch,
            R, S, SH, SW, DH, DW, TOP, LEFT, TRANSPOSED, MULTIPLIER, BM, BK,
        )  # fmt: skip
        h = finish(
            h, MIDDLE, middle_rows, channels, c[None, :], c_ok[None, :], None, 0, None, 0, None
        )
        at = f[None, :] * w_pitch + c[:, None]
        b = tl.load(w + at, mask=f_ok[None, :] & c_ok[:, None], other=0.0)
        acc = tl.dot(h.to(x.dtype.element_ty), b, acc, input_precision="ieee")
    acc = finish_tile(
        acc, m, m_ok, f, filters, out_height * out_width,
        rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, acc, m, m_ok, f, filters)


class DepthwisePointwise(Kernel):
    """Two convolutions in one chain; between them what reads one value at a time."""

    name = "depthwise_pointwise"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        second = _second(problem)
        if second is None:
            return "there is no second convolution"
        first = segment(problem, 0, second).problem
        reason = _FIRST.refuses(first, capability)
        if reason is not None:
            return reason
        if len(first.inputs) > 1:
            return "a residual or gate stands between its convolutions"
        window = window_of(problem, second)
        if window is None or not window.is_product or window.groups > 1:
            return "its second convolution is not a 1x1"
        epilogue = Epilogue.of(problem, second + 1)
        return epilogue if isinstance(epilogue, str) else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """The narrowest tile that holds all filters, or the widest there is; few pixels are in
        smaller tiles, so that there are more of them."""
        filters = extents(problem.output)[0]
        known = HALF if problem.dtype.itemsize < 4 else FULL
        widest = max(config["BN"] for config in known)
        least = min((c["BN"] for c in known if c["BN"] >= filters), default=widest)
        return [config for config in known if config["BN"] == least]

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        first = _first(problem)
        packed = _FIRST.pack(first.problem, first.weights(weights))
        middle = {f"middle_{name}": value for name, value in packed.items()}
        return middle | pack_with_rows(problem, len(first.problem.links), weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        pixels = pixels_of(problem)
        if pixels == 0:
            return []
        first, packed = _first(problem).problem, operands.packed
        window, middle = the_window(problem, 0).constants, epilogue_of(first, 1)
        maps = map_arguments(problem, operands, len(first.links) + 1)
        channels, filters = extents(first.output)[0], extents(problem.output)[0]
        arguments = maps | window | dict(config.tiles) | {
            "d": packed["middle_filters"], "middle_rows": packed.get("middle_rows"),
            "w": packed["filters"], "w_pitch": packed["filters"].stride(0),
            "channels": channels, "filters": filters, "MIDDLE": middle.text,
            "MULTIPLIER": channels // window["GROUPS"],
            "WIDE": maps["WIDE"] or is_wide(packed["filters"]),
        }  # fmt: skip
        del arguments["GROUPS"]
        grid = strips_in(pixels, filters, config, "BN")
        return [Launch(convolve_twice, grid, arguments, config)]

    def flops(self, problem: Problem, config: Config) -> int:
        """The map between is made for every tile of filters."""
        again = -(-extents(problem.output)[0] // config["BN"]) - 1
        return super().flops(problem, config) + again * 2 * _first(problem).problem.macs


HALF = [
    Config.of(4, 2, BM=64, BN=32, BK=32),
    Config.of(4, 2, BM=64, BN=64, BK=32),
    Config.of(4, 2, BM=32, BN=64, BK=32),
    Config.of(4, 2, BM=32, BN=128, BK=32),
]
FULL = [
    Config.of(4, 2, BM=64, BN=32, BK=16),
    Config.of(4, 2, BM=32, BN=64, BK=16),
]


def _second(problem: Problem) -> int | None:
    """The number of the second convolution's link."""
    found = (k for k, link in enumerate(problem.links) if isinstance(link.op, CONVOLUTIONS) and k)
    return next(found, None)


def _first(problem: Problem) -> Segment:
    second = _second(problem)
    assert second is not None
    return segment(problem, 0, second)
