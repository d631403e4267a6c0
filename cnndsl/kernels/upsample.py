"""Maps enlarged by a whole factor, repeated or interpolated, and stored where they belong.

    y[h, w, c] = epilogue(x[h // F, w // F, c])
    y[h, w, c] = epilogue(sum over the two rows and two columns around (h, w) of their shares * x)

Bound by memory: a pixel that several read comes from L1. What is gained over a library is that
the result goes into its slice of a concatenation at once (U-Net). Positions are quotients of
whole numbers, so that shares are exact to a rounding however large the map is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import map_arguments, pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.operands import pack_behind
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import finish_tile, get_rows, put_rows, strip_of, strips, strips_in
from cnndsl.ops.reshape import Upsample


@triton.jit
def enlarge(
    x, y, rows, residual, gate,
    height, width, out_height, out_width, pixels, channels,
    x_pitch, y_pitch, residual_pitch, gate_pitch,
    FH: tl.constexpr, FW: tl.constexpr, BILINEAR: tl.constexpr, CORNERS: tl.constexpr,
    WIDE: tl.constexpr, EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    m, c = strip_of(channels, WIDE, BM, BC)
    m_ok, c_ok = m < pixels, c < channels
    image, oh, ow = m // (out_height * out_width), m // out_width % out_height, m % out_width
    if BILINEAR:
        top, bottom, down = between(oh, height, out_height, FH, CORNERS)
        left, right, across = between(ow, width, out_width, FW, CORNERS)
        upper, lower = (image * height + top) * width, (image * height + bottom) * width
        a = get_rows(x, x_pitch, upper + left, m_ok, c, c_ok)
        b = get_rows(x, x_pitch, upper + right, m_ok, c, c_ok)
        value = a * (1 - across)[:, None] + b * across[:, None]
        a = get_rows(x, x_pitch, lower + left, m_ok, c, c_ok)
        b = get_rows(x, x_pitch, lower + right, m_ok, c, c_ok)
        a = a * (1 - across)[:, None] + b * across[:, None]
        value = value * (1 - down)[:, None] + a * down[:, None]
    else:
        at = (image * height + oh // FH) * width + ow // FW
        value = get_rows(x, x_pitch, at, m_ok, c, c_ok)
    value = finish_tile(
        value, m, m_ok, c, channels, out_height * out_width,
        rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, value, m, m_ok, c, channels)


@triton.jit
def between(out, size, out_size, FACTOR: tl.constexpr, CORNERS: tl.constexpr):
    """The two positions around an output, and the share of the second."""
    if CORNERS:  # the first and last pixels keep their values
        over, under = out * (size - 1), tl.maximum(out_size - 1, 1)
    else:  # pixels are areas: the middle of one lies at a half
        over, under = tl.maximum(2 * out + 1 - FACTOR, 0), 2 * FACTOR
    first = over // under
    share = (over % under).to(tl.float32) / under
    return first, tl.minimum(first + 1, size - 1), share


class Enlarge(Kernel):
    """``upsample``, of either mode."""

    name = "upsample"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        if not isinstance(problem.links[0].op, Upsample):
            return "it does not begin with an upsampling"
        op = problem.links[0].op
        if op.mode == "nearest" and max(op.scale) > LARGEST:
            return f"it repeats more than {LARGEST} times"
        epilogue = Epilogue.of(problem, 1)
        return epilogue if isinstance(epilogue, str) else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        return strips(extents(problem.output)[0])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return pack_behind(problem, 0, weights)

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        channels = extents(problem.output)[0]
        arguments = map_arguments(problem, operands, 1) | dict(config.tiles) | {
            "channels": channels, **_constants(problem.links[0].op),
        }  # fmt: skip
        grid = strips_in(pixels_of(problem), channels, config)
        return [Launch(enlarge, grid, arguments, config)]


LARGEST = 16
"""Repeating by larger factors, PyTorch takes another pixel here and there: it rounds quotients."""


def _constants(op: Any) -> dict[str, Any]:
    (down, across), bilinear = op.scale, op.mode == "bilinear"
    return {"FH": down, "FW": across, "BILINEAR": bilinear, "CORNERS": op.align_corners}
