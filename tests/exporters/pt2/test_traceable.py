"""The twin that is traced computes what the module does."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

import cnndsl
from cnndsl.engines.traceable import traceable

SIZES = [(5, 6), (7, 7), (8, 9), (10, 11)]


def same(layer: nn.Module, x: torch.Tensor, tolerance: float = 1e-12) -> None:
    module = nn.Sequential(layer).double().eval()
    twin = traceable(module)
    assert type(twin[0]) is not type(layer)
    assert type(module[0]) is type(layer)
    torch.testing.assert_close(twin(x), module(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", [1, 2, 3, (2, 4)])
def test_pools_that_round_up(kernel: int | tuple[int, int]) -> None:
    torch.manual_seed(0)
    for (height, width), stride, padded in product(SIZES, (1, 2, 3, 5), (False, True)):
        x = torch.randn(2, 3, height, width).double()
        padding = min(kernel) // 2 if isinstance(kernel, tuple) else kernel // 2
        padding = padding if padded else 0
        same(nn.MaxPool2d(kernel, stride, padding, ceil_mode=True), x)
        if kernel in (1, 2) and not padded:
            same(nn.MaxPool2d(kernel, stride, 0, 2, ceil_mode=True), x)
        for counted in (True, False):
            same(nn.AvgPool2d(kernel, stride, padding, True, counted), x)
        same(nn.LPPool2d(2, kernel, stride, ceil_mode=True), x)


def test_layers_that_move_channels() -> None:
    from cnndsl.ops.modules import ChannelNorm

    x = torch.randn(2, 6, 3, 4).double()
    same(nn.ChannelShuffle(3), x)
    norm = ChannelNorm(6, 1e-3)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    module = nn.Sequential(norm).double()
    torch.testing.assert_close(traceable(module)(x), module(x), rtol=1e-12, atol=1e-12)


def test_weights_are_not_copied() -> None:
    text = "net A: [3, H, W] = conv(4, 3) -> layer_norm -> maxpool(2, ceil=yes) -> bn"
    network = cnndsl.loads(text).net().compile(optimize=0)
    twin = traceable(network)
    for name, value in network.state_dict(keep_vars=True).items():
        assert twin.state_dict(keep_vars=True)[name] is value
