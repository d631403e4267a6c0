"""Writes that PyTorch does not count show in the memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cnndsl.engines.live.numbers import Probes, Sums, sums_by_torch

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.int8, torch.complex128]


def numbers(dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randint(1, 9, shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 3])
def test_probes_see_the_first_the_middle_and_the_last(dtype: torch.dtype, offset: int) -> None:
    """In several tensors, also at addresses that are no multiple of a number's size."""
    size, starts = dtype.itemsize, (0, 30)
    memory = bytearray(64 * size + offset)
    parts = [
        torch.frombuffer(memory, dtype=dtype, count=9, offset=offset + at * size) for at in starts
    ]
    parts.append(numbers(torch.float32, 3, 5))
    for at in starts:
        for byte in (0, 4 * size, 5 * size - 1, 9 * size - 1):
            probes = Probes(parts)
            assert not probes.differ()
            memory[offset + at * size + byte] ^= 0x40
            assert probes.differ()


def test_probes_take_turns() -> None:
    """A network that was written in whole is seen at once, one tensor after some looks."""
    parts = list(torch.ones(100, 5).unbind())
    turns = 19  # of 16 numbers, of 300
    for tensor, places in ((99, slice(None)), (0, 0), (50, 2), (99, 4)):
        probes = Probes(parts)
        assert not any(probes.differ_in_turn() for _ in range(turns + 1))
        parts[tensor][places] += 1
        assert probes.differ()
        seen = [probes.differ_in_turn() for _ in range(turns)]
        assert 1 <= seen.count(True) <= 3
    for _ in range(turns):
        probes = Probes(parts)
        parts[0]._base.mul_(2)  # the tensor that all are parts of
        assert all(probes.differ_in_turn() for _ in range(turns))


def test_probes_of_nothing() -> None:
    for empty in ([], [torch.ones(0)]):
        probes = Probes(empty)
        assert not probes.differ() and not any(probes.differ_in_turn() for _ in range(4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_see_every_number(dtype: torch.dtype) -> None:
    short, long = numbers(dtype, 7), numbers(dtype, 20_011)
    for part in (short, long):
        for place in (0, 1, part.numel() // 2, part.numel() - 1):
            sums = Sums([short, long])
            assert not sums.differ()
            part[place] += 1
            assert sums.differ()


@pytest.mark.parametrize("shape", [(4, 6), (64, 32, 3, 3)])
def test_sums_see_what_keeps_the_numbers(shape: tuple[int, ...]) -> None:
    x = numbers(torch.float32, *shape)
    for change in (lambda: x.copy_(x.flip(0)), lambda: x[::2].copy_(x[1::2].clone()), x.neg_):
        sums = Sums([x])
        change()
        assert sums.differ()


def test_sums_by_torch() -> None:
    """For other devices; what they are is the same everywhere."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = numbers(dtype, 3, 5)
        seen = sums_by_torch([x, x.t()])
        assert seen == sums_by_torch([x, x.t()]) and seen[0] == seen[1]
        for change in (x.neg_, x.zero_, lambda x=x: x[1, 2].fill_(0.5)):
            change()
            assert sums_by_torch([x, x.t()]) != seen
            seen = sums_by_torch([x, x.t()])
    assert sums_by_torch([]) == []
