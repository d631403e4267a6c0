"""How freely a network may be trained: what nobody looks at may be computed in another way."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.engines.live.watch import is_called_plainly, is_every_module_hooked


class Freedom(Enum):
    """What a forward in training mode may do beside what its layers say."""

    NONE = "each layer is called as it is"
    OVER = "values that nothing else reads may be written over"
    LAYOUTS = "so they may, and maps may lie in memory in another way"


def freedom(network: nn.Module, inputs: Sequence[Any]) -> Freedom:
    """No layouts where somebody may count on the one that he knows: a hook, a layer that is not
    PyTorch's or ours, who wants gradients of an input, or chose a layout for parameters or inputs
    himself; and none but for float32 on the CPU.
    """
    if is_every_module_hooked() or any(type(x) is not Tensor for x in inputs):
        return Freedom.NONE
    if not (torch.backends.mkldnn.enabled and all(map(_is_plain, inputs))):
        return Freedom.OVER
    return Freedom.LAYOUTS if all(map(_is_usual, network.modules())) else Freedom.OVER


def _is_plain(x: Tensor) -> bool:
    return x.is_cpu and x.dtype is torch.float32 and x.is_contiguous() and not x.requires_grad


def _is_usual(part: nn.Module) -> bool:
    """A layer of PyTorch or ours, called as it is, with weights in the usual layout whose gradients
    nobody waits for."""
    ours = type(part).__module__.startswith(("torch.nn.", "cnndsl."))
    if not (ours and is_called_plainly(part)):
        return False  # the weights of lazy layers, which wait by hooks, cannot be asked
    held = [weight for weight in part._parameters.values() if weight is not None]
    return all(weight.is_contiguous() and not weight._backward_hooks for weight in held)
