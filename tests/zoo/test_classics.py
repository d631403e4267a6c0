"""Networks that no reference package has: figures of their papers, and a second way to compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import cnndsl
from cnndsl.compiler import Compilation
from cnndsl.graph import cost
from tests.references import fill, settle
from tests.zoo.listing import header
from tests.zoo.twins import (
    assert_same,
    assert_same_training,
    example,
    images,
    shapes,
    twin,
    without_weights,
)

# File, net, parameters of the net: parameters as published or counted by hand.
COUNTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("lenet", "LeNet5", {}, 61_706),
    ("alexnet_original", "AlexNetOriginal", {}, 60_965_224),
    ("zfnet", "ZFNet", {}, 62_357_608),
    ("zfnet", "ZFNetWide", {}, 107_627_624),
    ("nin", "NIN", {}, 966_986),
    ("resnet_cifar", "ResNet20", {}, 269_722),
    ("resnet_cifar", "ResNet32", {}, 464_154),
    ("resnet_cifar", "ResNet44", {}, 658_586),
    ("resnet_cifar", "ResNet56", {}, 853_018),
    ("resnet_cifar", "ResNet110", {}, 1_727_962),
    ("resnet_cifar", "ResNet1202", {}, 19_421_274),
    ("resnet_cifar", "ResNet20", {"shortcut": "OptionB"}, 269_722 + 16 * 32 + 64 + 32 * 64 + 128),
    ("stochastic_depth", "StochasticDepthResNet", {}, 1_727_962),
    ("wide_resnet_cifar", "WRN_16_8", {}, 10_961_370),
    ("wide_resnet_cifar", "WRN_28_10", {}, 36_479_194),
    ("wide_resnet_cifar", "WRN_40_4", {}, 8_949_210),
    ("fractalnet", "FractalNet", {}, 33_724_618),
    ("fractalnet", "FractalNet", {"columns": 4}, 76_106_634),
]
# Files whose header is a table, and the size at which it counts multiplications.
HEADERS = {
    "alexnet_original": 227,
    "zfnet": 224,
    "nin": 32,
    "inception_v4": 299,
    "inception_resnet_v2": 299,
    "resnet_cifar": 32,
    "stochastic_depth": 32,
    "resnet_preact": 224,
    "wide_resnet_cifar": 32,
    "se_resnet": 224,
    "mobilenet_v1": 224,
    "fractalnet": 32,
}


@pytest.mark.parametrize(("file", "net", "parameters", "count"), COUNTS)
def test_parameters(file: str, net: str, parameters: dict[str, Any], count: int) -> None:
    assert example(file).net(net, **parameters).params == count


@pytest.mark.parametrize("file", HEADERS)
def test_header(file: str) -> None:
    rows = header(example(file))
    assert rows.keys() == set(example(file).nets)
    for name, row in rows.items():
        net = example(file).net(name)
        symbols = net.min_size
        assert row.parameters == net.params
        assert set(symbols.values()) <= {row.smallest}
        digits = len(row.gmac.partition(".")[2])
        macs = net.macs(**dict.fromkeys(symbols, HEADERS[file]))
        assert row.gmac == f"{macs / 1e9:.{digits}f}"
        if not symbols:
            assert cost.shape(net.graph.inputs[0].type)[1:] == (row.smallest, row.smallest)


# --- before ResNet ----------------------------------------------------------------------------


def _types(net: Compilation, *ops: str) -> list[tuple[int, ...]]:
    """Shapes along the network where these operators run."""
    return [cost.shape(node.type) for node in net.graph if node.op.name in ops]


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_lenet(name: str) -> None:
    net = example("lenet").net(f=name)
    module = fill(net.compile(optimize=0)).double()
    x, f = images(2, 1, 32, 32), getattr(torch, name)
    with torch.no_grad():
        y = f(functional.avg_pool2d(module.c1(x), 2))
        y = f(functional.avg_pool2d(module.c3(y), 2)).flatten(1)
        assert y.shape[1] == 400
        assert_same(module(x), module.output(f(module.f6(f(module.c5(y))))))
    assert _types(net, "conv", "avgpool") == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)]
    assert _types(net, "linear") == [(120,), (84,), (10,)]
    assert net.macs() == 28**2 * 6 * 25 + 10**2 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10


def test_alexnet_of_two_gpus() -> None:
    net = example("alexnet_original").net()
    assert _types(net, "conv", "maxpool") == [
        (96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13),
        (384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6),
    ]  # fmt: skip
    assert _types(net, "flatten") == [(9216,)]
    module: Any = without_weights(net)
    assert module.conv1.weight.numel() == 34_848
    assert [getattr(module, f"conv{i}").groups for i in range(1, 6)] == [1, 2, 1, 2, 2]


def test_alexnet_halves_meet_in_the_third_convolution_only() -> None:
    text = (
        "net N: [8, 9, 9] = conv2: conv(8, 5, groups=2) -> conv3: conv(8, 3) -> "
        "conv4: conv(8, 3, groups=2) -> conv5: conv(8, 3, groups=2)\n"
    )
    module: Any = fill(cnndsl.loads(text).net().compile(optimize=0))
    x = torch.ones(1, 8, 9, 9)
    x[:, 4:] = 0
    bias = module.conv2.bias[None, 4:, None, None]
    assert torch.equal(module.conv2(x)[:, 4:], bias.expand(1, 4, 9, 9))
    assert not torch.equal(module.conv3(x)[:, 4:], module.conv3(0 * x)[:, 4:])


def _filled(net: Compilation) -> Any:
    return fill(without_weights(net).to_empty(device="cpu")).eval()


def test_alexnet_by_hand() -> None:
    """Krizhevsky et al. 2012, section 3: ReLU, then the response norm, then the pool."""
    net = _filled(example("alexnet_original").net())
    x = 30 * torch.randn(1, 3, 227, 227)
    with torch.no_grad():
        y = _pool(functional.local_response_norm(net.conv1(x).relu(), 5, 5e-4, 0.75, 2.0))
        y = _pool(functional.local_response_norm(net.conv2(y).relu(), 5, 5e-4, 0.75, 2.0))
        y = net.conv5(net.conv4(net.conv3(y).relu()).relu()).relu()
        _assert_close(net(x), _classified(net, _pool(y)))


def test_zfnet_by_hand() -> None:
    """Zeiler and Fergus 2013, figure 3: the pool comes before the contrast normalisation."""
    net = _filled(example("zfnet").net("ZFNet"))
    x = 30 * torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        y = functional.local_response_norm(_pool(net.conv1(x).relu(), ceil=True), 5)
        y = functional.local_response_norm(_pool(net.conv2(y).relu(), ceil=True), 5)
        y = net.conv5(net.conv4(net.conv3(y).relu()).relu()).relu()
        _assert_close(net(x), _classified(net, _pool(y)))


def _pool(x: Tensor, ceil: bool = False) -> Tensor:
    return functional.max_pool2d(x, 3, 2, ceil_mode=ceil)


def _classified(net: Any, features: Tensor) -> Tensor:
    scores: Tensor = net.fc8(net.fc7(net.fc6(features.flatten(1)).relu()).relu())
    return scores


def _assert_close(ours: Tensor, theirs: Tensor) -> None:
    """In single precision, relative to the spread of the outputs."""
    scale = float(theirs.std())
    assert scale > 1e-3
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=1e-4, atol=1e-4)


def test_local_response_normalisation_of_the_paper() -> None:
    """b = a / (2 + 1e-4 * the sum of the squares of 5 neighbours)^0.75."""
    node = next(n for n in example("alexnet_original").net().graph if n.op.name == "lrn")
    a = 100 * images(1, 7, 1, 1)
    squares = functional.pad(a.square(), (0, 0, 0, 0, 2, 2)).unfold(1, 5, 1).sum(-1)
    assert_same(node.op.torch(node.type)(a), a / (2 + 1e-4 * squares) ** 0.75)


def test_zfnet_sizes() -> None:
    for net in ("ZFNet", "ZFNetWide"):
        along = [s[1] for s in _types(example("zfnet").net(net), "conv", "maxpool")]
        assert along == [110, 55, 26, 13, 13, 13, 13, 6]


def test_network_in_network() -> None:
    net = example("nin").net()
    along = [cost.shape(cost.concrete(n.type, {"H": 32, "W": 32})) for n in net.graph]
    assert along[-2:] == [(10, 1, 1), (10,)]
    assert [s[1] for s in along if s[0] == 96][-1] == 16  # after the first pool
    assert along[-3][1:] == (8, 8)
    module, x = _filled(net), torch.randn(2, 3, 32, 31)
    with torch.no_grad():
        y = _pool(_mlpconv(module.mlpconv1, x), ceil=True)
        y = functional.avg_pool2d(_mlpconv(module.mlpconv2, y), 3, 2, ceil_mode=True)
        _assert_close(module(x), _mlpconv(module.mlpconv3, y).mean((2, 3)))


def _mlpconv(layers: Any, x: Tensor) -> Tensor:
    """A convolution and two 1x1 convolutions, a ReLU after each."""
    for layer in (m for m in layers if isinstance(m, nn.Conv2d)):
        x = layer(x).relu()
    return x


# --- residual networks for CIFAR --------------------------------------------------------------


class BasicBlock(nn.Module):
    """He et al. 2015, section 4.2, with the parameter-free shortcut: written for this test."""

    def __init__(self, before: int, c: int) -> None:
        super().__init__()
        self.stride = 1 if before == c else 2
        self.extra = c - before
        self.conv1 = nn.Conv2d(before, c, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        skip = x[:, :, :: self.stride, :: self.stride]
        zeros = skip.new_zeros(skip.shape[0], self.extra, *skip.shape[2:])
        return (y + torch.cat((skip, zeros), 1)).relu()


class CifarResNet(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for stage, (before, c) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            blocks = [BasicBlock(before if i == 0 else c, c) for i in range(n)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(("depth", "n"), [(20, 3), (32, 5)])
def test_option_a_computes_what_the_paper_says(depth: int, n: int) -> None:
    theirs = settle(fill(CifarResNet(n)).double(), images(2, 3, 32, 32))
    net = example("resnet_cifar").net(f"ResNet{depth}")
    ours = twin(net, theirs).eval()
    assert shapes(ours) == shapes(theirs)
    for size in ((32, 32), (15, 9)):
        x = images(2, 3, *size)
        with torch.no_grad():
            assert_same(ours(x), theirs.eval()(x))
    assert_same_training(ours, theirs, images(4, 3, 17, 12))


def test_option_b_projects_where_the_size_changes() -> None:
    net = example("resnet_cifar").net("ResNet20", shortcut="OptionB")
    projections = [(k, s) for k, s in shapes(without_weights(net)) if "downsample.0" in k]
    assert projections == [
        ("layer2.0.downsample.0.weight", (32, 16, 1, 1)),
        ("layer3.0.downsample.0.weight", (64, 32, 1, 1)),
    ]


def test_layers_are_what_the_names_count() -> None:
    for name in example("resnet_cifar").nets:
        ops = [node.op.name for node in example("resnet_cifar").net(name).graph]
        assert ops.count("conv") + ops.count("linear") == int(name.removeprefix("ResNet"))
    for depth, width in ((16, 8), (28, 10), (40, 4)):
        net = example("wide_resnet_cifar").net(f"WRN_{depth}_{width}")
        long = [n for n in net.graph if n.op.name == "conv" and not n.path.endswith("shortcut")]
        assert len(long) == depth - 3  # the paper counts the three projections
        assert _types_at(net, 32)[-4] == (64 * width, 8, 8)


def _types_at(net: Compilation, size: int) -> list[tuple[int, ...]]:
    return [cost.shape(cost.concrete(n.type, {"H": size, "W": size})) for n in net.graph]


def test_1202_layers_run() -> None:
    module = without_weights(example("resnet_cifar").net("ResNet1202")).to_empty(device="cpu")
    settle(fill(module), torch.randn(1, 3, 8, 8))
    with torch.no_grad():
        y = module.eval()(torch.randn(2, 3, 4, 4))
    assert y.shape == (2, 10) and y.isfinite().all() and y.std() > 1e-3


def test_wide_blocks_share_the_first_activation() -> None:
    """By hand: x' = conv2(relu(bn2(conv1(pre)))) + shortcut(pre), pre = relu(bn1(x))."""
    block = fill(example("wide_resnet_cifar").net("WRN_16_8").compile(optimize=0)).double().eval()
    first: Any = block.layer2[0]
    x = images(1, 128, 6, 6)
    with torch.no_grad():
        pre = first.bn1(x).relu()
        assert_same(first(x), first.conv2(first.bn2(first.conv1(pre)).relu()) + first.shortcut(pre))


