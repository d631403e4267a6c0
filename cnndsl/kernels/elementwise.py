"""What looks at one point at a time, in one pass over its operands.

    y[p, c] = epilogue(x[p, c])
    y[p, c] = epilogue(a[p, c] + b[p, c] + …), and so for their mean, their largest

Factors, summands, activations, a residual and a gate are those of every epilogue; what it has
no word for, a join of three and more maps or of their maxima, comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.arguments import pixels_of
from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.layout import as_rows, is_wide, place
from cnndsl.kernels.operands import epilogue_arguments
from cnndsl.kernels.pool import joined
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.tiles import finish_tile, get_rows, put_rows, strip_of, strips, strips_in
from cnndsl.ops.merge import Add, Max, Mean


@triton.jit
def map_points(
    x, second, third, fourth, y, rows, residual, gate,
    area, pixels, channels,
    x_pitch, second_pitch, third_pitch, fourth_pitch, y_pitch, residual_pitch, gate_pitch,
    MAX: tl.constexpr, WIDE: tl.constexpr, EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr,
    BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """``second`` to ``fourth``: what is joined with ``x``, None if it is not there."""
    m, c = strip_of(channels, WIDE, BM, BC)
    m_ok, c_ok = m < pixels, c < channels
    value = get_rows(x, x_pitch, m, m_ok, c, c_ok)
    if second is not None:
        value = joined(value, get_rows(second, second_pitch, m, m_ok, c, c_ok), MAX)
    if third is not None:
        value = joined(value, get_rows(third, third_pitch, m, m_ok, c, c_ok), MAX)
    if fourth is not None:
        value = joined(value, get_rows(fourth, fourth_pitch, m, m_ok, c, c_ok), MAX)
    value = finish_tile(
        value, m, m_ok, c, channels, area,
        rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, value, m, m_ok, c, channels)


class Elementwise(Kernel):
    """Affine maps, factors, activations, and joins of up to four maps."""

    name = "elementwise"

    def refuses(self, problem: Problem, capability: int) -> str | None:
        if _is_joined(problem) and len(problem.links[0].slots) > len(OTHERS) + 1:
            return f"it joins more than {len(OTHERS) + 1} maps"
        epilogue = _epilogue(problem)
        return epilogue if isinstance(epilogue, str) else None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        return strips(extents(problem.output)[0])

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rows = _the_epilogue(problem).rows(weights, extents(problem.output)[0])
        return {} if rows is None else {"rows": rows}

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        if operands.out.numel() == 0:
            return []
        channels, height, width = extents(problem.output)
        y, y_pitch = place(operands.out)
        maps = _joined_maps(problem, operands)
        ends = epilogue_arguments(_the_epilogue(problem), operands)
        tensors = [value for value in (maps | ends).values() if isinstance(value, Tensor)]
        arguments = maps | ends | dict(config.tiles) | {
            "y": y, "y_pitch": y_pitch, "area": height * width, "pixels": pixels_of(problem),
            "channels": channels, "MAX": isinstance(problem.links[0].op, Max),
            "WIDE": is_wide(y, *tensors),
        }  # fmt: skip
        grid = strips_in(pixels_of(problem), channels, config)
        return [Launch(map_points, grid, arguments, config)]


OTHERS = ("second", "third", "fourth")
"""The kernel's names for what is joined with ``x``."""


def _is_joined(problem: Problem) -> bool:
    """Whether the first link joins in a way for which an epilogue has no word."""
    link = problem.links[0]
    return isinstance(link.op, Mean | Max) or (isinstance(link.op, Add) and len(link.slots) > 2)


def _epilogue(problem: Problem) -> Epilogue | str:
    link = problem.links[0]
    if not _is_joined(problem):
        return Epilogue.over(problem)
    found = Epilogue.of(problem, 1)
    if isinstance(found, str) or not isinstance(link.op, Mean):
        return found
    share = f"times {1 / len(link.slots)!r}"
    return replace(found, text=f"{share}|{found.text}" if found.text else share)


def _the_epilogue(problem: Problem) -> Epilogue:
    found = _epilogue(problem)
    assert isinstance(found, Epilogue), found
    return found


def _joined_maps(problem: Problem, operands: Operands) -> dict[str, Any]:
    """``x``, what is joined with it, and how far apart the pixels of each lie."""
    slots = problem.links[0].slots if _is_joined(problem) else (0,)
    found: dict[str, Any] = {}
    for number, name in enumerate(("x", *OTHERS)):
        rows = as_rows(operands.inputs[slots[number]]) if number < len(slots) else (None, 0)
        found[name], found[f"{name}_pitch"] = rows
    return found
