"""Local response normalisation in one pass (AlexNet, GoogLeNet).

    y[p, c] = x[p, c] * (k + alpha / size * sum over d of x[p, c + d]^2) ^ -beta
    d = -(size // 2) .. (size - 1) // 2

The neighbours of a channel lie beside it: they come from L1, and nothing is stored between, where
PyTorch launches six kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.layout import as_rows, is_wide, place
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import put_rows, strip_of, strips, strips_in
from cnndsl.ops.norm import LocalResponseNorm


@triton.jit
def normalise_locally(
    x, y, pixels, channels, x_pitch, y_pitch,
    SIZE: tl.constexpr, SHARE: tl.constexpr, BETA: tl.constexpr, BASE: tl.constexpr,
    WIDE: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """``SHARE``: alpha / size; ``BASE``: k."""
    m, c = strip_of(channels, WIDE, BM, BC)
    m_ok = (m < pixels)[:, None]
    at = x + m[:, None] * x_pitch  # made once: with places of its own for each load, sm_80 spills
    energy = tl.zeros((BM, BC), dtype=tl.float32)
    for d in tl.static_range(SIZE):
        near = c + (d - SIZE // 2)
        ok = m_ok & ((near >= 0) & (near < channels))[None, :]
        value = tl.load(at + near[None, :], mask=ok, other=0.0).to(tl.float32)
        energy += value * value
    own = tl.load(at + c[None, :], mask=m_ok & (c < channels)[None, :], other=0.0).to(tl.float32)
    found = own * tl.exp2(-BETA * tl.log2(BASE + SHARE * energy))
    put_rows(y, y_pitch, found, m, m < pixels, c, channels)


class ResponseNorm(Kernel):
    """``lrn``, alone."""

    name = "lrn"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        op = problem.links[0].op
        if not isinstance(op, LocalResponseNorm):
            return "it does not begin with a local response normalisation"
        if op.k <= 0 or op.alpha < 0:
            return "it may take the logarithm of what is not positive"
        return "something follows the normalisation" if len(problem.links) > 1 else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        return strips(extents(problem.output)[0])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {}

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        op, channels = problem.links[0].op, extents(problem.output)[0]
        assert isinstance(op, LocalResponseNorm)
        (x, x_pitch), (y, y_pitch) = as_rows(operands.inputs[0]), place(operands.out)
        arguments = dict(config.tiles) | {
            "x": x, "y": y, "x_pitch": x_pitch, "y_pitch": y_pitch, "pixels": pixels_of(problem),
            "channels": channels, "SIZE": op.size, "SHARE": op.alpha / op.size, "BETA": op.beta,
            "BASE": op.k, "WIDE": is_wide(x, y),
        }  # fmt: skip
        grid = strips_in(pixels_of(problem), channels, config)
        return [Launch(normalise_locally, grid, arguments, config)]
