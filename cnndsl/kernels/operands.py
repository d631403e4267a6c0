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
from cnndsl.passes.ops import RUNNING


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


def misfit(problem: Problem, index: int) -> str | None:
    """Why what stands before link ``index`` is no prologue, or what follows it no epilogue."""
    ends = (Epilogue.before(problem, index), Epilogue.of(problem, index + 1))
    return next((end for end in ends if isinstance(end, str)), None)


def why_no_pool(problem: Problem, index: int, name: str) -> str | None:
    """Why a problem is not the pool that is its link ``index``, with what fits around it."""
    if index < 0:
        return f"it has no {name}"
    if problem.links[index].slots != ((RUNNING,) if index else (0,)):
        return "its pool reads another input than the first"
    return misfit(problem, index)


def pack_around(problem: Problem, index: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The numbers of what stands before link ``index`` and of what follows it."""
    return pack_before(problem, index, weights) | pack_behind(problem, index, weights)


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
