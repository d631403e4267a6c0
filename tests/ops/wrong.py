"""Definitions with one mistake each, as people and other frameworks make them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.ops.references import REFERENCES as RIGHT
from tests.ops.references import Reference, Weights, both, each, framed, sides, standardised
from tests.ops.windowed import pooled


def _flipped(w: Weights) -> dict[str, Tensor]:
    """The kernels turned around: convolution where cross-correlation is meant."""
    return {**w, "weight": w["weight"].flip(2, 3)} if "weight" in w else dict(w)


def _odd_one_in_front(w: Weights, x: Tensor, **params: Any) -> Tensor:
    y = RIGHT["conv"](_flipped(w), x.flip(2, 3), **params)
    return y.flip(2, 3) if isinstance(y, Tensor) else x


def _sides_swapped(w: Weights, x: Tensor, *, amount: Any, **params: Any) -> Any:
    top, bottom, left, right = sides(amount)
    return RIGHT["pad"](w, x, amount=(left, right, top, bottom), **params)


def _cut_opposite(w: Weights, x: Tensor, *, amount: Any) -> Tensor:
    top, bottom, left, right = sides(amount)
    return x[:, :, bottom : x.shape[2] - top, right : x.shape[3] - left]


def _energy_of_those_there(
    w: Weights, x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    near = [x[:, max(c - size // 2, 0) : c + (size - 1) // 2 + 1] for c in range(x.shape[1])]
    return x / (k + alpha * torch.stack([n.square().mean(1) for n in near], 1)) ** beta


def _one_behind(w: Weights, x: Tensor, **params: Any) -> Any:
    """An even window of neighbours with its longer half behind."""
    y = RIGHT["lrn"](w, x.flip(1), **params)
    return y.flip(1) if isinstance(y, Tensor) else y


def _zeros_that_win(
    w: Weights, x: Tensor, *, kernel: Any, stride: Any = None, padding: Any = 0, **params: Any
) -> Any:
    stride = stride or kernel
    return RIGHT["maxpool"](w, framed(x, padding), kernel=kernel, stride=stride, **params)


def _partial(
    w: Weights, x: Tensor, *, p: float, kernel: Any, stride: Any = None, ceil: bool = False
) -> Tensor:
    def norm(inside: Tensor, padded: int) -> Tensor:
        return inside.pow(p).sum((2, 3)).pow(1 / p)

    return pooled(x, both(kernel), both(stride or kernel), (0, 0), (1, 1), ceil, norm)


def _flip(params: dict[str, Any], key: str, default: bool) -> dict[str, Any]:
    return {**params, key: not params.get(key, default)}


def _without(params: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k != key}


def _spread_outside(w: Weights, x: Tensor, *, eps: float = 1e-5, **_: Any) -> Tensor:
    y = (x - each(w["running_mean"], x)) / (each(w["running_var"], x).sqrt() + eps)
    return y * each(w["weight"], x) + each(w["bias"], x) if "weight" in w else y


def _unbiased(w: Weights, x: Tensor, *, groups: int, eps: float = 1e-5) -> Tensor:
    rows = x.reshape(len(x), groups, -1)
    y = (rows - rows.mean(2, keepdim=True)) / (rows.var(2, keepdim=True) + eps).sqrt()
    return y.reshape(x.shape) * each(w["weight"], x) + each(w["bias"], x)


def _over_everything(w: Weights, x: Tensor, *, eps: float = 1e-5) -> Tensor:
    y = standardised(x, tuple(range(1, x.dim())), eps)
    return y * each(w["weight"], x) + each(w["bias"], x)


def _edge_twice(w: Weights, x: Tensor, *, amount: Any, mode: str = "constant", **rest: Any) -> Any:
    """A mirror image that has the edge too, as NumPy's `symmetric`."""
    if mode != "reflect":
        return RIGHT["pad"](w, x, amount=amount, mode=mode, **rest)
    top, bottom, left, right = sides(amount)
    rows = [*range(top - 1, -1, -1), *range(x.shape[2]), *range(-1, -1 - bottom, -1)]
    columns = [*range(left - 1, -1, -1), *range(x.shape[3]), *range(-1, -1 - right, -1)]
    return x[:, :, rows][:, :, :, columns]


def _deconvolved(w: Weights, x: Tensor, *, output_padding: Any = 0, **params: Any) -> Any:
    """What `output_padding` adds comes first, not last."""
    y = RIGHT["conv_transpose"](w, x, output_padding=output_padding, **params)
    assert isinstance(y, Tensor)
    return y.roll(both(output_padding), (2, 3))


