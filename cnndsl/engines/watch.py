"""Whether a module is still what it was: parameters, buffers, children, hooks, modes.

A forward leaves the caches full of its own numbers, so what a look costs is the memory that it
touches: some tenths of a microsecond for every object that it visits. Everything is therefore
read through containers found once, and what cannot matter is not visited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter, is_
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from cnndsl.engines.seal import Seal

_MOST_PROBES = 512
_NOWHERE = 2**62  # beyond any address
_version = attrgetter("_version")


class Watch:
    """The state of a module at one moment, to compare with later ones.

    A change is seen when a parameter or buffer is another tensor, has other storage, or was
    written in place (PyTorch counts that; see ``_Probes`` for what it does not count), and
    when a submodule was replaced or added. A module that stays the same is sealed (``Seal``) and
    its parts looked at again when somebody has looked into it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, modules = module, list(module.modules())
        containers = [d for m in modules for d in (m._parameters, m._buffers, m._modules)]
        self._containers = [d for d in containers if d]
        self._empty = [d for d in containers if not d]
        self._held = list(_all_held(self._containers))
        # Not the counters of batches: nothing in eval mode reads them.
        self._tensors = [t for t in self._held if isinstance(t, Tensor) and t.is_floating_point()]
        # Another dtype or device is other storage, so these hold as long as nothing changed.
        self.dtypes = {t.dtype for t in self._tensors}
        self.devices = {t.device.type for t in self._tensors}
        self._parts = modules[1:]
        self._hooks = [d for m in self._parts for d in _hooks(m)]
        self.counted = not any(t.is_inference() for t in self._tensors)
        """Whether PyTorch counts writes; it does not for tensors made in inference mode."""
        self._probes = _Probes(self._tensors)
        self._state = self._now() if self.counted else ()
        self._seal: Seal | None = None
        self._looks, self._patience = 0, _FIRST_SEAL
        self._wants_gradients = False

    def _now(self) -> tuple[list[int], ...]:
        pointers = list(map(Tensor.data_ptr, self._tensors))
        return pointers, list(map(_version, self._tensors))

    @property
    def sealed(self) -> bool:
        """Whether nobody has looked into the module since it was sealed."""
        seal = self._seal  # another thread may take it away
        return seal is not None and seal.whole

    def changed(self) -> bool:
        if self.sealed:
            return self._probes.differ()
        return self._differs()

    def _differs(self) -> bool:
        held = list(_all_held(self._containers))
        if len(held) != len(self._held) or not all(map(is_, held, self._held)):
            return True
        if any(self._empty):
            return True
        if not self.counted:
            return False
        # Storage first: a probe of storage that was let go would read what is not ours.
        return self._now() != self._state or self._probes.differ()

    def in_the_way(self) -> str:
        """Why only the plain module does what is asked; "" if nothing is in the way."""
        if any(_hooks(self._module)) or _global_hooks():
            return _HOOKED
        if not self.sealed:
            reason = self._parts_in_the_way()
            if reason:
                return reason
            self._wants_gradients = any(t.requires_grad for t in self._tensors)
        if self._wants_gradients and torch.is_grad_enabled():
            return "gradients are wanted (use torch.no_grad() or torch.inference_mode())"
        if not self.sealed:
            self._consider_sealing()
        return ""

    def _parts_in_the_way(self) -> str:
        if not self.counted:
            return "parameters were made in inference mode, where writes are not counted"
        if any(self._hooks):
            return _HOOKED
        if any(m.training for m in self._parts):
            return "a part of the module is in training mode"
        return ""

    def _consider_sealing(self) -> None:
        """Seals the module once it stayed the same for some looks; twice as many each time."""
        self._looks += 1
        if self._looks < self._patience:
            return
        self._looks, self._patience = 0, 2 * self._patience
        self._seal = None  # a broken one holds the containers
        # Sealed first and looked at then: what another thread does meanwhile opens the seal.
        seal = Seal(self._module)
        lists = (self._containers, self._empty, self._held, self._tensors, self._hooks, self._parts)
        tight = seal.is_tight(self._parts, lists)
        if not tight or self._differs() or self._parts_in_the_way():
            seal.open()
            return
        self._seal = seal
        self._wants_gradients = any(t.requires_grad for t in self._tensors)


_FIRST_SEAL = 3
_HOOKED = "hooks wait for the values of single layers"


class _Probes:
    """Lowest bytes of a few numbers of each tensor, to see writes that nobody counts.

    ``p.data.mul_(0.99)`` and writes through NumPy leave the version as it is. They change
    practically every number, so a look at a few is enough to see that it happened; a write to
    a single number in that way stays unseen.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        inside = [t for t in tensors if t.device.type == "cpu" and t.numel()]
        each = max(1, min(3, _MOST_PROBES // max(1, len(inside))))
        addresses = np.array([a for t in inside for a in _addresses(t)[:each]], dtype=np.int64)
        first = int(addresses.min(initial=_NOWHERE))
        size = int(addresses.max(initial=first)) + 1 - first
        # One array over all storages and what lies between, which holds nothing: a single gather
        # reads all probes, and waits for memory once instead of once for each.
        shape = {"data": (first, True), "shape": (size,), "typestr": "|u1", "version": 3}
        self._memory = np.asarray(SimpleNamespace(__array_interface__=shape))
        self._offsets = addresses - first
        self._seen = self._now()

    def _now(self) -> bytes:
        return self._memory[self._offsets].tobytes()

    def differ(self) -> bool:
        """Only while all tensors have the storage that they had."""
        return self._now() != self._seen


def _addresses(tensor: Tensor) -> list[int]:
    """Of the numbers in the middle, at the start and at the end."""
    extents = list(zip(tensor.shape, tensor.stride(), strict=True))
    middle = sum(n // 2 * stride for n, stride in extents)
    last = sum((n - 1) * stride for n, stride in extents)
    return [tensor.data_ptr() + at * tensor.element_size() for at in (middle, 0, last)]


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    return (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )


def _global_hooks() -> bool:
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


def _all_held(containers: Sequence[dict[str, Any]]) -> Iterator[Any]:
    return chain.from_iterable(map(dict.values, containers))
