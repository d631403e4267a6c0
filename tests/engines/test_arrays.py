"""What sessions are given holds the same numbers, and shares memory where it can."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cnndsl.engines.arrays import float_array

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "whole": lambda x: x,
    "transposed": lambda x: x.transpose(1, 3),
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x[:, 1:, ::2, 1::3],
    "repeated": lambda x: x[:1].expand(4, -1, -1, -1),
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("trained", [False, True])
def test_numbers(dtype: torch.dtype, view: str, trained: bool) -> None:
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    x[0, 1, 2] = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 3e-5]).to(dtype)
    x = VIEWS[view](x.requires_grad_(trained))
    found = float_array(x)
    assert found.dtype == np.float32 and found.flags.c_contiguous and found.shape == x.shape
    assert torch.equal(
        torch.from_numpy(found).view(torch.int32), x.detach().float().view(torch.int32)
    )


def test_too_large_is_infinite_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float_array(torch.tensor([1e39, -1e39], dtype=torch.float64)).tolist() == [
            float("inf"),
            float("-inf"),
        ]


def test_no_copy() -> None:
    x = torch.randn(2, 3)
    assert float_array(x).ctypes.data == x.data_ptr()
