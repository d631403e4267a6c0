"""A twin of a module that ``torch.export`` can trace for every size at once.

Some of PyTorch's operators decide by the size of their input: whether the last window of a pool
that rounds up would start outside, whether a permuted tensor is contiguous. The trace would then
hold for the sizes that decide alike, so the twin has forms of these layers that never ask.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnndsl.ops.modules import ChannelNorm

Pair = tuple[int, int]


def traceable(module: nn.Module) -> nn.Module:
    """The same function with the same parameters (not copies of them), layers exchanged."""
    shared: dict[int, Any] = {id(t): t for t in (*module.parameters(), *module.buffers())}
    twin = copy.deepcopy(module, shared)
    for path, layer in list(twin.named_modules()):
        form = traceable_layer(layer)
        if form is not layer and path:
            twin.set_submodule(path, form)
    return twin


def traceable_layer(layer: nn.Module) -> nn.Module:
    """One layer's form that never asks, with its parameters; most are such themselves."""
    return next((form(layer) for kind, form in _FORMS if type(layer) is kind), layer)


class _Whole(nn.Module):
    """A pool that rounds up, as one that rounds down over a border that holds the rest."""

    def __init__(self, layer: Any, padding: Pair, dilation: Pair) -> None:
        super().__init__()
        self.kernel, self.stride = _pair(layer.kernel_size), _pair(layer.stride)
        self.padding, self.dilation = padding, dilation
        self.rest = tuple(
            min(p + s - 1, d * (k - 1)) - p
            for k, s, p, d in zip(self.kernel, self.stride, padding, dilation, strict=True)
        )

    def bordered(self, x: Tensor, value: float) -> Tensor:
        """With the padding on all sides."""
        (rows, columns) = self.padding
        return functional.pad(x, (columns, columns, rows, rows), value=value)

    def completed(self, x: Tensor, value: float) -> Tensor:
        """With what the last windows reach beyond it."""
        below, right = self.rest
        return functional.pad(x, (0, right, 0, below), value=value)


class _CeilMax(_Whole):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer, _pair(layer.padding), _pair(layer.dilation))

    def forward(self, x: Tensor) -> Tensor:
        low = float("-inf")
        whole = self.completed(self.bordered(x, low), low)
        return functional.max_pool2d(whole, self.kernel, self.stride, 0, self.dilation)


class _CeilAverage(_Whole):
    """Sums, and how many numbers each is of: what lies beyond the padding never counts."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer, _pair(layer.padding), (1, 1))
        self.counts_border = layer.count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        ones = torch.ones_like(x[:1, :1])
        counted = self.bordered(ones, 1.0 if self.counts_border else 0.0)
        return self._sums(self.bordered(x, 0.0)) / self._sums(counted)

    def _sums(self, x: Tensor) -> Tensor:
        whole = self.completed(x, 0.0)
        return functional.avg_pool2d(whole, self.kernel, self.stride, divisor_override=1)


class _CeilPower(_Whole):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer, (0, 0), (1, 1))
        self.p = layer.norm_type
        layer.padding, layer.count_include_pad = 0, True
        self.mean = _CeilAverage(layer)

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.mean(x.pow(self.p))
        count = self.kernel[0] * self.kernel[1]
        total: Tensor = mean.sign() * mean.abs().relu() * count
        return total.pow(1 / self.p)


class _Shuffle(nn.Module):
    def __init__(self, layer: nn.ChannelShuffle) -> None:
        super().__init__()
        self.groups = layer.groups

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack(x.chunk(self.groups, 1), 2).flatten(1, 2)


class _NormInPlace(ChannelNorm):
    """Over the channels where they are: nothing is permuted."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        factor, summand = (t[:, None, None] for t in (self.weight, self.bias))
        return (x - mean) * torch.rsqrt(variance + self.eps) * factor + summand


def _normed(layer: Any) -> nn.Module:
    layer.__class__ = _NormInPlace  # its parameters stay what they are
    return layer  # type: ignore[no-any-return]


def _if_ceil(form: Callable[[Any], nn.Module]) -> Callable[[Any], nn.Module]:
    return lambda layer: form(layer) if layer.ceil_mode else layer


_FORMS: tuple[tuple[type, Callable[[Any], nn.Module]], ...] = (
    (nn.MaxPool2d, _if_ceil(_CeilMax)),
    (nn.AvgPool2d, _if_ceil(_CeilAverage)),
    (nn.LPPool2d, _if_ceil(_CeilPower)),
    (nn.ChannelShuffle, _Shuffle),
    (ChannelNorm, _normed),
)


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value
