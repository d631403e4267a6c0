"""What each operator computes, written out from its definition and without the catalogue.

A reference takes the operator's entries of the ``state_dict``, its inputs ``[N, C, H, W]`` or
``[N, C]``, and its parameters by name, with the defaults that the documentation promises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from tests.ops.windowed import adapted, pooled

Weights = Mapping[str, Tensor]
Reference = Callable[..., Tensor | tuple[Tensor, ...]]
REFERENCES: dict[str, Reference] = {}


def reference(function: Reference) -> Reference:
    """Enters a reference under its operator's name."""
    REFERENCES[function.__name__.rstrip("_")] = function
    return function


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def sides(value: Any) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of one number, of (height, width), or of all four."""
    height, width = both(value) if not isinstance(value, tuple) or len(value) == 2 else (0, 0)
    return value if isinstance(value, tuple) and len(value) == 4 else (
        height, height, width, width)  # fmt: skip


def framed(x: Tensor, amount: Any, value: float = 0.0) -> Tensor:
    top, bottom, left, right = sides(amount)
    return F.pad(x, (left, right, top, bottom), value=value)


def each(values: Tensor, x: Tensor) -> Tensor:
    """One value per channel, for ``x`` with or without positions."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


# --- learned maps ---------------------------------------------------------------------------


def same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's SAME: ceil(size/stride) windows; what is odd goes behind."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


