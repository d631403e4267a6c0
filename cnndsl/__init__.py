"""cnndsl compiles convolutional networks written as text. Importing it never imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.compiler import Compilation, Program, compile, load, loads, restore
from cnndsl.diagnostics import CnnError, Diagnostic
from cnndsl.limits import Limits

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "CnnError",
    "Compilation",
    "Diagnostic",
    "Limits",
    "Program",
    "WeightsError",
    "compile",
    "from_torch",
    "load",
    "loads",
    "restore",
]
__version__ = "0.1.0"


def from_torch(
    module: nn.Module, example: Tensor | Sequence[Tensor], *, name: str | None = None
) -> Program:
    """The text of a PyTorch module, as a program with one net: ``from_torch(m, x).source.text``.

    ``example``: its input, ``[N, C, H, W]`` or ``[N, F]``, or several; numbers do not matter. The
    net's ``state_dict`` has the module's keys, so ``net().compile().load_state_dict`` takes
    ``module.state_dict()`` as it is. Height and width stay open where the module takes other
    sizes. The text was run beside the module, and computes the same. Raises
    ``cnndsl.importers.base.ImportProblem`` for what the language cannot express, with the module
    and the operator; ``cnndsl.importers.torch.network.import_module`` gives weights and notes too.
    """
    from cnndsl.importers.torch.network import import_module

    return loads(import_module(module, example, name=name).text, name=type(module).__name__)
