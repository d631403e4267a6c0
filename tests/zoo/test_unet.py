"""U-Net: bridges by concatenation, enlarging, and the sizes for which they fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.references import fill, settle
from tests.zoo.twins import assert_same, assert_same_training, example, images, without_weights

COUNTS = {"UNet": 31_037_698, "UNetBilinear": 17_263_042, "UNetOriginal": 31_030_658}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters(name: str) -> None:
    assert example("unet").net(name).params == COUNTS[name]


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["UNet", "UNetBilinear"])
def test_four_halvings_need_multiples_of_16(name: str) -> None:
    net = example("unet").net(name)
    assert [str(net.facts.allowed(s)) for s in "HW"] == ["H % 16 == 0", "W % 16 == 0"]
    assert {(fact.axis, str(fact.valid)) for fact in net.facts.derived} >= {
        ("height", "H % 16 == 0"),
        ("width", "W % 16 == 0"),
    }
    assert net.min_size == {"H": 16, "W": 16}
    assert net.output_shapes(H=48, W=160) == {"out": (2, 48, 160)}
    with pytest.raises(ValueError, match="H=40 is not valid: H % 16 == 0"):
        net.output_shapes(H=40, W=160)


def test_the_paper_s_sizes() -> None:
    net = example("unet").net("UNetOriginal")
    assert str(net.facts.allowed("H")) == "H % 16 == 12, H >= 188"
    assert net.output_shapes(H=572, W=572) == {"out": (2, 388, 388)}
    assert net.output_shapes(H=188, W=204) == {"out": (2, 4, 20)}


@pytest.mark.parametrize(
    ("name", "sizes"), [("UNet", range(1, 50)), ("UNetOriginal", range(170, 240))]
)
def test_it_runs_exactly_where_check_says(name: str, sizes: range) -> None:
    net = example("unet").net(name)
    module = without_weights(net).eval()
    fits = net.min_size["W"]
    for size in sizes:
        x = torch.empty(1, 3 if name == "UNet" else 1, size, fits, device="meta")
        try:
            module(x)
        except RuntimeError:
            ran = False
        else:
            ran = True
        assert ran == net.facts.allowed("H").contains(size), size


# --- numbers ----------------------------------------------------------------------------------


class Reference(nn.Module):
    """Ronneberger et al. 2015, figure 1, on the layers of ours: only the wiring is its own."""

    def __init__(self, layers: Any) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        net, bridges = self.layers, []
        for level in range(4):
            x = _convs(net.inc if level == 0 else getattr(net, f"down{level}").maxpool_conv[1], x)
            bridges.append(x)
            x = functional.max_pool2d(x, 2)
        x = _convs(net.down4.maxpool_conv[1], x)
        for level in range(1, 5):
            up = getattr(net, f"up{level}")
            if hasattr(up, "up"):
                x = up.up(x)
            else:
                x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
            x = _convs(up.conv, torch.cat((bridges.pop(), x), 1))
        return net.outc.conv(x)  # type: ignore[no-any-return]


def _convs(block: Any, x: Tensor) -> Tensor:
    for layer in block.double_conv:
        x = layer(x)
    return x


@pytest.mark.parametrize("name", ["UNet", "UNetBilinear"])
def test_numbers(name: str) -> None:
    net = example("unet").net(name, channels=1)
    ours, layers = (fill(net.compile(optimize=0)).double() for _ in range(2))
    theirs = Reference(settle(layers, images(1, 1, 32, 32)))
    ours.load_state_dict(layers.state_dict())
    x = images(1, 1, 32, 48)
    with torch.no_grad():
        assert_same(ours.eval()(x), theirs.eval()(x))
    wrapped = nn.Module()
    wrapped.layers = ours
    wrapped.forward = ours.forward  # type: ignore[method-assign]
    assert_same_training(wrapped, theirs, images(2, 1, 32, 16))


def test_the_paper_s_network() -> None:
    net = example("unet").net("UNetOriginal")
    ours: Any = fill(net.compile(optimize=0))
    x = torch.randn(1, 1, 188, 204)
    with torch.no_grad():
        expected = _original(ours, x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 1e-3


def _original(net: Any, x: Tensor) -> Tensor:
    bridges = []
    for level in range(1, 5):
        x = _unpadded(getattr(net, f"down{level}"), x)
        bridges.append(x)
        x = functional.max_pool2d(x, 2)
    x = _unpadded(net.bottom, x)
    for level in range(4, 0, -1):
        block, bridge = getattr(net, f"up{level}"), bridges.pop()
        x = block.up(x)
        top, left = ((bridge.shape[i] - x.shape[i]) // 2 for i in (2, 3))
        bridge = bridge[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        x = _unpadded(block, torch.cat((bridge, x), 1))
    return net.out(x)  # type: ignore[no-any-return]


def _unpadded(block: Any, x: Tensor) -> Tensor:
    for layer in (m for key, m in block.named_children() if key != "up"):
        x = layer(x)
    return x
