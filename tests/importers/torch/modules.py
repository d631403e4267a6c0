"""Small modules, each with something that networks in PyTorch do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Functional(nn.Module):
    """Activations and pools as functions, in place and not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding="same", dilation=2)
        self.conv2 = nn.Conv2d(8, 8, (1, 3), stride=(2, 1), padding=(0, 1), groups=4, bias=False)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x), inplace=True)
        x = functional.hardtanh(self.conv2(x), 0, 6)
        x = functional.max_pool2d(functional.leaky_relu(x, 0.2), 3, 2, 1, ceil_mode=True)
        x = functional.gelu(functional.elu(x), approximate="tanh").sigmoid().tanh() - x
        a, b = x.mean((-1, -2)), functional.adaptive_max_pool2d(x, 1).flatten(1)
        x = functional.dropout(torch.cat((a, b), -1), 0.3, self.training)
        return functional.log_softmax(self.fc(x), -1)


class InPlace(nn.Module):
    """What is read later was changed in the meantime."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        kept = x
        same = x.contiguous()
        y = self.relu(x) * 2
        y += kept
        return y.add_(same).mul_(0.5)


class Gate(nn.Module):
    """Squeeze and excitation with linear layers, the gate first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 8), nn.Sigmoid())
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        n, c, _, _ = x.size()
        gate = self.fc(self.pool(x).view(n, c)).view(n, c, 1, 1)
        return self.head(self.pool(gate.expand_as(x) * x).squeeze(-1).squeeze(-1))


class ChannelsLast(nn.Module):
    """A ConvNeXt block with its layers on the last axis, and its learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(6, 6, 7, padding=3, groups=6)
        self.norm = nn.LayerNorm(6, eps=1e-6)
        self.up, self.down = nn.Linear(6, 24), nn.Linear(24, 6)
        self.gamma = nn.Parameter(torch.full((6, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.down(functional.gelu(self.up(y))).permute(0, 3, 1, 2)
        return x + self.gamma * y


class Shuffle(nn.Module):
    """Half of the channels go through, and all are shuffled by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, eps=1e-3, momentum=0.01))

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        x = torch.cat((a, self.branch(b)), dim=1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return x[:, 1:5]


class Sizes(nn.Module):
    """Down and up again, cut and padded."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.act = nn.PReLU(4)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.avg_pool2d(x, 2)
        y = self.up(y) + functional.interpolate(y, scale_factor=2, mode="bilinear")
        y = functional.pad(self.act(y), (1, 0, 2, 0)) + functional.pad(y, (0, 1, 1, 1), "reflect")
        y = functional.pad(y, (0, 0, 0, 0, 1, 3))
        return functional.pixel_shuffle(y, 2)[:, :, 1:-1, 2:]


class Several(nn.Module):
    """Two inputs, a dictionary of results."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.mask = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3)

    def forward(self, image: Tensor, mask: Tensor) -> dict[str, Tensor]:
        both = torch.maximum(self.image(image), self.mask(mask))
        return {"map": both, "vector": both.amax((2, 3))}


class Tied(nn.Module):
    """One tower on two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1))

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        a = self.tower(left)
        b = self.tower(right)
        return a - b, torch.stack((a, b)).mean(0)


class Heads(nn.Module):
    """A head that only training runs, stochastic depth and layers that leave no trace."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.LocalResponseNorm(3, k=2.0))
        self.drop = DropPath(0.1 * 3 / 17)
        self.aux = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        x = x + self.drop(functional.silu(x))
        out = self.fc(x.mean([2, 3]))
        return (out, self.aux(x)) if self.training else out


class DropPath(nn.Module):
    """As timm has it."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob, self.scale_by_keep = drop_prob, True

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.drop_prob
        return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep).div_(keep)


class Interleaved(nn.Module):
    """Modules of two parents run in turns."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.ModuleDict({"a": nn.Conv2d(3, 3, 1), "b": nn.Conv2d(3, 3, 1)})
        self.right = nn.ModuleDict({"a": nn.Conv2d(3, 3, 3, padding=1), "b": nn.Conv2d(3, 3, 1)})

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.left["a"](x), self.right["a"](x)
        return self.left["b"](a) + self.right["b"](b)  # type: ignore[no-any-return]


class Turned(nn.Module):
    """Flattened column by column, for inputs of one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.dense = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 8, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 3, 2, 1).contiguous()
        return self.dense(x.view(x.shape[0], -1))  # type: ignore[no-any-return]


def vector() -> nn.Module:
    norms = [nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(), nn.LayerNorm(9)]
    return nn.Sequential(nn.Linear(7, 9), *norms, nn.Linear(9, 2))


def normed() -> nn.Module:
    norms = [nn.GroupNorm(2, 8), nn.BatchNorm2d(8, affine=False), nn.Hardswish(), nn.Dropout2d(0.2)]
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), *norms, nn.Softmax(1), nn.Identity())


def shape(*sizes: int) -> Tensor:
    return torch.zeros(1, *sizes)


MODULES: dict[str, tuple[Any, Sequence[Tensor], str]] = {
    "functional": (
        Functional, [shape(3, 20, 24)],
        "-> maxpool(3, stride=2, padding=1, ceil=yes) | -> relu6 | log_softmax | fc: linear(5)",
    ),
    "in place": (InPlace, [shape(4, 9, 8)], "relu | 0.5) | 2.0)"),
    "gate": (
        Gate, [shape(3, 16, 16)],
        "-> (id * (gap -> fc: (linear(2) -> relu -> linear(8) -> sigmoid))) -> gap",
    ),
    "channels last": (
        ChannelsLast, [shape(6, 10, 12)], "norm: layer_norm(eps=1e-06) | gamma: scale | gelu"
    ),
    "shuffle": (Shuffle, [shape(8, 6, 6)], "channel_shuffle(2) | slice(1, 5) | slice(0, 4)"),
    "sizes": (
        Sizes, [shape(4, 16, 24)],
        "upsample(2, mode=bilinear) | mode=reflect | pixel_shuffle(2) | crop((0, 0, 2, 0))",
    ),
    "several": (
        Several, [shape(3, 16, 24), shape(1, 16, 24)],
        "[3, H, W], [1, H, W] mask | let vector = | max( | gmp",
    ),
    "tied": (Tied, [shape(3, 16, 24), shape(3, 16, 24)], "again tower | mean( | -1.0)"),
    "heads": (
        Heads, [shape(3, 16, 24)], "emit[train] aux: | droppath(3/170) | lrn(3, k=2.0) | silu"
    ),
    "interleaved": (Interleaved, [shape(3, 16, 24)], "left: ( | right: ("),
    "turned": (Turned, [shape(3, 8, 10)], "[3, 8, 10] | flatten(whc) | dense: linear(7)"),
    "vector": (vector, [shape(7)], "net Sequential: [7] = | dropout -> layer_norm"),
    "normed": (normed, [shape(3, 16, 24)], "bn(affine=no) | group_norm(2) | dropout2d(0.2)"),
}  # fmt: skip
