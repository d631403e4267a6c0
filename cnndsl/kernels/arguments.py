"""What every kernel over pixels is launched with: the maps that it reads and writes."""

from __future__ import annotations

from typing import Any

from cnndsl.kernels.base import Operands
from cnndsl.kernels.layout import as_rows, is_wide, place
from cnndsl.kernels.operands import epilogue_arguments, epilogue_of
from cnndsl.kernels.problem import Problem, extents


def pixels_of(problem: Problem) -> int:
    """Pixels of the result, over the whole batch."""
    _, height, width = extents(problem.output)
    return problem.batch * height * width


def map_arguments(problem: Problem, operands: Operands, first: int) -> dict[str, Any]:
    """Input 0 and the result: where each lies, how large it is, its pitch; and all that the
    epilogue from link ``first`` on reads."""
    x, x_pitch = as_rows(operands.inputs[0])
    y, y_pitch = place(operands.out)
    found = {
        "x": x, "y": y, "x_pitch": x_pitch, "y_pitch": y_pitch,
        "height": x.shape[2], "width": x.shape[3],
        "out_height": y.shape[2], "out_width": y.shape[3], "pixels": pixels_of(problem),
        **epilogue_arguments(epilogue_of(problem, first), operands),
    }  # fmt: skip
    return found | {"WIDE": is_wide(x, y, found["residual"], found["gate"])}