WRONG: dict[str, tuple[str, Reference]] = {
    "conv: kernels flipped": ("conv", lambda w, x, **p: RIGHT["conv"](_flipped(w), x, **p)),
    "conv: SAME puts the odd one in front": ("conv", _odd_one_in_front),
    "conv: groups interleaved": (
        "conv",
        lambda w, x, groups=1, **p: RIGHT["conv"](
            w, x.unflatten(1, (-1, groups)).transpose(1, 2).flatten(1, 2), groups=groups, **p
        ),
    ),
    "conv_transpose: output padding in front": ("conv_transpose", _deconvolved),
    "bn: eps beside the deviation": ("bn", _spread_outside),
    "bn: statistics of the batch": (
        "bn",
        lambda w, x, eps=1e-5, **_: F.batch_norm(
            x, None, None, w.get("weight"), w.get("bias"), True, 0.1, eps
        ),
    ),
    "group_norm: unbiased variance": ("group_norm", _unbiased),
    "layer_norm: over the positions too": ("layer_norm", _over_everything),
    "lrn: divided by the neighbours that exist": ("lrn", _energy_of_those_there),
    "lrn: alpha not divided": (
        "lrn",
        lambda w, x, size, alpha=1e-4, **p: RIGHT["lrn"](w, x, size=size, alpha=alpha * size, **p),
    ),
    "lrn: the longer half behind": ("lrn", _one_behind),
    "gelu: tanh for exact": ("gelu", lambda w, x, **_: F.gelu(x, approximate="tanh")),
    "hardsigmoid: slope of Keras and ONNX": (
        "hardsigmoid",
        lambda w, x: (0.2 * x + 0.5).clamp(0, 1),
    ),
    "elu: alpha for positive values too": (
        "elu",
        lambda w, x, alpha=1.0: alpha * F.elu(x),
    ),
    "relu6: no upper end": ("relu6", lambda w, x: x.clamp(min=0)),
    "softmax: over the last axis": ("softmax", lambda w, x: x.softmax(-1)),
    "log_softmax: over everything": (
        "log_softmax",
        lambda w, x: x.flatten(1).log_softmax(1).view(x.shape),
    ),
    "prelu: one slope for all": (
        "prelu",
        lambda w, x, **_: torch.where(x > 0, x, w["weight"][0] * x),
    ),
    "maxpool: padding can win": ("maxpool", _zeros_that_win),
    "maxpool: no partial windows": (
        "maxpool",
        lambda w, x, **p: RIGHT["maxpool"](w, x, **_without(p, "ceil")),
    ),
    "avgpool: padding counted the other way": (
        "avgpool",
        lambda w, x, **p: RIGHT["avgpool"](w, x, **_flip(p, "count_include_pad", True)),
    ),
    "lppool: partial windows not scaled": ("lppool", _partial),
    "adaptive_avgpool: windows of one size": (
        "adaptive_avgpool",
        lambda w, x, output: F.avg_pool2d(
            x, [n // k for n, k in zip(x.shape[2:], both(output), strict=True)]
        ),
    ),
    "upsample: corners the other way": (
        "upsample",
        lambda w, x, **p: RIGHT["upsample"](w, x, **_flip(p, "align_corners", False)),
    ),
    "upsample: height and width swapped": (
        "upsample",
        lambda w, x, scale, **p: RIGHT["upsample"](w, x, scale=both(scale)[::-1], **p),
    ),
    "pixel_shuffle: columns before rows": (
        "pixel_shuffle",
        lambda w, x, factor: F.pixel_shuffle(x.mT, factor).mT,
    ),
    "pixel_shuffle: channels last, as TensorFlow's": (
        "pixel_shuffle",
        lambda w, x, factor: F.pixel_shuffle(
            x.unflatten(1, (factor**2, -1)).transpose(1, 2).flatten(1, 2), factor
        ),
    ),
    "channel_shuffle: the way back": (
        "channel_shuffle",
        lambda w, x, groups: F.channel_shuffle(x, x.shape[1] // groups),
    ),
    "crop: opposite sides swapped": ("crop", _cut_opposite),
    "pad: height and width swapped": ("pad", _sides_swapped),
    "pad: the edge mirrored too": ("pad", _edge_twice),
    "pad_channels: all in front": (
        "pad_channels",
        lambda w, x, out, before=0: F.pad(x, (0, 0, 0, 0, out - x.shape[1], 0)),
    ),
    "slice: the last one too": ("slice", lambda w, x, start, stop: x[:, start : stop + 1]),
    "split: by turns": (
        "split",
        lambda w, x, parts: tuple(x[:, i::parts] for i in range(parts)),
    ),
    "flatten: always the channels first": ("flatten", lambda w, x, **_: x.flatten(1)),
    "scale: one factor for all": (
        "scale",
        lambda w, x, by="learned", **_: x * (w[""].flatten()[0] if by == "learned" else by),
    ),
    "mean: of two": ("mean", lambda w, *xs: torch.stack(xs).sum(0) / 2),
    "mul: a gate is added": ("mul", lambda w, *xs: sum(xs)),
    "max: the largest in size": (
        "max",
        lambda w, *xs: torch.stack(xs).gather(0, torch.stack(xs).abs().argmax(0)[None])[0],
    ),
    "concat: last one first": ("concat", lambda w, *xs: torch.cat(xs[::-1], 1)),
    "join: a sum": ("join", lambda w, *xs, **_: torch.stack(xs).sum(0)),
    "dropout: also in evaluation": ("dropout", lambda w, x, p=0.5: x * (1 - p)),
}
