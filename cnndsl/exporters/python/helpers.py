"""Classes that emitted files bring along when they need them: what PyTorch lacks.

They do what those of ``cnndsl.ops.modules`` do, number for number, and are written to stand
alone in somebody's file.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelLinear(nn.Linear):
    """A linear layer on the channels at each position: [C, H, W] -> [out, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each position: [C, H, W] -> [C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Draw:
    """Random numbers that a whole network shares during one forward in training."""

    def __init__(self, columns: int = 1) -> None:
        self.columns = columns
        self.start()

    def start(self) -> None:
        """A new forward."""
        path, mode, column = torch.rand(3, dtype=torch.float64, device="cpu").tolist()
        self.path, self.mode, self.column = path, mode, int(column * self.columns)


class DropPath(nn.Module):
    """Stochastic depth: a path is dropped with probability p, for each row or each batch."""

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        rows = x.shape[0] if self.mode == "row" else 1
        mask = x.new_empty((rows,) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * mask.div_(keep)


class NetDropPath(nn.Module):
    """Stochastic depth with one draw for all such paths of a network."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.draw: Draw | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        draw = self.draw or Draw()
        return x * (0.0 if draw.path < self.p else 1 / (1 - self.p))


class Join(nn.Module):
    """FractalNet's join: a mean; in training some of the columns are dropped, never all."""

    def __init__(self, columns: int, drop: float, share: float) -> None:
        super().__init__()
        self.columns, self.drop, self.share = columns, drop, share
        self.draw: Draw | None = None

    def forward(self, *xs: Tensor) -> Tensor:
        kept = self.survivors() if self.training else range(self.columns)
        first, *others = (xs[index] for index in kept)
        total = first
        for x in others:
            total = total + x
        return total / len(kept)

    def survivors(self) -> list[int]:
        everyone = list(range(self.columns))
        draw = self.draw or Draw(self.columns)
        if draw.mode < self.share:  # one column, the same in all joins of the network
            return everyone[draw.column : draw.column + 1] or everyone
        drawn = torch.rand(self.columns, device="cpu").tolist()
        kept = [index for index in everyone if drawn[index] >= self.drop]
        return kept or [int(torch.randint(self.columns, (), device="cpu"))]
