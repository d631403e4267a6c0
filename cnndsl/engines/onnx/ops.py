"""How each operator is written in ONNX: one rule per operator, most are one line.

Weights enter the model as they are in the ``state_dict``; where ONNX wants another shape, a
node gives it. The last node of a rule is its result.
"""

from __future__ import annotations

from typing import Any

from cnndsl.engines.onnx import windows
from cnndsl.engines.onnx.model import INT64, Dims, Held, Rule, Types, Weights, Writer, product
from cnndsl.ops import activation, conv, linear, merge, norm, pool, regular, reshape
from cnndsl.ops.types import FeatureMap, channels_of, number
from cnndsl.passes.ops import Affine

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
    return [writer.tensor(weights[name]) for name in ("weight", "bias") if name in weights]


def _expanded(weight: Held, writer: Writer) -> str:
    """The weight with two axes of size 1 behind its own."""
    axes = len(weight.value.shape)
    dims = (*weight.value.shape, 1, 1)
    given = [writer.tensor(weight), writer.constant([axes, axes + 1])]
    return writer.node("Unsqueeze", given, dims)


def _conv(op: conv.Conv, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    edges = op.edges(types[0])  # type: ignore[arg-type]
    return writer.node(
        "Conv",
        [*xs, *_weights(weights, writer)],
        kernel_shape=op.kernel,
        strides=op.stride,
        dilations=op.dilation,
        group=op.groups,
        pads=(edges.top, edges.left, edges.bottom, edges.right),
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
        given = [_expanded(weights["weight"], writer)]
        given += [writer.tensor(weights["bias"])] if "bias" in weights else []
        return writer.node("Conv", [*xs, *given], kernel_shape=(1, 1))
    return writer.node("Gemm", [*xs, *_weights(weights, writer)], transB=1)


def _affine(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    """A normalisation of what has mean 0 and variance 1: one kernel where Mul and Add are two."""
    channels = number(channels_of(types[0]))  # type: ignore[arg-type]
    names = [*_weights(weights, writer), *_constants(writer, channels, 0.0, 1.0)]
    return writer.node("BatchNormalization", [*xs, *names], epsilon=0.0)


def _batch_norm(
    op: norm.BatchNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    channels = number(channels_of(types[0]))  # type: ignore[arg-type]
    names = _weights(weights, writer) or _constants(writer, channels, 1.0, 0.0)
    names += [writer.tensor(weights[name]) for name in ("running_mean", "running_var")]
    return writer.node("BatchNormalization", [*xs, *names], epsilon=op.eps)


def _constants(writer: Writer, length: int, *values: float) -> list[str]:
    return [writer.constant([value] * length, "float32") for value in values]


def _scale(op: regular.Scale, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    factor = weights.get("")
    name = writer.constant(op.by, "float32") if factor is None else writer.tensor(factor)
    return writer.node("Mul", [*xs, name])


def _prelu(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    slope = weights["weight"]
    one_for_each = isinstance(types[0], FeatureMap) and op.num_parameters > 1
    name = _expanded(slope, writer) if one_for_each else writer.tensor(slope)
    return writer.node("PRelu", [*xs, name])


def _layer_norm(
    op: norm.LayerNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    given = _weights(weights, writer)
    if not isinstance(types[0], FeatureMap):
        return writer.node("LayerNormalization", [*xs, *given], axis=-1, epsilon=op.eps)
    batch, channels, height, width = writer.dims(types[0])
    dims = (batch, height, width, channels)
    last = writer.node("Transpose", xs, dims, perm=(0, 2, 3, 1))
    normal = writer.node("LayerNormalization", [last, *given], dims, axis=-1, epsilon=op.eps)
    return writer.node("Transpose", [normal], perm=(0, 3, 1, 2))


def _group_norm(
    op: norm.GroupNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    """Instance normalisation of the groups: later opsets have their own form, few run it."""
    ones, zeros = _constants(writer, op.groups, 1.0, 0.0)
    batch, channels, *sizes = dims = writer.dims(types[0])
    grouped: Dims = (batch, op.groups, product(int(channels) // op.groups, *sizes))
    rows = writer.node("Reshape", [*xs, writer.constant([0, op.groups, -1])], grouped)
    normal = writer.node("InstanceNormalization", [rows, ones, zeros], grouped, epsilon=op.eps)
    shape = writer.node("Shape", xs, (len(dims),), INT64)
    back = writer.node("Reshape", [normal, shape], dims)
    return _affine(op, [back], types, weights, writer)


# --- channels -----------------------------------------------------------------------------------


def _slice(op: reshape.Slice, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    ends = [writer.constant([value]) for value in (op.start, op.stop, 1)]
    return writer.node("Slice", [*xs, *ends])


def _shuffle(
    op: reshape.ChannelShuffle, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    batch, channels, height, width = writer.dims(types[0])
    each, positions = int(channels) // op.groups, product(height, width)
    # Height and width fold into one axis, so that the shapes need no symbols.
    shape = writer.constant([0, op.groups, each, -1])
    parts = writer.node("Reshape", [*xs, shape], (batch, op.groups, each, positions))
    dims = (batch, each, op.groups, positions)
    turned = writer.node("Transpose", [parts], dims, perm=(0, 2, 1, 3))
    back = writer.node("Shape", xs, (4,), INT64)
    return writer.node("Reshape", [turned, back])


def _flatten(
    op: reshape.Flatten, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    if op.order != "chw":
        order = (0, *(1 + "chw".index(axis) for axis in op.order))
        known = writer.dims(types[0])
        xs = [writer.node("Transpose", xs, tuple(known[axis] for axis in order), perm=order)]
    return writer.node("Flatten", xs, axis=1)


def _upsample(
    op: reshape.Upsample, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    scales = writer.constant([1.0, 1.0, *op.scale], "float32")
    way: dict[str, Any]
    if op.mode == "nearest":
        way = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    else:
        corners = "align_corners" if op.align_corners else "half_pixel"
        way = {"coordinate_transformation_mode": corners}
    mode = "nearest" if op.mode == "nearest" else "linear"
    return writer.node("Resize", [*xs, "", scales], mode=mode, **way)


# --- the rest -----------------------------------------------------------------------------------


def _silu(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    return writer.node("Mul", [*xs, writer.node("Sigmoid", xs, writer.dims(types[0]))])


def _relu6(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    ends = [writer.constant(value, "float32") for value in (0.0, 6.0)]
    return writer.node("Clip", [*xs, *ends])


def _fold(kind: str) -> Rule:
    """A sum or product of many, two by two."""

    def rule(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
        running = xs[0]
        for x in xs[1:-1]:
            running = writer.node(kind, [running, x], writer.dims(types[0]))
        return writer.node(kind, [running, xs[-1]]) if len(xs) > 1 else running

    return rule


RULES: dict[type, Rule] = {
    conv.Conv: _conv,
    conv.ConvTranspose: _transposed,
    linear.Linear: _linear,
    Affine: _affine,
    norm.BatchNorm: _batch_norm,
    norm.LayerNorm: _layer_norm,
    norm.GroupNorm: _group_norm,
    norm.LocalResponseNorm: windows.lrn,
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
    pool.MaxPool: windows.maxpool,
    pool.AvgPool: windows.avgpool,
    pool.LPPool: windows.lppool,
    pool.AdaptiveAvgPool: windows.adaptive("AveragePool"),
    pool.AdaptiveMaxPool: windows.adaptive("MaxPool"),
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
    reshape.Pad: windows.pad,
    reshape.PadChannels: windows.pad_channels,
    reshape.Crop: windows.crop,
    reshape.Upsample: _upsample,
    reshape.PixelShuffle: _same("DepthToSpace", blocksize=lambda op: op.factor, mode="CRD"),
    reshape.ChannelShuffle: _shuffle,
}