@reference
def conv(
    w: Weights, x: Tensor, *, out: int, kernel: Any, stride: Any = 1, padding: Any = None,
    dilation: Any = 1, groups: int = 1, bias: bool = True,
) -> Tensor:  # fmt: skip
    (kh, kw), (sh, sw), (dh, dw) = both(kernel), both(stride), both(dilation)
    if padding is None:
        padding = (dh * (kh - 1) // 2, dw * (kw - 1) // 2)
    elif padding == "same_upper":
        padding = (*same(x.shape[2], kh, sh, dh), *same(x.shape[3], kw, sw, dw))
    weight = w["weight"].view(out, x.shape[1] // groups, kh, kw)
    added = w["bias"].view(out) if bias else None
    return F.conv2d(framed(x, padding), weight, added, (sh, sw), 0, (dh, dw), groups)


@reference
def conv_transpose(
    w: Weights, x: Tensor, *, out: int, kernel: Any, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The gradient of the convolution from the output's size to the input's."""
    columns = zip(
        x.shape[2:], both(kernel), both(stride), both(padding), both(output_padding),
        both(dilation), strict=True,
    )  # fmt: skip
    size = [(n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k, s, p, o, d in columns]
    weight = w["weight"].view(x.shape[1], out // groups, *both(kernel))
    y = conv2d_input(
        (len(x), out, *size), weight, x, both(stride), both(padding), both(dilation), groups
    )
    return y + each(w["bias"], y) if bias else y


@reference
def linear(w: Weights, x: Tensor, *, out: int, bias: bool = True) -> Tensor:
    y = torch.einsum("nc...,oc->no...", x, w["weight"].view(out, -1))
    return y + each(w["bias"], y) if bias else y


@reference
def scale(w: Weights, x: Tensor, *, by: Any = "learned", init: float = 1.0) -> Tensor:
    if by != "learned":
        return by * x
    assert w[""].dim() == x.dim() - 1
    return x * each(w[""], x)


# --- normalisations -------------------------------------------------------------------------


def standardised(x: Tensor, dims: Any, eps: float) -> Tensor:
    mean = x.mean(dims, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(dims, keepdim=True) + eps).sqrt()


def scaled(w: Weights, y: Tensor) -> Tensor:
    return y * each(w["weight"], y) + each(w["bias"], y)


@reference
def bn(
    w: Weights, x: Tensor, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True
) -> Tensor:
    y = (x - each(w["running_mean"], x)) / (each(w["running_var"], x) + eps).sqrt()
    return scaled(w, y) if affine else y


@reference
def group_norm(w: Weights, x: Tensor, *, groups: int, eps: float = 1e-5) -> Tensor:
    return scaled(w, standardised(x.reshape(len(x), groups, -1), 2, eps).reshape(x.shape))


@reference
def layer_norm(w: Weights, x: Tensor, *, eps: float = 1e-5) -> Tensor:
    return scaled(w, standardised(x, 1, eps))


@reference
def lrn(
    w: Weights, x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """The sum over the neighbours that exist, always divided by ``size``, as in PyTorch."""
    near = [x[:, max(c - size // 2, 0) : c + (size - 1) // 2 + 1] for c in range(x.shape[1])]
    energy = torch.stack([part.square().sum(1) for part in near], 1)
    return x / (k + alpha / size * energy) ** beta


# --- activations ----------------------------------------------------------------------------

_SIGMOID: Callable[[Tensor], Tensor] = lambda x: 1 / (1 + (-x).exp())  # noqa: E731
_HARD: Callable[[Tensor], Tensor] = lambda x: (x / 6 + 0.5).clamp(0, 1)  # noqa: E731

REFERENCES |= {
    "relu": lambda w, x: x * (x > 0),
    "relu6": lambda w, x: x.clamp(0, 6),
    "sigmoid": lambda w, x: _SIGMOID(x),
    "silu": lambda w, x: x * _SIGMOID(x),
    "tanh": lambda w, x: 2 * _SIGMOID(2 * x) - 1,
    "hardsigmoid": lambda w, x: _HARD(x),
    "hardswish": lambda w, x: x * _HARD(x),
    "softmax": lambda w, x: x.exp() / x.exp().sum(1, keepdim=True),
    "log_softmax": lambda w, x: x - x.exp().sum(1, keepdim=True).log(),
    "dropout": lambda w, x, p=0.5: x,
    "dropout2d": lambda w, x, p=0.5: x,
    "droppath": lambda w, x, p, mode="row": x,
}


@reference
def leaky_relu(w: Weights, x: Tensor, *, negative_slope: float = 0.01) -> Tensor:
    return torch.where(x > 0, x, negative_slope * x)


@reference
def elu(w: Weights, x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > 0, x, alpha * (x.exp() - 1))


@reference
def prelu(w: Weights, x: Tensor, *, num_parameters: int = 1, init: float = 0.25) -> Tensor:
    return torch.where(x > 0, x, each(w["weight"].view(num_parameters), x) * x)


@reference
def gelu(w: Weights, x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate == "tanh":  # Hendrycks and Gimpel 2016, arXiv:1606.08415
        return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


# --- pools: `tests.ops.windowed` has the windows -----------------------------------------------


@reference
def maxpool(
    w: Weights, x: Tensor, *, kernel: Any, stride: Any = None, padding: Any = 0,
    dilation: Any = 1, ceil: bool = False,
) -> Tensor:  # fmt: skip
    geometry = both(kernel), both(stride or kernel), both(padding), both(dilation), ceil
    return pooled(x, *geometry, lambda inside, padded: inside.amax((2, 3)))


@reference
def avgpool(
    w: Weights, x: Tensor, *, kernel: Any, stride: Any = None, padding: Any = 0,
    ceil: bool = False, count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    def average(inside: Tensor, padded: int) -> Tensor:
        counted = padded if count_include_pad else inside[0, 0].numel()
        return inside.sum((2, 3)) / counted

    return pooled(x, both(kernel), both(stride or kernel), both(padding), (1, 1), ceil, average)


@reference
def lppool(
    w: Weights, x: Tensor, *, p: float, kernel: Any, stride: Any = None, ceil: bool = False
) -> Tensor:
    def norm(inside: Tensor, padded: int) -> Tensor:
        whole = both(kernel)[0] * both(kernel)[1]
        return (inside.pow(p).mean((2, 3)) * whole).pow(1 / p)

    return pooled(x, both(kernel), both(stride or kernel), (0, 0), (1, 1), ceil, norm)


REFERENCES |= {
    "adaptive_avgpool": lambda w, x, output: adapted(x, both(output), torch.mean),
    "adaptive_maxpool": lambda w, x, output: adapted(x, both(output), torch.amax),
    "gap": lambda w, x: x.mean((2, 3), keepdim=True),
    "gmp": lambda w, x: x.amax((2, 3), keepdim=True),
}


# --- moves ----------------------------------------------------------------------------------


def interpolation(size: int, factor: int, corners: bool) -> Tensor:
    """The matrix ``[factor*size, size]`` of linear interpolation along one axis."""
    new = factor * size
    matrix = torch.zeros(new, size, dtype=torch.float64)
    for i in range(new):
        at = i * (size - 1) / max(new - 1, 1) if corners else max((i + 0.5) / factor - 0.5, 0.0)
        low = int(at)
        matrix[i, low] += 1 - (at - low)
        matrix[i, min(low + 1, size - 1)] += at - low
    return matrix


@reference
def upsample(
    w: Weights, x: Tensor, *, scale: Any, mode: str = "nearest", align_corners: bool = False
) -> Tensor:
    down, right = both(scale)
    if mode == "nearest":
        return x.repeat_interleave(down, 2).repeat_interleave(right, 3)
    rows = interpolation(x.shape[2], down, align_corners)
    columns = interpolation(x.shape[3], right, align_corners)
    return torch.einsum("nchw,ih,jw->ncij", x, rows, columns)


@reference
def pixel_shuffle(w: Weights, x: Tensor, *, factor: int) -> Tensor:
    n, c, h, width = x.shape
    y = x.new_empty(n, c // factor**2, factor * h, factor * width)
    for row in range(factor):
        for column in range(factor):
            y[:, :, row::factor, column::factor] = x[:, row * factor + column :: factor**2]
    return y


@reference
def channel_shuffle(w: Weights, x: Tensor, *, groups: int) -> Tensor:
    each = x.shape[1] // groups
    return x[:, [group * each + i for i in range(each) for group in range(groups)]]


@reference
def crop(w: Weights, x: Tensor, *, amount: Any) -> Tensor:
    top, bottom, left, right = sides(amount)
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def mirrored(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


@reference
def pad(w: Weights, x: Tensor, *, amount: Any, mode: str = "constant", value: float = 0) -> Tensor:
    if mode == "constant":
        return framed(x, amount, value)
    top, bottom, left, right = sides(amount)
    find = mirrored if mode == "reflect" else lambda index, size: index.clamp(0, size - 1)
    rows = find(torch.arange(-top, x.shape[2] + bottom), x.shape[2])
    columns = find(torch.arange(-left, x.shape[3] + right), x.shape[3])
    return x[:, :, rows][:, :, :, columns]


@reference
def pad_channels(w: Weights, x: Tensor, *, out: int, before: int = 0) -> Tensor:
    y = x.new_zeros(len(x), out, *x.shape[2:])
    y[:, before : before + x.shape[1]] = x
    return y


@reference
def flatten(w: Weights, x: Tensor, *, order: str = "chw") -> Tensor:
    return torch.einsum(f"nchw->n{order}", x).reshape(len(x), -1)


REFERENCES |= {
    "slice": lambda w, x, start, stop: x[:, list(range(start, stop))],
    "split": lambda w, x, parts: x.chunk(parts, 1),
}


# --- joins ----------------------------------------------------------------------------------

REFERENCES |= {
    "add": lambda w, *xs: torch.stack(xs).sum(0),
    "mean": lambda w, *xs: torch.stack(xs).mean(0),
    "max": lambda w, *xs: torch.stack(xs).amax(0),
    "mul": lambda w, *xs: torch.stack(torch.broadcast_tensors(*xs)).prod(0),
    "concat": lambda w, *xs: torch.cat(xs, 1),
    "join": lambda w, *xs, drop=0.0, share=0.5: torch.stack(xs).mean(0),
}
