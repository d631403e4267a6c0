"""The few modules and functions that PyTorch lacks. Imported only when lowering."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# --- layers whose keys are PyTorch's --------------------------------------------------------


class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding may differ on opposite sides."""

    def __init__(self, *, edges: tuple[int, int, int, int], **args: Any) -> None:
        super().__init__(**args)
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, self.edges))

    def extra_repr(self) -> str:
        known: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{known}, edges={self.edges}"


class ChannelLinear(nn.Linear):
    """A linear layer on the channels at each position."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight[:, :, None, None], self.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels at each position."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


# --- functions ------------------------------------------------------------------------------


def scale(x: Tensor, weight: Tensor | float) -> Tensor:
    return x * weight


def crop(x: Tensor, amount: tuple[int, ...]) -> Tensor:
    top, bottom, left, right = amount
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def pad_channels(x: Tensor, out: int, before: int) -> Tensor:
    return functional.pad(x, (0, 0, 0, 0, before, out - before - x.shape[1]))


def slice_channels(x: Tensor, start: int, stop: int) -> Tensor:
    return x[:, start:stop]


def flatten(x: Tensor, order: tuple[int, ...]) -> Tensor:
    return x.permute(0, *order).flatten(1)


def add(*xs: Tensor) -> Tensor:
    return reduce(torch.add, xs)


def mul(*xs: Tensor) -> Tensor:
    return reduce(torch.mul, xs)


def mean(*xs: Tensor) -> Tensor:
    return add(*xs) / len(xs)


def max(*xs: Tensor) -> Tensor:
    return reduce(torch.maximum, xs)


def concat(*xs: Tensor) -> Tensor:
    return torch.cat(xs, dim=1)


# --- noise ----------------------------------------------------------------------------------


class NetDraw:
    """The random numbers that a whole network shares during one forward.

    The network makes one, puts it on every module that has a ``draw``, and calls ``start``
    at the beginning of each training forward. Numbers come from PyTorch's default generator,
    so ``torch.manual_seed`` repeats them. They are tensors without dimensions on the CPU:
    nothing waits for a GPU, and one graph of ``torch.compile`` holds every outcome.
    """

    def __init__(self, columns: int = 1) -> None:
        self.columns = columns
        self._numbers: Tensor | None = None

    def start(self) -> None:
        """A new forward."""
        # float64: a column index below must not be rounded up to `columns`.
        self._numbers = torch.rand(3, dtype=torch.float64, device="cpu")

    def _number(self, index: int) -> Tensor:
        if self._numbers is None:
            self.start()
        assert self._numbers is not None
        return self._numbers[index]

    @property
    def path(self) -> Tensor:
        """Decides the drop-paths that share one draw; from 0 to 1, as ``mode``."""
        return self._number(0)

    @property
    def mode(self) -> Tensor:
        """Decides whether this forward keeps one column."""
        return self._number(1)

    @property
    def column(self) -> Tensor:
        """The column that such a forward keeps, in all joins; a whole number."""
        return (self._number(2) * self.columns).long()


class DropPath(nn.Module):
    """Stochastic depth; ``mode`` says what shares one draw: row, batch, network."""

    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = p, mode
        self.draw: NetDraw | None = None

    @property
    def shares(self) -> bool:
        """Whether it looks at numbers that the whole network shares."""
        return self.mode == "network" and self.p > 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        if self.mode == "network":
            draw = self.draw or NetDraw()
            # Times 0 rather than a new tensor: every parameter keeps a gradient.
            return x * ((draw.path >= self.p).double() / keep)
        rows = x.shape[0] if self.mode == "row" else 1
        mask = x.new_empty((rows,) + (1,) * (x.dim() - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class Join(nn.Module):
    """FractalNet's join with drop-path; a plain mean in evaluation or with ``drop`` 0.

    Dropped operands count zero times (docs/decisions.md).
    """

    def __init__(self, columns: int, drop: float, share: float) -> None:
        super().__init__()
        self.columns, self.drop, self.share = columns, drop, share
        self._draw: NetDraw | None = None

    @property
    def shares(self) -> bool:
        """Whether it looks at numbers that the whole network shares."""
        return self.drop > 0

    @property
    def draw(self) -> NetDraw | None:
        return self._draw

    @draw.setter
    def draw(self, draw: NetDraw) -> None:
        """Joins the shared draw, which must know how many columns there are to choose from."""
        self._draw = draw
        if draw.columns < self.columns:
            draw.columns = self.columns

    def forward(self, *xs: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return mean(*xs)
        kept = self._kept().double()
        return add(*(x * weight for x, weight in zip(xs, kept, strict=True))) / kept.sum()

    def _kept(self) -> Tensor:
        """Which operands count; at least one does."""
        draw = self._draw or NetDraw(self.columns)
        return torch.where(draw.mode < self.share, self._on_path(draw), self._survivors())

    def _on_path(self, draw: NetDraw) -> Tensor:
        found = self._is(draw.column)
        # A join without the kept column is not on the kept path: its value is unused.
        return found | ~found.any()

    def _survivors(self) -> Tensor:
        kept = torch.rand(self.columns, device="cpu") >= self.drop
        spared = self._is(torch.randint(self.columns, (), device="cpu"))
        return torch.where(kept.any(), kept, spared)

    def _is(self, column: Tensor) -> Tensor:
        return torch.arange(self.columns, device="cpu") == column

    def extra_repr(self) -> str:
        return f"columns={self.columns}, drop={self.drop}, share={self.share}"
