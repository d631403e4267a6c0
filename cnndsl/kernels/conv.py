"""Any convolution, transposed ones and linear layers too, through plain pointers.

    y[p, f] = epilogue(sum over taps t and channels c of x[pixel(p, t), c] * w[f, t, c])

as one matrix product whose rows are output pixels (implicit GEMM): a tile of the unrolled
input is made up while it is loaded. NHWC; sums in float32, rounded once when stored. It is
correct everywhere, on every device that Triton knows, and the baseline that others must beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import map_arguments, pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue, finish
from cnndsl.kernels.layout import is_wide
from cnndsl.kernels.operands import pack_behind, the_window
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.taps import source_of
from cnndsl.kernels.window import Window, filters_of, pack_rows, window_of


@triton.jit
def convolve(
    x, w, y, rows, residual, gate,
    height, width, out_height, out_width, pixels, channels, filters,
    x_pitch, w_pitch, y_pitch, residual_pitch, gate_pitch,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    GROUPS: tl.constexpr, TRANSPOSED: tl.constexpr, WHOLE: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``channels``, ``filters``: of one group. Neighbouring programs share their pixels."""
    pid = tl.program_id(0)
    tiles = tl.cdiv(filters, BN)
    group = (pid // tiles) % GROUPS
    f = (pid % tiles) * BN + tl.arange(0, BN)
    block = pid // (tiles * GROUPS)
    if WIDE:
        block = block.to(tl.int64)
        f = f.to(tl.int64)
    m = block * BM + tl.arange(0, BM)
    image = m // (out_height * out_width)
    m_ok, f_ok = m < pixels, f < filters
    channel = group * filters + f
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, R * S * channels, BK):
        a, k_ok = _unrolled(
            x + group * channels, image, (m // out_width) % out_height, m % out_width, m_ok, k,
            height, width, channels, x_pitch,
            R, S, SH, SW, DH, DW, TOP, LEFT, TRANSPOSED, WHOLE, BK,
        )  # fmt: skip
        at = channel[None, :] * w_pitch + (k + tl.arange(0, BK))[:, None]
        b = tl.load(w + at, mask=f_ok[None, :] & k_ok[:, None], other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)
    ok = m_ok[:, None] & f_ok[None, :]
    gate_at = (m if GATE_MAP else image)[:, None] * gate_pitch + channel[None, :]
    residual_at = m[:, None] * residual_pitch + channel[None, :]
    acc = finish(
        acc, EPILOGUE, rows, filters * GROUPS, channel[None, :], f_ok[None, :],
        residual, residual_at, gate, gate_at, ok,
    )  # fmt: skip
    at = m[:, None] * y_pitch + channel[None, :]
    tl.store(y + at, acc.to(y.dtype.element_ty), mask=ok)


@triton.jit
def _unrolled(
    x, image, oh, ow, m_ok, start, height, width, channels, x_pitch,
    R: tl.constexpr, S: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr,
    DH: tl.constexpr, DW: tl.constexpr, TOP: tl.constexpr, LEFT: tl.constexpr,
    TRANSPOSED: tl.constexpr, WHOLE: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """``[BM, BK]`` of the unrolled input from column ``start`` on, and which columns exist."""
    k = start + tl.arange(0, BK)
    k_ok = k < R * S * channels
    if WHOLE:  # the columns are of one tap: what follows from it is computed once, not BK times
        tap = start // channels
        c = k - tap * channels
    else:
        tap = (k // channels)[None, :]
        c = k % channels
    ih, ih_ok = source_of(oh[:, None], tap // S, height, SH, DH, TOP, TRANSPOSED)
    iw, iw_ok = source_of(ow[:, None], tap % S, width, SW, DW, LEFT, TRANSPOSED)
    inside = m_ok[:, None] & ih_ok & iw_ok
    if not WHOLE:
        inside = inside & k_ok[None, :]
    at = ((image[:, None] * height + ih) * width + iw) * x_pitch + c[None, :]
    return tl.load(x + at, mask=inside, other=0.0), k_ok


class Convolution(Kernel):
    """The pointer kernel. ``tf32``: float32 products rounded to 10 bits, on tensor cores."""

    name = "conv"

    def __init__(self, tf32: bool = False) -> None:
        self.tf32 = tf32

    def refuses(self, problem: Problem, capability: int) -> str | None:
        if window_of(problem, 0) is None:
            return "it does not begin with a convolution"
        if problem.links[0].slots != (0,):
            return "its convolution reads another input than the first"
        epilogue = Epilogue.of(problem, 1)
        return epilogue if isinstance(epilogue, str) else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """Tiles no larger than what there is, the largest first; 4 warps until a device has
        shown that 8 compute the same."""
        filters, pixels = self._size(problem), pixels_of(problem)
        half = problem.dtype.itemsize < 4
        shapes = HALF if half else FULL
        fitting = [c for c in shapes if c["BN"] <= _tile(filters) and c["BM"] <= _tile(pixels)]
        return fitting or [shapes[-1]]

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        packed = {"filters": pack_rows(self.filters(problem, weights))}
        return packed | pack_behind(problem, 0, weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        pixels = pixels_of(problem)
        if pixels == 0:
            return []
        window, packed = self.window(problem), operands.packed["filters"]
        maps = map_arguments(problem, operands, 1)
        filters, channels = self._size(problem), maps["x"].shape[1] // window.groups
        arguments = maps | window.constants | dict(config.tiles) | {
            "w": packed, "w_pitch": packed.stride(0), "channels": channels, "filters": filters,
            "WHOLE": channels % config["BK"] == 0, "PRECISION": self._precision(packed.dtype),
            "WIDE": maps["WIDE"] or is_wide(packed),
        }  # fmt: skip
        tiles = triton.cdiv(filters, config["BN"]) * window.groups
        grid = (triton.cdiv(pixels, config["BM"]) * tiles,)
        return [Launch(convolve, grid, arguments, config)]

    def window(self, problem: Problem) -> Window:
        """What its filters see."""
        return the_window(problem, 0)

    def filters(self, problem: Problem, weights: Mapping[str, Tensor]) -> Tensor:
        """``[filters, channels of a group, *kernel]``."""
        return filters_of(self.window(problem), weights["0.weight"])

    def _size(self, problem: Problem) -> int:
        """Filters of one group."""
        return extents(problem.results[0])[0] // self.window(problem).groups

    def _precision(self, dtype: torch.dtype) -> str:
        return "tf32" if self.tf32 and dtype == torch.float32 else "ieee"


HALF = [
    Config.of(4, 3, BM=128, BN=128, BK=32),
    Config.of(4, 3, BM=128, BN=64, BK=64),
    Config.of(4, 3, BM=128, BN=32, BK=64),
    Config.of(4, 3, BM=128, BN=16, BK=32),
    Config.of(4, 4, BM=64, BN=64, BK=64),
    Config.of(4, 4, BM=64, BN=32, BK=32),
    Config.of(4, 4, BM=16, BN=16, BK=32),
]
FULL = [
    Config.of(4, 3, BM=64, BN=64, BK=16),
    Config.of(4, 2, BM=64, BN=32, BK=16),
    Config.of(4, 3, BM=64, BN=16, BK=32),
    Config.of(4, 3, BM=32, BN=32, BK=32),
    Config.of(4, 3, BM=16, BN=16, BK=32),
]
SMALLEST = 16
"""Sides of the smallest tile that a tensor core takes."""


def _tile(size: int) -> int:
    """The side of a tile that one of this size fills."""
    return max(SMALLEST, 1 << (size - 1).bit_length()) if size else SMALLEST
