"""The memory of tensors, read directly: to see writes that PyTorch does not count.

``p.data.mul_(0.99)``, a fused optimiser and a write through NumPy leave a tensor's version as it
is. All addresses hold only while the tensors have the storage that they had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NOWHERE = 2**62  # beyond any address
_WORDS = {size: np.dtype(f"u{size}").str for size in (1, 2, 4, 8)}
_LANES = 1021
"""Words that are summed apart. A prime, so that channels of equal size lie in different ones."""
_SHORT = 2 * _LANES
"""Words up to which a tensor is kept as it is, instead of its sums."""


class Probes:
    """A few whole numbers of each tensor: for a look at every forward.

    In turns: numbers in the middle of all tensors, then at the starts, then at the ends.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        inside = _inside(tensors)
        self._reads = [_gathered(inside, place) for place in (_middle, _start, _end)]
        self._seen = [_numbers(reads) for reads in self._reads]
        self._turn = 0

    def differ(self) -> bool:
        """Whether any is another."""
        return list(map(_numbers, self._reads)) != self._seen

    def differ_in_turn(self) -> bool:
        """The same for a third of them, each time the next: a forward evicts them all from the
        caches, and each is waited for."""
        self._turn = turn = (self._turn + 1) % len(self._reads)
        return _numbers(self._reads[turn]) != self._seen[turn]


_Reads = Sequence[tuple[Any, Any]]


def _numbers(reads: _Reads) -> list[bytes]:
    return [memory[offsets].tobytes() for memory, offsets in reads]


def _gathered(tensors: Sequence[Tensor], place: Callable[[Tensor], int]) -> _Reads:
    """For one number of each tensor: what to read of where, by size."""
    addresses: defaultdict[int, list[int]] = defaultdict(list)
    for tensor in tensors:
        size = tensor.element_size()
        addresses[size].append(tensor.data_ptr() + place(tensor) * size)
    return [_gathering(size, found) for size, found in addresses.items()]


def _gathering(size: int, addresses: Sequence[int]) -> tuple[Any, Any]:
    """One array over all storages and what lies between, which holds nothing, and where to read.

    A single gather reads all probes, and waits for memory once instead of once for each.
    """
    places = np.array(addresses, dtype=np.int64)
    first = int(places.min(initial=_NOWHERE))
    offsets = places - first
    # Of numbers of the processor's sizes, as they mostly are, three times as fast.
    even = size in _WORDS and not (first % size or np.any(offsets % size))
    kind, step = (_WORDS[size], size) if even else (f"|V{size}", 1)
    extent = int(offsets.max(initial=0)) // step + 1
    return _memory(first, kind, (extent,), (step,)), offsets // step


def _middle(tensor: Tensor) -> int:
    return sum(n // 2 * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _start(tensor: Tensor) -> int:
    return 0


def _end(tensor: Tensor) -> int:
    return sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))


class Sums:
    """All numbers of the tensors: short ones as they are, sums over the words of long ones.

    Integer sums in lanes: a change of any part shows in them, but for a coincidence.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        arrays = [_words(tensor) for tensor in _inside(tensors)]
        self.bytes = sum(array.nbytes for array in arrays)
        self._short = [array for array in arrays if len(array) <= _SHORT]
        self._lanes = []
        for array in arrays:
            if len(array) > _SHORT:
                rows = len(array) // _LANES
                self._lanes.append(array[: rows * _LANES].reshape(rows, _LANES))
                self._short.append(array[rows * _LANES :])
        self._elsewhere = [t for t in tensors if t.device.type not in ("cpu", "meta")]
        self._seen = self._now()

    def _now(self) -> list[bytes | int]:
        sums = [np.add.reduce(lanes, axis=0).tobytes() for lanes in self._lanes]
        short = [array.tobytes() for array in self._short]
        return [*sums, *short, *sums_by_torch(self._elsewhere)]

    def differ(self) -> bool:
        return self._now() != self._seen


_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def sums_by_torch(tensors: Sequence[Tensor]) -> list[int]:
    """Of the bits of each tensor, for other devices; they are waited for once."""
    flat = [t.detach().flatten() for t in tensors if t.element_size() in _WHOLE]
    sums = [t.view(_WHOLE[t.element_size()]).sum(dtype=torch.int64) for t in flat]
    return torch.stack(sums).tolist() if sums else []


def _words(tensor: Tensor) -> Any:
    """The tensor's memory from its first number to its last, in aligned words of 8 bytes."""
    first = tensor.data_ptr() & ~7
    end = tensor.data_ptr() + (_end(tensor) + 1) * tensor.element_size()
    return _memory(first, _WORDS[8], (-(-(end - first) // 8),), (8,))


def _inside(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t for t in tensors if t.device.type == "cpu" and t.numel()]


def _memory(address: int, kind: str, shape: tuple[int], strides: tuple[int]) -> Any:
    told = {"data": (address, True), "shape": shape, "strides": strides}
    interface = {**told, "typestr": kind, "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=interface))
