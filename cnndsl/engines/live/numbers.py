"""The memory of tensors, read directly: to see writes that PyTorch does not count.

``p.data.mul_(0.99)``, a fused optimiser and a write through NumPy leave a tensor's version as it
is. All addresses hold only while the tensors have the storage that they had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from operator import itemgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WORDS = {size: np.dtype(f"u{size}").str for size in (1, 2, 4, 8)}
_LANES = 1021
"""Words that are summed apart. A prime, so that channels of equal size lie in different ones."""
_SHORT = 2 * _LANES
"""Words up to which a tensor is kept as it is, instead of its sums."""


_PROBES = 16
"""How many numbers are read in one turn."""


class Probes:
    """A few whole numbers of each tensor: for a look at every forward.

    Those in the middle, at the start and at the end. In turns, each of which reads numbers all
    over the network.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        inside = _inside(tensors)
        places = [(t, place) for place in (_middle, _start, _end) for t in inside]
        turns = max(1, -(-len(places) // _PROBES))
        self._reads = [_gathered(places[first::turns]) for first in range(turns)]
        self._seen = list(map(_numbers, self._reads))
        self._turn = 0

    def differ(self) -> bool:
        """Whether any is another."""
        return list(map(_numbers, self._reads)) != self._seen

    def differ_in_turn(self) -> bool:
        """The same for the next of the turns: a forward evicts all numbers from the caches, so
        that each that is read is waited for."""
        self._turn = turn = (self._turn + 1) % len(self._reads)
        return _numbers(self._reads[turn]) != self._seen[turn]


_Read = tuple[Callable[[memoryview], object], memoryview]


def _numbers(reads: Sequence[_Read]) -> list[object]:
    return [numbers(memory) for numbers, memory in reads]


def _gathered(places: Sequence[tuple[Tensor, Callable[[Tensor], int]]]) -> list[_Read]:
    """What to read of where, by the size of a number."""
    addresses: defaultdict[int, list[int]] = defaultdict(list)
    for tensor, place in places:
        size = tensor.element_size()
        addresses[size].append(tensor.data_ptr() + place(tensor) * size)
    return [_gathering(size, found) for size, found in addresses.items()]


def _gathering(size: int, addresses: Sequence[int]) -> _Read:
    """One view over all storages and what lies between, which holds nothing, and where to read.

    A single call reads all. Not one of NumPy, whose ways to many places take 20 microseconds where
    no cache holds them.
    """
    first, last = min(addresses), max(addresses)
    even = size in _WORDS and not any(address % size for address in addresses)
    step = size if even else 1
    parts = range(0, size, step)
    places = [(address + part - first) // step for address in addresses for part in parts]
    extent = (last + size - first) // step
    return itemgetter(*places), memoryview(_memory(first, _WORDS[step], (extent,), (step,)))


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
