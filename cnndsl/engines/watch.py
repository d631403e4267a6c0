"""Whether a module is still what it was: parameters, buffers, children, hooks, modes.

Everything is read through containers found once, so that a look costs tens of nanoseconds
per entry and no attribute lookup through ``nn.Module``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter, is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

_MOST_PROBES = 256
_version = attrgetter("_version")


class Watch:
    """The state of a module at one moment, to compare with later ones.

    A change is seen when a parameter or buffer is another tensor, has other storage, or was
    written in place (PyTorch counts that; see ``_probes`` for what it does not count), and
    when a submodule was replaced or added.
    """

    def __init__(self, module: nn.Module) -> None:
        self._modules = list(module.modules())
        self._containers = [d for m in self._modules for d in _containers(m)]
        self._held = list(_all_held(self._containers))
        # Not the counters of batches: nothing in eval mode reads them.
        self._tensors = [t for t in self._held if isinstance(t, Tensor) and t.is_floating_point()]
        # Another dtype or device is other storage, so these hold as long as nothing changed.
        self.dtypes = {t.dtype for t in self._tensors}
        self.devices = {t.device.type for t in self._tensors}
        self._hooks: list[Any] = [d for m in self._modules for d in _hooks(m)]
        self.counted = not any(t.is_inference() for t in self._tensors)
        """Whether PyTorch counts writes; it does not for tensors made in inference mode."""
        each = max(1, min(3, _MOST_PROBES // max(1, len(self._tensors))))
        self._probes = [probe for t in self._tensors for probe in _probes(t, each)]
        self._state = self._now() if self.counted else ()

    def _now(self) -> tuple[list[int], ...]:
        pointers = list(map(Tensor.data_ptr, self._tensors))
        return pointers, list(map(_version, self._tensors))

    def changed(self) -> bool:
        held = list(_all_held(self._containers))
        if len(held) != len(self._held) or not all(map(is_, held, self._held)):
            return True
        if not self.counted:
            return False
        # Storage first: a probe of storage that was let go would read what is not ours.
        return self._now() != self._state or any(view[i] != byte for view, i, byte in self._probes)

    def in_the_way(self) -> str:
        """Why only the plain module does what is asked; "" if nothing is in the way."""
        if not self.counted:
            return "parameters were made in inference mode, where writes are not counted"
        if any(self._hooks) or _global_hooks():
            return "hooks wait for the values of single layers"
        if any(m.training for m in self._modules):
            return "a part of the module is in training mode"
        if torch.is_grad_enabled() and any(t.requires_grad for t in self._tensors):
            return "gradients are wanted (use torch.no_grad() or torch.inference_mode())"
        return ""


def _containers(module: nn.Module) -> tuple[dict[str, Any], ...]:
    return module._parameters, module._buffers, module._modules


def _all_held(containers: Sequence[dict[str, Any]]) -> Iterator[Any]:
    return chain.from_iterable(map(dict.values, containers))


def _probes(tensor: Tensor, count: int) -> Iterator[tuple[memoryview, int, int]]:
    """Lowest bytes of a few numbers, to see writes that nobody counts.

    ``p.data.mul_(0.99)`` and writes through NumPy leave the version as it is. They change
    practically every number, so a look at a few is enough to see that it happened; a write to
    a single number in that way stays unseen.
    """
    if tensor.device.type != "cpu" or not tensor.numel():
        return
    storage = tensor.detach().untyped_storage()
    view = torch.empty(0, dtype=torch.uint8).set_(storage).numpy().data
    start, size = int(tensor.storage_offset()), tensor.element_size()
    last = tensor.numel() - 1
    for index in (last // 2, 0, last)[:count]:
        where = (start + index) * size
        if where < len(view):
            yield view, where, view[where]


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    return (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )


def _global_hooks() -> bool:
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)
