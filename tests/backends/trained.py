"""Networks in training mode beside PyTorch's own layers: the same to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnndsl.backends.torch.training import laid_out

LAST = torch.channels_last
BLOCK = "net N: [4, H, W] = conv(4, 3) -> bn -> relu -> (id + conv(4, 3) -> bn) -> relu6"


def picture(channels: int = 4, size: int = 8, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, size, size, generator=generator)


def in_layouts(plain: nn.Module) -> None:
    """From now on its convolutions get maps in the layouts that ours get."""
    for part in plain.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_pre_hook(lambda part, given: (laid_out(part, *given),))


def values(found: Any) -> list[Tensor]:
    return [y for y in (found if isinstance(found, tuple) else [found]) if y is not None]


def assert_same(ours: Any, plain: Any, *given: Tensor) -> None:
    """Results, gradients and statistics to the bit."""
    results = []
    for network in (ours, plain):
        torch.manual_seed(0)
        results.append(values(network(*given)))
        sum(y.square().mean() for y in results[-1]).backward()
    assert all(map(torch.equal, *results))
    named = dict(plain.named_parameters())
    for name, mine in ours.named_parameters():
        its = named[name]
        assert (mine.grad is None) == (its.grad is None), name
        assert mine.grad is None or torch.equal(mine.grad, its.grad), name
    assert all(map(torch.equal, ours.buffers(), plain.buffers()))


def overwritten(network: Any, x: Tensor) -> list[bool]:
    """For each normalisation whether an activation was written over its result.

    No hook looks on: it would keep the result as it is.
    """
    found: list[Tensor] = []
    original = functional.batch_norm

    def noting(*args: Any, **kwargs: Any) -> Tensor:
        found.append(original(*args, **kwargs))
        return found[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(functional, "batch_norm", noting)
        network(x)
    assert found
    return [bool((y >= 0).all()) for y in found]
