"""Whether a module is still what it was: layers, their settings, parameters, buffers, hooks.

A forward leaves the caches full of its own numbers, so what a look costs is the memory that it
touches: some tenths of a microsecond for every object that it visits. Everything is therefore
compared as one list, and what cannot matter is not visited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from operator import attrgetter, is_, itemgetter
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from cnndsl.engines.live.layers import Layers, difference
from cnndsl.engines.live.numbers import Probes, Sums
from cnndsl.engines.live.seal import CONTAINERS, Seal, contents

_FEW = 4 * 2**20
"""Bytes of numbers that every look compares in whole: they take less than half a millisecond."""
_SHARE = 50
"""More are compared after so many times as long as that takes: at most a fiftieth of the time."""
_FIRST_SEAL = 3
_HOOKED = "hooks wait for the values of single layers"


class Watch:
    """The state of a module at one moment, to compare with later ones.

    A change is seen when a parameter or buffer is another tensor, has other storage or another
    shape, or was written in place as PyTorch counts it; when a layer was exchanged or added, or
    an attribute of one is another. All numbers are compared (``Sums``) where a writing that
    nobody counts is likely: see ``_in_whole``. A module that stays the same is sealed (``Seal``)
    and its parts looked at again when somebody has looked into it.

    ``layers``: what ``compile`` made; only the plain module runs others.
    """

    def __init__(self, module: nn.Module, layers: Layers, mark: object = None) -> None:
        self._module, self._root, self._mark = module, module.__dict__, mark
        self._parts = list(module.modules())[1:]
        self._states = [part.__dict__ for part in self._parts]
        self._kinds = list(map(type, self._parts))
        self._classes = list(dict.fromkeys(self._kinds))
        self._forwards = list(map(_forward, self._classes))
        # Of lists a copy, to see when they are written.
        self._values = [v.copy() if type(v) is list else v for v in self._all_values()]
        self._held = list(self._all_held())
        self.numbers = _numbers(module)
        """Parameters and buffers by path, those that stand at two places twice."""
        uncounted = self._why_uncounted()
        self._tensors = [] if uncounted else _read_in_eval_mode(self.numbers)
        self._refusal = uncounted or self._why_never(layers)
        # Another dtype or device is other storage, so these hold as long as nothing changed.
        self.dtypes = {t.dtype for t in self._tensors if t.is_floating_point()}
        self.devices = {t.device.type for t in self._tensors}
        self._state = self._now()
        self._probes, self._sums = Probes(self._tensors), Sums(self._tensors)
        self._due = 0.0
        self._seal: Seal | None = None
        self._looks, self._patience = 0, _FIRST_SEAL
        self._is_shared = False
        self.trains = False
        """Of a sealed module: whether a parameter requires gradients."""

    def _why_uncounted(self) -> str:
        """Why it cannot be seen that a tensor was written."""
        tensors = self.numbers.values()
        if not all(type(t) in (Tensor, nn.Parameter) and _is_dense(t) for t in tensors):
            return "a parameter is not a plain tensor"
        if any(t.is_inference() for t in tensors):
            return "parameters were made in inference mode, where writes are not counted"
        return ""

    def _why_never(self, layers: Layers) -> str:
        """Why no engine may answer as long as nothing changes."""
        found = difference(layers, self._module)
        if not found and any(m.training for m in self._parts):
            return "a part of the module is in training mode"
        return found

    @property
    def sealed(self) -> bool:
        """Whether nobody has looked into the module since it was sealed."""
        seal = self._seal  # another thread may take it away
        return seal is not None and seal.whole

    def is_untouched(self) -> bool:
        """Whether it is sealed and as it was, and nothing is in the way."""
        seal = self._seal
        if seal is None or not seal.whole or self._probes.differ_in_turn():
            return False
        return not self._is_patched() and not self._is_hooked_outside()

    def _is_patched(self) -> bool:
        """Whether a class has another forward."""
        return list(map(_forward, self._classes)) != self._forwards

    def _is_hooked_outside(self) -> bool:
        return any(_hooks(self._root)) or _global_hooks()

    def changed(self, mark: object = None) -> bool:
        """Whether anything is another. ``mark``: another than the last asks for a close look."""
        if self.sealed:  # all probes: of those in turn, the next would find nothing
            return self._probes.differ() or self._is_patched()
        return self._differs(mark)

    def _differs(self, mark: object, *, in_whole: bool = False) -> bool:
        if self._parts_differ():
            return True
        in_whole = in_whole or self._in_whole(mark)
        kept = list(map(Tensor.untyped_storage, self._tensors)) if in_whole else ()
        if self._now() != self._state:  # first: other storage may have been let go
            return True
        if not in_whole:
            return self._probes.differ()
        begun = perf_counter()
        if self._sums.differ():
            return True
        ended = perf_counter()
        del kept  # till here: another thread may have exchanged it meanwhile
        self._mark, self._due = mark, ended + _SHARE * (ended - begun)
        return False

    def _in_whole(self, mark: object) -> bool:
        """Whether to compare all numbers: the plain module ran, as in training, or they are few;
        and of many as long as nobody is known to hold a part, and else seldom.
        """
        if mark is not self._mark:
            return True
        if self.devices - {"cpu"}:
            return False  # what other devices do would be waited for
        few = self._sums.bytes <= _FEW
        return few or not self._is_shared or perf_counter() > self._due

    def _parts_differ(self) -> bool:
        held = list(self._all_held())
        if len(held) != len(self._held) or not all(map(is_, held, self._held)):
            return True
        if list(map(type, self._parts)) != self._kinds:
            return True
        if self._is_patched():
            return True
        try:
            return list(self._all_values()) != self._values
        except Exception:  # of things that cannot be compared, and are not the same
            return True

    def _all_values(self) -> Iterator[Any]:
        """All attributes of all parts; a mode and the containers are such, too."""
        return chain.from_iterable(map(dict.values, self._states))

    def _all_held(self) -> Iterator[Any]:
        """All parameters, buffers and modules."""
        own = [contents(self._root[name]) for name in CONTAINERS]
        parts = chain.from_iterable(map(_containers, self._states))
        return chain.from_iterable(map(dict.values, chain(own, parts)))

    def _now(self) -> tuple[list[Any], ...]:
        pointers = list(map(Tensor.data_ptr, self._tensors))
        shapes = list(map(_shape, self._tensors))
        strides = list(map(Tensor.stride, self._tensors))
        return pointers, list(map(_version, self._tensors)), shapes, strides

    def in_the_way(self) -> str:
        """Why only the plain module does what is asked; "" if nothing is in the way."""
        if self._refusal:
            return self._refusal
        if self._is_hooked_outside():
            return _HOOKED
        if self.sealed:
            return ""
        if self._is_hooked():
            return _HOOKED
        self._consider_sealing()
        return ""

    def _is_hooked(self) -> bool:
        return any(chain.from_iterable(map(_hooks, self._states)))

    def _consider_sealing(self) -> None:
        """Seals the module once it stayed the same for some looks; twice as many if that fails."""
        self._looks += 1
        if self._looks < self._patience:
            return
        self._looks, self._seal = 0, None  # a broken one holds the containers
        # Sealed first and looked at then: what another thread does meanwhile opens the seal.
        seal = Seal(self._module)
        self._is_shared = not seal.is_tight(self._parts, self._lists())
        if self._is_shared or self._differs(self._mark, in_whole=True) or self._is_hooked():
            seal.open()
            self._patience *= 2
            return
        self.trains = any(map(_requires_grad, self._tensors))
        self._seal, self._patience = seal, _FIRST_SEAL

    def _lists(self) -> tuple[Iterable[object], ...]:
        """All that holds parts here."""
        held = (self._values, self._held, self._tensors, self.numbers.values())
        return (self._parts, self._states, *held)


# --- what is read ---------------------------------------------------------------------------------

_version, _shape, _forward = attrgetter("_version"), attrgetter("shape"), attrgetter("forward")
_requires_grad = attrgetter("requires_grad")
_containers = itemgetter(*CONTAINERS)
_hooks = itemgetter(
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"
)


def is_called_plainly(part: nn.Module) -> bool:
    """Whether a call of this module is its class's ``forward``, and nobody waits for values or
    gradients of this module in particular."""
    own = part.__dict__
    return not (any(_hooks(own)) or "forward" in own or own.get("_compiled_call_impl"))


def is_every_module_hooked() -> bool:
    """Whether somebody waits for values or gradients of all modules, or for their calls."""
    if nn.Module.__call__ is not nn.Module._wrapped_call_impl:
        return True
    backward = torch_module._global_backward_hooks or torch_module._global_backward_pre_hooks
    return bool(_global_hooks() or backward)


def _global_hooks() -> bool:
    return bool(torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks)


def _numbers(module: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _read_in_eval_mode(numbers: dict[str, Tensor]) -> list[Tensor]:
    """Each once, without the counters of batches."""
    names = (name for name in numbers if not name.endswith("num_batches_tracked"))
    return list({id(numbers[name]): numbers[name] for name in names}.values())


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided
