"""Every address that an interpreted kernel reads or writes is that of a number of its operands.

A masked lane has no address; one that is not masked must not read beside a tensor even where
what it reads is thrown away: on a device that may be memory of nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cnndsl.kernels.base import Launch


class Region:
    """One storage. ``allowed``: which of its elements may be touched."""

    def __init__(self, x: Tensor, *, whole: bool) -> None:
        storage = x.untyped_storage()
        self.start, self.size = storage.data_ptr(), x.element_size()
        self.allowed = np.full(storage.nbytes() // self.size, whole)
        if not whole:
            flat = torch.from_numpy(self.allowed)
            flat.as_strided(x.shape, x.stride(), x.storage_offset()).fill_(True)

    def holds(self, addresses: np.ndarray) -> np.ndarray:
        """Which of the addresses are those of allowed elements."""
        offsets = addresses.astype(np.int64) - self.start
        inside = (offsets >= 0) & (offsets < len(self.allowed) * self.size)
        elements = np.where(inside, offsets, 0) // self.size
        return inside & (self.allowed[elements] if len(self.allowed) else False)


def regions(launches: Iterable[Launch], operands: Sequence[Tensor]) -> list[Region]:
    """The operands exactly; what a launcher made for itself as a whole."""
    exact = {x.untyped_storage().data_ptr(): x for x in operands}
    found = {key: Region(x, whole=False) for key, x in exact.items()}
    for launch in launches:
        for value in launch.arguments.values():
            x = getattr(value, "base", value)  # of a descriptor
            if isinstance(x, Tensor):
                found.setdefault(x.untyped_storage().data_ptr(), Region(x, whole=True))
    return list(found.values())


@contextmanager
def within(allowed: Sequence[Region]) -> Iterator[None]:
    """AssertionError at the first access beside the regions. Needs the interpreter."""
    from triton.runtime.interpreter import InterpreterBuilder as Builder

    load, store = Builder.create_masked_load, Builder.create_masked_store

    def check(pointers: Any, mask: Any, what: str) -> None:
        addresses = pointers.data[np.broadcast_to(mask.data, pointers.data.shape).astype(bool)]
        known = np.zeros(addresses.shape, dtype=bool)
        for region in allowed:
            known |= region.holds(addresses)
        assert known.all(), f"{what} {int((~known).sum())} numbers beside the operands"

    def watched_load(self: Any, pointers: Any, mask: Any, *rest: Any, **more: Any) -> Any:
        check(pointers, mask, "reads")
        return load(self, pointers, mask, *rest, **more)

    def watched_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        check(pointers, mask, "writes")
        return store(self, pointers, value, mask, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "create_masked_load", watched_load)
        patch.setattr(Builder, "create_masked_store", watched_store)
        yield
