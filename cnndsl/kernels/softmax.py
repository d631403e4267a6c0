"""Softmax and its logarithm over the channels of each pixel.

    y[p, c] = exp(x[p, c] - m[p]) / s[p]      or      x[p, c] - m[p] - log(s[p])
    m[p] = the largest of x[p, :]      s[p] = sum over c of exp(x[p, c] - m[p])

Three passes over rows that stay in L1: no exponent overflows, whatever the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.global_pool import largest
from cnndsl.kernels.layout import as_rows, is_wide, place
from cnndsl.kernels.pool import joined
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import get_rows, put_rows, strips
from cnndsl.ops.activation import LogSoftmax, Softmax


@triton.jit
def normalise_exponents(
    x, y, pixels, channels, x_pitch, y_pitch,
    LOG: tl.constexpr, WIDE: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    if WIDE:
        m = m.to(tl.int64)
    m_ok = m < pixels
    found = tl.full((BM, BC), float("-inf"), dtype=tl.float32)
    for start in range(0, channels, BC):
        found = joined(found, _row(x, x_pitch, m, m_ok, start, channels, BC), True)
    top = largest(found, 1)[:, None]
    total = tl.zeros((BM, BC), dtype=tl.float32)
    for start in range(0, channels, BC):
        total += tl.exp(_row(x, x_pitch, m, m_ok, start, channels, BC) - top)
    total = tl.sum(total, 1)[:, None]
    for start in range(0, channels, BC):
        value = _row(x, x_pitch, m, m_ok, start, channels, BC) - top
        value = value - tl.log(total) if LOG else tl.exp(value) / total
        put_rows(y, y_pitch, value, m, m_ok, start + tl.arange(0, BC), channels)


@triton.jit
def _row(x, pitch, m, m_ok, start, channels, BC: tl.constexpr):
    """Channels from ``start`` on; what is not there wins no maximum, and its exponential is 0."""
    c = start + tl.arange(0, BC)
    value = get_rows(x, pitch, m, m_ok, c, c < channels)
    return tl.where((c < channels)[None, :], value, float("-inf"))


class ExponentNorm(Kernel):
    """``softmax`` and ``log_softmax``, alone."""

    name = "softmax"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        if not isinstance(problem.links[0].op, Softmax | LogSoftmax):
            return "it does not begin with softmax"
        return "something follows the softmax" if len(problem.links) > 1 else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        """Wide tiles of few pixels for wide rows."""
        return strips(extents(problem.output)[0], SHAPES)

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {}

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        (x, x_pitch), (y, y_pitch) = as_rows(operands.inputs[0]), place(operands.out)
        arguments = dict(config.tiles) | {
            "x": x, "y": y, "x_pitch": x_pitch, "y_pitch": y_pitch, "pixels": pixels_of(problem),
            "channels": extents(problem.output)[0], "WIDE": is_wide(x, y),
            "LOG": isinstance(problem.links[0].op, LogSoftmax),
        }  # fmt: skip
        grid = triton.cdiv(pixels_of(problem), config["BM"])
        return [Launch(normalise_exponents, (grid,), arguments, config)]


SHAPES = [
    Config.of(4, 1, BM=1, BC=1024),
    Config.of(4, 1, BM=4, BC=256),
    Config.of(4, 1, BM=16, BC=64),
    Config.of(4, 1, BM=64, BC=16),
]
