"""What kernels of convolutions share on the host: packing, and the arguments of an epilogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from cnndsl.kernels.base import Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.layout import as_rows
from cnndsl.kernels.problem import Problem, extents
from cnndsl.kernels.window import Window, pack_filters, window_of


def the_window(problem: Problem, index: int) -> Window:
    """That of link ``index``, which a kernel has found to be a convolution."""
    window = window_of(problem, index)
    assert window is not None
    return window


def epilogue_of(problem: Problem, first: int) -> Epilogue:
    """That of the links from ``first`` on, which a kernel has found to be one."""
    epilogue = Epilogue.of(problem, first)
    assert isinstance(epilogue, Epilogue), epilogue
    return epilogue


def prologue_of(problem: Problem, last: int) -> Epilogue:
    """That of the links before ``last``, which a kernel has found to be one."""
    before = Epilogue.before(problem, last)
    assert isinstance(before, Epilogue), before
    return before


def pack_before(problem: Problem, last: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``before``: the numbers by channel of the links before ``last``, a prologue, if any."""
    rows = prologue_of(problem, last).rows(weights, extents(problem.inputs[0])[0])
    return {} if rows is None else {"before": rows}


def pack_behind(problem: Problem, index: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``rows``: those of what follows link ``index``, and of its bias, if any."""
    rows = epilogue_of(problem, index + 1).rows(weights, extents(problem.results[index])[0])
    return {} if rows is None else {"rows": rows}


def pack_with_rows(
    problem: Problem, index: int, weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """``filters`` of the convolution that is link ``index``, and ``rows`` of what follows it."""
    packed = {"filters": pack_filters(the_window(problem, index), weights, index)}
    return packed | pack_behind(problem, index, weights)


def epilogue_arguments(epilogue: Epilogue, operands: Operands) -> dict[str, Any]:
    """The arguments of ``tiles.finish_tile`` that come from outside."""
    residual, residual_pitch = _operand(operands, epilogue.residual)
    gate, gate_pitch = _operand(operands, epilogue.gate)
    return {
        "rows": operands.packed.get("rows"), "residual": residual, "gate": gate,
        "residual_pitch": residual_pitch, "gate_pitch": gate_pitch,
        "EPILOGUE": epilogue.text, "GATE_MAP": "mul" in epilogue.text.split("|"),
    }  # fmt: skip


def _operand(operands: Operands, slot: int | None) -> tuple[Tensor | None, int]:
    return (None, 0) if slot is None else as_rows(operands.inputs[slot])
