"""What PyTorch is about to do with a call: trace, transform, differentiate, watch or cast it.

Then only the plain module gives what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

GRADIENTS = "gradients are wanted (use torch.no_grad() or torch.inference_mode())"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
_LIES_ON = {"cpu": attrgetter("is_cpu"), "cuda": attrgetter("is_cuda")}
# Of the ways to ask, those that cost tenths of a microsecond; others cost up to 15 right behind a
# forward, which leaves nothing in the caches.
_is_compiling = torch.compiler.is_dynamo_compiling
_is_traced = torch._C._is_tracing
_is_transformed = torch._C._are_functorch_transforms_active
_is_cast = torch._C._is_any_autocast_enabled
_functions, _dispatches = torch._C._len_torch_function_stack, torch._C._len_torch_dispatch_stack


def is_watched() -> bool:
    """Whether a call is traced, transformed, differentiated in forward mode or cast, or each of its
    operations looked at."""
    if _is_compiling() or _is_traced():  # which cannot look at the rest
        return True
    looked_at = _dispatches() or _functions()
    return bool(looked_at or _is_transformed() or _is_cast() or forward_ad._current_level >= 0)


def in_the_way(inputs: Sequence[Tensor], device: str) -> str:
    """Why an engine of this device may not answer for these inputs in this mode of PyTorch; ""
    if it may."""
    if _is_compiling() or _is_traced():
        return "the module is being traced"
    for x in inputs:  # those of a trace without dynamo are no plain tensors
        reason = _odd(x, device)
        if reason:
            return reason
    if _dispatches() or _functions():
        return "a mode of PyTorch looks at every operation"
    if _is_transformed():
        return "a transform of torch.func is at work"
    if forward_ad._current_level >= 0:
        return "gradients are wanted in forward mode"
    if _is_cast() and torch.is_autocast_enabled(device):
        return "autocast chooses the dtypes"
    return ""


def _odd(x: Any, device: str) -> str:
    """Why an engine of this device does not take this input, whatever its shape; "" if it may."""
    if type(x) is not Tensor or x.layout is not torch.strided or not _LIES_ON[device](x):
        return f"an input is not a plain tensor on the {DEVICES[device]}"
    if x.is_neg():
        return "an input is the negative of what is in memory"
    if x.requires_grad and torch.is_grad_enabled():
        return GRADIENTS
    return ""