def test_wide_resnets_may_drop_between_the_convolutions() -> None:
    net = example("wide_resnet_cifar").net("WRN_16_8", p=0.3)
    drops = [n for n in net.graph if n.op.name == "dropout"]
    assert len(drops) == 6 and all(n.op.values["p"] == 0.3 for n in drops)
    assert net.params == 10_961_370


# --- stochastic depth -------------------------------------------------------------------------


def test_survival_falls_linearly_with_depth() -> None:
    net = example("stochastic_depth").net()
    drops = [n.op.values for n in net.graph if n.op.name == "droppath"]
    assert [d["p"] for d in drops] == pytest.approx([i / 54 * 0.5 for i in range(1, 55)])
    assert {d["mode"] for d in drops} == {"batch"}
    assert not _drops(example("stochastic_depth").net(last=1))


def _drops(net: Compilation) -> list[str]:
    return [n.path for n in net.graph if n.op.name == "droppath"]


def test_stochastic_depth_is_inert_in_evaluation() -> None:
    deep = fill(example("resnet_cifar").net("ResNet20").compile(optimize=0)).double()
    deep = settle(deep, images(1, 3, 16, 16)).eval()
    ours = twin(example("stochastic_depth").net(n=3), deep)
    x = images(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(ours(x), deep(x))
        torch.manual_seed(0)
        runs = [ours.train()(x) for _ in range(3)]
    assert not torch.equal(runs[0], runs[1]) or not torch.equal(runs[1], runs[2])
