"""Results are new tensors, whichever way they were made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cnndsl.engines.openvino.stock import _COUNT, _LARGEST, Stock

SHAPES = [(), (1,), (2, 3, 5), (_LARGEST // 4,), (_LARGEST // 4 + 1,), (3, 0)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_has_the_numbers_of_its_time(shape: tuple[int, ...], dtype: Any) -> None:
    array = np.zeros(shape, dtype)
    stock = Stock(array)
    found = []
    for number in range(2 * _COUNT + 1):
        array[...] = number
        found.append(stock.take())
    for number, tensor in enumerate(found):
        assert tensor.shape == shape and (tensor == number).all()
        assert tensor.numpy().dtype == dtype
    assert len({tensor.data_ptr() for tensor in found}) == (len(found) if array.size else 1)


def test_what_a_caller_does_to_his_own_stays_his() -> None:
    """None is a view of a common piece of memory, which would be kept as long as one is."""
    array = np.ones(4, np.float32)
    stock = Stock(array)
    first, second = stock.take(), stock.take()
    first.mul_(7)
    assert (array == 1).all() and (second == 1).all()
    assert second.untyped_storage().nbytes() == array.nbytes


@pytest.mark.parametrize("size", [4, _LARGEST])
def test_none_is_restricted_to_inference_mode(size: int) -> None:
    stock = Stock(np.ones(size, np.float32))
    with torch.inference_mode():
        taken = stock.take()
    weight = torch.ones(size, requires_grad=True)
    for found in (taken, stock.take()):
        (found * weight).sum().backward()
    assert (weight.grad == 2).all()
