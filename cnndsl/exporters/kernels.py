"""What the fused steps of a program are: PyTorch's operators, or Triton kernels of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnndsl.diagnostics.display import counted
from cnndsl.exporters.proof import ExportError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

PLAIN, TRITON = "plain", "triton"
KERNELS = (PLAIN, TRITON)


def refuse(kernels: str) -> None:
    """ExportError where Triton is missing; ValueError unless ``kernels`` is one of ``KERNELS``."""
    if kernels not in KERNELS:
        raise ValueError(f"kernels={kernels!r}: there are {', '.join(KERNELS)}")
    if kernels == TRITON:
        from cnndsl.engines.triton_engine import missing

        reason = missing()
        if reason is not None:
            raise ExportError(reason)


def count(traced: ExportedProgram) -> int:
    """How many steps of a program are operators of ours."""
    return sum(str(node.target) == "cnndsl.chain.default" for node in traced.graph.nodes)


def notes(kernels: str, traced: ExportedProgram) -> tuple[str, ...]:
    """What a program with such steps asks of those who load it, and what was not seen of it."""
    how = "as cnndsl::chain: `import cnndsl.kernels.library` before it is loaded"
    seen = "on a GPU these are Triton kernels; the proof ran on the CPU, where they are PyTorch's"
    return steps(kernels, traced, how, seen)


def steps(kernels: str, traced: ExportedProgram, how: str, *more: str) -> tuple[str, ...]:
    """How many steps are Triton kernels, ``how``, and what ``more`` there is to say of these.

    Nothing where none was to be one.
    """
    if kernels == PLAIN:
        return ()
    found = count(traced)
    if not found:
        return ("no step fits a Triton kernel: all are PyTorch's own operators",)
    return (f"{counted(found, 'step')} {how}", *more)
