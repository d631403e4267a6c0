"""Receptive fields against what gradients really reach, and against published ones."""

from __future__ import annotations

import pytest
import torch

import cnndsl
from cnndsl.views.receptive import WHOLE, Field, receptive_fields
from tests.cli.runner import ROOT

SIZE = 96
CHAINS = [
    "conv(2, 3)",
    "conv(2, 5, stride=2) -> conv(2, 3, dilation=2)",
    "conv(2, 3, padding=(0, 1, 2, 0)) -> avgpool(3, stride=2, padding=1)",
    "conv(2, 4, padding=1, stride=3) -> conv(2, 2, padding=1)",
    "avgpool(2) -> conv(2, 3) -> upsample(2) -> conv(2, 3)",
    "avgpool(4) -> upsample(3) -> conv(2, 2, padding=0) -> conv(2, 3, stride=2)",
    "avgpool(2) -> upsample(2, mode=bilinear) -> conv(2, 3)",
    "conv(2, 3) -> upsample(3, mode=bilinear) -> conv(2, 3, stride=2)",
    "conv(2, 3, stride=2) -> conv_transpose(2, 4, stride=2, padding=1) -> conv(2, 3)",
    "conv_transpose(2, 3, stride=2, output_padding=1, padding=1) -> conv(2, 3)",
    "conv(4, 3) -> pixel_shuffle(2) -> conv(2, 5, stride=2)",
    "a: conv(2, 3) + b: (conv(2, 5) -> conv(2, 3, dilation=3)) + c: conv(2, 1)",
    "conv(2, 3) @t -> avgpool(2) -> conv(2, 3) -> upsample(2) -> (id | t) -> conv(2, 3)",
    "a: conv(2, 3, padding=(0, 2, 0, 2)) + b: (conv(2, 3, padding=(2, 0, 2, 0)) -> conv(2, 1))",
    "conv(2, 2, padding=(1, 0, 0, 1), stride=2) -> (id + a: conv(2, 2, padding=(1, 0, 1, 0)))",
    "upsample(2) -> conv(2, 3, stride=2) -> conv(2, 3)",
    "upsample(4) -> conv(2, 3, stride=6) -> conv(2, 3) -> upsample(3) -> conv(2, 5)",
    "conv(2, 3, padding=0) -> crop((1, 0, 2, 3)) -> pad((2, 0, 0, 0)) -> conv(2, (1, 7))",
    "conv(2, 1) -> (x: conv(2, 3) + id) -> (y: conv(2, 3) + id) -> conv(2, 3, stride=2)",
]


def reached(network: torch.nn.Module, axis: int) -> int:
    """The most input positions that one output position far from the border depends on."""
    for parameter in network.parameters():
        torch.nn.init.ones_(parameter)
    x = torch.rand(1, 3, SIZE, SIZE, dtype=torch.float64, requires_grad=True)
    y = network.double()(x).sum(1)[0]
    middle = [size // 2 for size in y.shape]
    widest = 0
    for step in range(8):
        place = list(middle)
        place[axis] += step
        (grad,) = torch.autograd.grad(y[tuple(place)], x, retain_graph=True)
        touched = grad.abs().sum(1)[0].sum(1 - axis).nonzero().flatten()
        widest = max(widest, int(touched.max() - touched.min()) + 1)
    return widest


@pytest.mark.parametrize("chain", CHAINS)
def test_what_gradients_reach(chain: str) -> None:
    program = cnndsl.loads(f"net A: [3, {SIZE}, {SIZE}] = {chain}\n")
    net = program.net()
    found = receptive_fields(net.graph)[net.graph.outputs[0].node]
    for axis in (0, 1):
        most = found[axis].most
        assert isinstance(most, Field)
        assert most.size == reached(net.compile(), axis)


def of(text: str) -> str:
    net = cnndsl.loads(text).net()
    height, width = receptive_fields(net.graph)[net.graph.outputs[0].node]
    return str(height) if str(height) == str(width) else f"{height} x {width}"


def test_stacks_of_the_lecture() -> None:
    """Two 3x3 see 5x5, three see 7x7."""
    assert of("net A: [1, H, W] = conv(1, 3)^2\n") == "5"
    assert of("net A: [1, H, W] = conv(1, 3)^3\n") == "7"


def test_the_narrowest_path_goes_through_the_skips() -> None:
    text = "net A: [8, H, W] = (x: conv(8, 3) + id) -> (y: conv(8, 3) + id)\n"
    assert of(text) == "1..5"


def test_behind_a_global_pool_everything_is_seen() -> None:
    assert of("net A: [8, H, W] = conv(8, 3) -> gap\n") == "all"
    assert of("net A: [8, H, W] = id * (gap -> sigmoid)\n") == "1..all"
    assert of("net A: [8, 1, 1] = gap -> flatten -> linear(2)\n") == "1"


def test_what_is_not_followed_is_not_claimed() -> None:
    text = "net A: [8, 8, 8] = upsample(2, mode=bilinear, align_corners=yes) -> conv(8, 3)\n"
    assert of(text) == "?"
    text = "net A: [8, 8, 8] = a: conv(2, 1) + b: (avgpool(2) -> pad((2, 2, 2, 2)))\n"
    assert of(text.replace("conv(2, 1)", "conv(8, 1)")).endswith("..?")


@pytest.mark.parametrize(
    ("file", "net", "path", "size"),
    [
        # https://distill.pub/2019/computing-receptive-fields, table of networks
        ("alexnet", "AlexNet", "features.12", 195),
        ("vgg", "VGG16", "features.30", 212),
        ("resnet", "ResNet101", "layer4.2.9", 971),
        ("resnet", "ResNet152", "layer4.2.9", 1451),
    ],
)
def test_published_fields(file: str, net: str, path: str, size: int) -> None:
    graph = cnndsl.load(ROOT / "examples" / f"{file}.cnn").net(net).graph
    node = next(n for n in graph if n.path == path)
    most = receptive_fields(graph)[node.id][0].most
    assert most is not WHOLE
    assert isinstance(most, Field)
    assert most.size == size
