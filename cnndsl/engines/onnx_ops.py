"""How each operator is written in ONNX: one rule per operator, most are one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cnndsl.engines.base import EngineError
from cnndsl.engines.onnx_model import Writer
from cnndsl.ops import activation, conv, linear, merge, norm, pool, regular, reshape
from cnndsl.ops.types import FeatureMap, Type, channels_of, number
from cnndsl.ops.values import Edges
from cnndsl.passes.ops import Affine

Types = Sequence[Type]
Weights = Mapping[str, Any]
Rule = Callable[[Any, list[str], Types, Weights, Writer], str]


# --- one line each ------------------------------------------------------------------------------


def _same(kind: str, **attributes: Any) -> Rule:
    """An ONNX operator of the same meaning; a callable attribute is read off the operator."""

    def rule(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
        given = {k: v(op) if callable(v) else v for k, v in attributes.items()}
        return writer.node(kind, xs, **given)

    return rule


def _nothing(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    return xs[0]


# --- weights ------------------------------------------------------------------------------------


def _weights(weights: Weights, writer: Writer) -> list[str]:
    names = ("weight", "bias")
    return [writer.tensor(weights[name], name) for name in names if name in weights]


def _conv(op: conv.Conv, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    return writer.node(
        "Conv",
        [*xs, *_weights(weights, writer)],
        kernel_shape=op.kernel,
        strides=op.stride,
        dilations=op.dilation,
        group=op.groups,
        pads=_pads(op.edges(types[0])),  # type: ignore[arg-type]
    )


def _transposed(
    op: conv.ConvTranspose, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    return writer.node(
        "ConvTranspose",
        [*xs, *_weights(weights, writer)],
        kernel_shape=op.kernel,
        strides=op.stride,
        dilations=op.dilation,
        group=op.groups,
        pads=(*op.padding, *op.padding),
        output_padding=op.output_padding,
    )


def _linear(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    if isinstance(types[0], FeatureMap):
        as_conv = {**weights, "weight": weights["weight"][:, :, None, None]}
        return writer.node("Conv", [*xs, *_weights(as_conv, writer)], kernel_shape=(1, 1))
    return writer.node("Gemm", [*xs, *_weights(weights, writer)], transB=1)


def _affine(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    """A normalisation of what has mean 0 and variance 1: one kernel where Mul and Add are two."""
    factor = weights["weight"]
    names = [
        writer.tensor(factor, "scale"),
        writer.tensor(weights["bias"], "shift"),
        writer.constant([0.0] * len(factor), "float32"),
        writer.constant([1.0] * len(factor), "float32"),
    ]
    return writer.node("BatchNormalization", [*xs, *names], epsilon=0.0)


def _batch_norm(
    op: norm.BatchNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    mean, variance = weights["running_mean"], weights["running_var"]
    names = [
        writer.tensor(weights.get("weight", mean.new_ones(mean.shape))),
        writer.tensor(weights.get("bias", mean.new_zeros(mean.shape)), "bias"),
        writer.tensor(mean, "mean"),
        writer.tensor(variance, "var"),
    ]
    return writer.node("BatchNormalization", [*xs, *names], epsilon=op.eps)


def _scale(op: regular.Scale, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    factor = weights.get("")
    name = writer.constant(op.by, "float32") if factor is None else writer.tensor(factor, "scale")
    return writer.node("Mul", [*xs, name])


def _prelu(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    shape = (-1, 1, 1) if isinstance(types[0], FeatureMap) else (-1,)
    slope = writer.tensor(weights["weight"].reshape(shape), "slope")
    return writer.node("PRelu", [*xs, slope])


def _layer_norm(
    op: norm.LayerNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    given = _weights(weights, writer)
    if not isinstance(types[0], FeatureMap):
        return writer.node("LayerNormalization", [*xs, *given], axis=-1, epsilon=op.eps)
    last = writer.node("Transpose", xs, perm=(0, 2, 3, 1))
    normal = writer.node("LayerNormalization", [last, *given], axis=-1, epsilon=op.eps)
    return writer.node("Transpose", [normal], perm=(0, 3, 1, 2))


def _group_norm(
    op: norm.GroupNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    """Instance normalisation of the groups: later opsets have their own form, few run it."""
    ones = writer.constant([1.0] * op.groups, "float32")
    zeros = writer.constant([0.0] * op.groups, "float32")
    rows = writer.node("Reshape", [*xs, writer.constant([0, op.groups, -1])])
    normal = writer.node("InstanceNormalization", [rows, ones, zeros], epsilon=op.eps)
    back = writer.node("Reshape", [normal, writer.node("Shape", xs)])
    return _affine(op, [back], types, weights, writer)


# --- windows ------------------------------------------------------------------------------------


def _pads(edges: Edges) -> tuple[int, int, int, int]:
    return edges.top, edges.left, edges.bottom, edges.right


def _twice(op: Any) -> tuple[int, ...]:
    return (*op.padding, *op.padding)


_maxpool = _same(
    "MaxPool",
    kernel_shape=lambda op: op.kernel,
    strides=lambda op: op.stride,
    dilations=lambda op: op.dilation,
    pads=_twice,
    ceil_mode=lambda op: int(op.ceil),
)


def _avgpool(
    op: pool.AvgPool, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    if op.ceil:
        raise EngineError("`avgpool` with ceil=yes counts its border differently in ONNX")
    return writer.node(
        "AveragePool",
        xs,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=_twice(op),
        count_include_pad=int(op.count_include_pad),
    )


def _lppool(op: pool.LPPool, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    if op.ceil or op.p != int(op.p) or int(op.p) % 2:
        raise EngineError(f"`{op.text()}` has no form in ONNX")
    return writer.node("LpPool", xs, kernel_shape=op.kernel, strides=op.stride, p=int(op.p))


def _adaptive(kind: str) -> Rule:
    """Windows of one size where the output divides the input, and one window for all."""

    def rule(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
        if op.output == (1, 1):
            return writer.node(f"Global{kind}", xs)
        x = types[0]
        assert isinstance(x, FeatureMap)
        known = [n for n in (x.height, x.width) if isinstance(n, int)]
        if len(known) < 2 or any(n % k for n, k in zip(known, op.output, strict=True)):
            raise EngineError(f"`{op.text()}` on {x} has no form in ONNX")
        kernel = [n // k for n, k in zip(known, op.output, strict=True)]
        return writer.node(kind, xs, kernel_shape=kernel, strides=kernel)

    return rule


def _pad(op: reshape.Pad, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    top, bottom, left, right = op.amount
    amounts = writer.constant([0, 0, top, left, 0, 0, bottom, right])
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[op.mode]
    value = [writer.constant(op.value, "float32")] if op.mode == "constant" else []
    return writer.node("Pad", [*xs, amounts, *value], mode=mode)


def _pad_channels(
    op: reshape.PadChannels, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    behind = op.out - op.before - number(channels_of(types[0]))  # type: ignore[arg-type]
    amounts = writer.constant([0, op.before, 0, 0, 0, behind, 0, 0])
    return writer.node("Pad", [*xs, amounts, writer.constant(0.0, "float32")], mode="constant")


def _crop(op: reshape.Crop, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    top, bottom, left, right = op.amount
    far = 2**62
    starts, axes = writer.constant([top, left]), writer.constant([2, 3])
    ends = writer.constant([-bottom if bottom else far, -right if right else far])
    return writer.node("Slice", [*xs, starts, ends, axes])


# --- channels -----------------------------------------------------------------------------------


def _slice(op: reshape.Slice, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    ends = [writer.constant([value]) for value in (op.start, op.stop, 1)]
    return writer.node("Slice", [*xs, *ends])


def _shuffle(
    op: reshape.ChannelShuffle, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    channels = number(channels_of(types[0]))  # type: ignore[arg-type]
    # Height and width fold into one axis, so that the shapes need no symbols.
    shape = writer.constant([0, op.groups, channels // op.groups, -1])
    parts = writer.node("Reshape", [*xs, shape])
    turned = writer.node("Transpose", [parts], perm=(0, 2, 1, 3))
    return writer.node("Reshape", [turned, writer.node("Shape", xs)])


def _flatten(
    op: reshape.Flatten, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    if op.order != "chw":
        order = (0, *(1 + "chw".index(axis) for axis in op.order))
        xs = [writer.node("Transpose", xs, perm=order)]
    return writer.node("Flatten", xs, axis=1)


def _upsample(
    op: reshape.Upsample, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    scales = writer.constant([1.0, 1.0, *op.scale], "float32")
    if op.mode == "nearest":
        way = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        corners = "align_corners" if op.align_corners else "half_pixel"
        way = {"coordinate_transformation_mode": corners}
    mode = "nearest" if op.mode == "nearest" else "linear"
    return writer.node("Resize", [*xs, "", scales], mode=mode, **way)


# --- the rest -----------------------------------------------------------------------------------


def _silu(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    return writer.node("Mul", [*xs, writer.node("Sigmoid", xs)])


def _relu6(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    ends = [writer.constant(value, "float32") for value in (0.0, 6.0)]
    return writer.node("Clip", [*xs, *ends])


def _fold(kind: str) -> Rule:
    """A sum or product of many, two by two."""

    def rule(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
        running = xs[0]
        for x in xs[1:]:
            running = writer.node(kind, [running, x])
        return running

    return rule


RULES: dict[type, Rule] = {
    conv.Conv: _conv,
    conv.ConvTranspose: _transposed,
    linear.Linear: _linear,
    Affine: _affine,
    norm.BatchNorm: _batch_norm,
    norm.LayerNorm: _layer_norm,
    norm.GroupNorm: _group_norm,
    norm.LocalResponseNorm: _same(
        "LRN",
        size=lambda op: op.size,
        alpha=lambda op: op.alpha,
        beta=lambda op: op.beta,
        bias=lambda op: op.k,
    ),
    regular.Scale: _scale,
    regular.Dropout: _nothing,
    regular.Dropout2d: _nothing,
    regular.DropPath: _nothing,
    activation.ReLU: _same("Relu"),
    activation.ReLU6: _relu6,
    activation.LeakyReLU: _same("LeakyRelu", alpha=lambda op: op.negative_slope),
    activation.PReLU: _prelu,
    activation.ELU: _same("Elu", alpha=lambda op: op.alpha),
    activation.GELU: _same("Gelu", approximate=lambda op: op.approximate),
    activation.SiLU: _silu,
    activation.Hardswish: _same("HardSwish"),
    activation.Hardsigmoid: _same("HardSigmoid", alpha=1 / 6, beta=0.5),
    activation.Sigmoid: _same("Sigmoid"),
    activation.Tanh: _same("Tanh"),
    activation.Softmax: _same("Softmax", axis=1),
    activation.LogSoftmax: _same("LogSoftmax", axis=1),
    pool.MaxPool: _maxpool,
    pool.AvgPool: _avgpool,
    pool.LPPool: _lppool,
    pool.AdaptiveAvgPool: _adaptive("AveragePool"),
    pool.AdaptiveMaxPool: _adaptive("MaxPool"),
    pool.GlobalAvgPool: _same("GlobalAveragePool"),
    pool.GlobalMaxPool: _same("GlobalMaxPool"),
    merge.Add: _fold("Add"),
    merge.Mul: _fold("Mul"),
    merge.Mean: _same("Mean"),
    merge.Join: _same("Mean"),
    merge.Max: _same("Max"),
    merge.Concat: _same("Concat", axis=1),
    reshape.Slice: _slice,
    reshape.Flatten: _flatten,
    reshape.Pad: _pad,
    reshape.PadChannels: _pad_channels,
    reshape.Crop: _crop,
    reshape.Upsample: _upsample,
    reshape.PixelShuffle: _same("DepthToSpace", blocksize=lambda op: op.factor, mode="CRD"),
    reshape.ChannelShuffle: _shuffle,
}
