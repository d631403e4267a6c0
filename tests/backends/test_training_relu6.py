"""ReLU6 in training mode, written over what it reads, beside PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional

from cnndsl.backends.torch import training
from tests.backends.trained import BLOCK, assert_same, in_layouts, overwritten, picture
from tests.engines.live.twins import in_training


def test_large_maps_are_written_over() -> None:
    """Of smaller ones PyTorch's copy costs less than a gradient in Python does; without gradients
    there is neither."""
    for batch, large in ((32, True), (31, False)):
        ours, plain = in_training("net N: [1, H, W] = conv(1, 1) -> conv(4, 1) -> bn -> relu6")
        x = picture(1, 64, batch)
        assert (4 * x.numel() >= training._LARGE) is large
        assert overwritten(ours, x) == [large]
        plain.load_state_dict(ours.state_dict())
        in_layouts(plain)
        assert_same(ours, plain, x)
    with torch.no_grad():
        assert overwritten(ours, picture(1)) == [True]
    assert overwritten(ours.requires_grad_(False), picture(1)) == [True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_all_sorts_of_numbers(dtype: torch.dtype) -> None:
    """To the bit: numbers at the limits and beyond, no numbers, zeros of both signs."""
    some = [0.0, -0.0, 6.0, 5.9999, 6.0001, 1e-45, -1e-45, 3.0]
    x = torch.tensor([*some, float("nan"), float("inf"), -float("inf")] * 9, dtype=dtype)
    results = []
    for activation in (training._ReLU6.apply, functional.relu6):
        given = x.clone().requires_grad_()
        read = given * 1
        y = activation(read)
        assert (y is read) is (activation is not functional.relu6)
        y.backward(torch.linspace(-3, 3, len(x), dtype=dtype))
        results.append([y.detach(), given.grad])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def test_gradients_of_gradients() -> None:
    x = 4 * picture().double()[:1, :2, :3, :3]
    given = (lambda x: training._ReLU6.apply(x * 1).square(), x.requires_grad_())
    assert torch.autograd.gradcheck(*given)
    assert torch.autograd.gradgradcheck(*given)


@pytest.mark.usefixtures("every_map_is_large")
def test_gradients_that_run_forward() -> None:
    results = []
    for network in in_training(BLOCK):
        in_layouts(network)
        with forward_ad.dual_level():
            x = forward_ad.make_dual(picture(), picture().flip(0))
            results.append(forward_ad.unpack_dual(network(x)))
    assert results[0].tangent is not None
    torch.testing.assert_close(*results)


@pytest.mark.usefixtures("every_map_is_large")
def test_over_a_view() -> None:
    """A linear layer per pixel gives its result channels last by a view."""
    ours, plain = in_training("net N: [4, H, W] = linear(8) -> relu6 -> conv(4, 1)")
    in_layouts(plain)
    assert_same(ours, plain, 4 * picture())


@pytest.mark.usefixtures("every_map_is_large")
@pytest.mark.parametrize("end", ["id", "flatten", "crop(1)"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_may_be_written_over(end: str, layout: torch.memory_format) -> None:
    """As those of PyTorch's `relu6`: its gradient reads the input."""
    text = f"net N: [4, 8, 8] = conv(4, 3) -> bn -> relu6 -> {end}"
    for network in in_training(text):
        x = picture().contiguous(memory_format=layout)
        in_layouts(network)
        network(x).mul_(2).mean().backward()
