"""Each operator as an engineer writes it: a layer, or an expression in ``forward``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cnndsl.exporters.python.terms import arg, call, given, index, option, plain, text
from cnndsl.graph.model import Node
from cnndsl.ops import Op
from cnndsl.ops.merge import Add
from cnndsl.ops.types import FeatureMap, Type, channels_of, number
from cnndsl.outline.families import Leaf, Term

# --- layers with weights ----------------------------------------------------------------------


def _conv(op: Any, x: Any) -> Term:
    edges = op.edges(x)
    padding = (edges.top, edges.left) if edges.symmetric else 0
    return call(
        "nn.Conv2d",
        arg("in_channels", number(channels_of(x))),
        arg("out_channels", op.out),
        arg("kernel_size", op.kernel),
        option("stride", op.stride, 1),
        option("padding", padding, 0),
        option("dilation", op.dilation, 1),
        option("groups", op.groups, 1),
        option("bias", op.bias is not False, True),
    )


def _conv_transpose(op: Any, x: Any) -> Term:
    return call(
        "nn.ConvTranspose2d",
        arg("in_channels", number(channels_of(x))),
        arg("out_channels", op.out),
        arg("kernel_size", op.kernel),
        option("stride", op.stride, 1),
        option("padding", op.padding, 0),
        option("output_padding", op.output_padding, 0),
        option("groups", op.groups, 1),
        option("bias", op.bias is not False, True),
        option("dilation", op.dilation, 1),
    )


def _linear(op: Any, x: Any) -> Term:
    return call(
        "ChannelLinear" if isinstance(x, FeatureMap) else "nn.Linear",
        arg("in_channels", number(channels_of(x))),
        arg("out_features", op.out),
        option("bias", op.bias is not False, True),
    )


def _bn(op: Any, x: Any) -> Term:
    return call(
        "nn.BatchNorm2d" if isinstance(x, FeatureMap) else "nn.BatchNorm1d",
        arg("channels", number(channels_of(x))),
        option("eps", op.eps, 1e-5),
        option("momentum", op.momentum, 0.1),
        option("affine", op.affine, True),
    )


def _group_norm(op: Any, x: Any) -> Term:
    channels = number(channels_of(x))
    return call(
        "nn.GroupNorm", arg("groups", op.groups), arg("channels", channels),
        option("eps", op.eps, 1e-5),
    )  # fmt: skip


def _layer_norm(op: Any, x: Any) -> Term:
    return call(
        "ChannelNorm" if isinstance(x, FeatureMap) else "nn.LayerNorm",
        arg("channels", number(channels_of(x))),
        option("eps", op.eps, 1e-5),
    )


def _prelu(op: Any, x: Any) -> Term:
    return call("nn.PReLU", arg("slopes", op.num_parameters, 1), option("init", op.init, 0.25))


# --- layers without weights: as modules, and as functions ---------------------------------------


def _window(op: Any) -> list[Term]:
    stride = [] if op.stride == op.kernel else [option("stride", op.stride)]
    return [arg("kernel_size", op.kernel), *stride]


def _maxpool(op: Any, x: Any) -> list[Term]:
    return [
        *_window(op),
        option("padding", op.padding, 0),
        option("dilation", op.dilation, 1),
        option("ceil_mode", op.ceil, False),
    ]


def _avgpool(op: Any, x: Any) -> list[Term]:
    return [
        *_window(op),
        option("padding", op.padding, 0),
        option("ceil_mode", op.ceil, False),
        option("count_include_pad", op.count_include_pad, True),
    ]


def _lrn(op: Any, x: Any) -> list[Term]:
    return [
        arg("size", op.size),
        option("alpha", op.alpha, 1e-4),
        option("beta", op.beta, 0.75),
        option("k", op.k, 1.0),
    ]


def _upsample(op: Any, x: Any) -> list[Term]:
    scale = plain((float(op.scale[0]), float(op.scale[1])))
    corners = [option("align_corners", op.align_corners)] if op.mode == "bilinear" else []
    return [
        option("scale_factor", scale),
        option("mode", op.mode, "nearest"),
        *corners,
    ]


_Arguments = Callable[[Any, Any], list[Term]]


def _none(op: Any, x: Any) -> list[Term]:
    return []


_PLAIN: dict[str, tuple[str, str, _Arguments]] = {
    "relu": ("nn.ReLU", "F.relu", _none),
    "relu6": ("nn.ReLU6", "F.relu6", _none),
    "silu": ("nn.SiLU", "F.silu", _none),
    "hardswish": ("nn.Hardswish", "F.hardswish", _none),
    "hardsigmoid": ("nn.Hardsigmoid", "F.hardsigmoid", _none),
    "sigmoid": ("nn.Sigmoid", "torch.sigmoid", _none),
    "tanh": ("nn.Tanh", "torch.tanh", _none),
    "leaky_relu": ("nn.LeakyReLU", "F.leaky_relu",
                   lambda op, x: [arg("negative_slope", op.negative_slope, 0.01)]),
    "elu": ("nn.ELU", "F.elu", lambda op, x: [arg("alpha", op.alpha, 1.0)]),
    "gelu": ("nn.GELU", "F.gelu",
             lambda op, x: [option("approximate", op.approximate, "none")]),
    "softmax": ("nn.Softmax", "F.softmax", lambda op, x: [option("dim", 1)]),
    "log_softmax": ("nn.LogSoftmax", "F.log_softmax", lambda op, x: [option("dim", 1)]),
    "lrn": ("nn.LocalResponseNorm", "F.local_response_norm", _lrn),
    "dropout": ("nn.Dropout", "F.dropout", lambda op, x: [arg("p", op.p)]),
    "dropout2d": ("nn.Dropout2d", "F.dropout2d", lambda op, x: [arg("p", op.p)]),
    "maxpool": ("nn.MaxPool2d", "F.max_pool2d", _maxpool),
    "avgpool": ("nn.AvgPool2d", "F.avg_pool2d", _avgpool),
    "lppool": ("nn.LPPool2d", "F.lp_pool2d", lambda op, x: [
        arg("p", op.p), *_window(op), option("ceil_mode", op.ceil, False)]),
    "adaptive_avgpool": ("nn.AdaptiveAvgPool2d", "F.adaptive_avg_pool2d",
                         lambda op, x: [arg("output_size", op.output)]),
    "adaptive_maxpool": ("nn.AdaptiveMaxPool2d", "F.adaptive_max_pool2d",
                         lambda op, x: [arg("output_size", op.output)]),
    "gap": ("nn.AdaptiveAvgPool2d", "F.adaptive_avg_pool2d",
            lambda op, x: [arg("output_size", 1)]),
    "gmp": ("nn.AdaptiveMaxPool2d", "F.adaptive_max_pool2d",
            lambda op, x: [arg("output_size", 1)]),
    "upsample": ("nn.Upsample", "F.interpolate", _upsample),
    "pixel_shuffle": ("nn.PixelShuffle", "F.pixel_shuffle",
                      lambda op, x: [arg("factor", op.factor)]),
    "channel_shuffle": ("nn.ChannelShuffle", "F.channel_shuffle",
                        lambda op, x: [arg("groups", op.groups)]),
}  # fmt: skip
"""Layer, function, and the arguments that both take; a function takes the value first."""

_WEIGHTED: dict[str, Callable[[Any, Any], Term]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "bn": _bn,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "prelu": _prelu,
}
_PADS = {"constant": "nn.ConstantPad2d", "reflect": "nn.ReflectionPad2d"}
FOLDED = "folded"
"""The name of a step that other steps have taken in (``folded.py``): a place without work."""
JOINS = ("add", "mul", "mean", "max", "concat", "join")


def supported(op: Op) -> bool:
    """Whether there is a form for it here: the language's own operators."""
    rest = ("droppath", "scale", "crop", "pad", "pad_channels", "slice", "flatten", FOLDED, *JOINS)
    return op.name in _PLAIN or op.name in _WEIGHTED or op.name in rest


def has_weights(node: Node, types: Sequence[Any]) -> bool:
    return bool(node.op.weights(*types))


def bare(op: Op) -> bool:
    """Whether its weight is a parameter of the namespace, and no module."""
    return op.name == "scale" and isinstance(op.values["by"], str)


def drops(op: Op) -> bool:
    """Whether it is a module for its noise alone, without weights."""
    return op.name == "droppath" or (op.name == "join" and op.values["drop"] > 0)


def layer(op: Any, types: Sequence[Any]) -> Term | None:
    """The operator as a module; None for one that is an expression only."""
    x = types[0]
    if op.name in _WEIGHTED:
        return _WEIGHTED[op.name](op, x)
    if op.name in _PLAIN:
        name, _, arguments = _PLAIN[op.name]
        return call(name, *arguments(op, x))
    if op.name == FOLDED:
        return call("nn.Identity")
    if op.name == "flatten" and op.order == "chw":
        return call("nn.Flatten")
    if op.name == "droppath":
        if op.mode == "network":
            return call("NetDropPath", arg("p", op.p))
        return call("DropPath", arg("p", op.p), option("mode", op.mode, "row"))
    if op.name == "join" and op.drop > 0:
        return call(
            "Join", arg("columns", len(types)), arg("drop", op.drop), arg("share", op.share)
        )
    if op.name == "pad":
        return _pad_layer(op)
    return None


def _pad_layer(op: Any) -> Term:
    edges = tuple(op.amount.torch_order)
    same = edges[0] if len(set(edges)) == 1 else edges
    value = [arg("value", op.value)] if op.mode == "constant" else []
    return call(_PADS.get(op.mode, "nn.ReplicationPad2d"), arg("padding", same), *value)


def around(op: Any, x: Any, wire: Term) -> Term:
    """What a weighted layer takes: a convolution with uneven edges pads first."""
    if op.name != "conv" or op.edges(x).symmetric:
        return wire
    return call("F.pad", given(wire), arg("padding", tuple(op.edges(x).torch_order)))


def weight(op: Any, x: Any) -> Term:
    """A bare weight's first value."""
    size = number(channels_of(x))
    ones = (Leaf("channels", size), ", 1, 1") if isinstance(x, FeatureMap) else (
        Leaf("channels", size), ",")  # fmt: skip
    shape = text("(", *ones, ")", tight=False)
    return call("nn.Parameter", given(call("torch.full", given(shape), arg("init", op.init))))


def expression(op: Any, types: Sequence[Any], wire: Term) -> Term:
    """An operator without weights and of one input, as an expression."""
    if op.name in _PLAIN:
        _, name, arguments = _PLAIN[op.name]
        training = [given("self.training")] if op.name.startswith("dropout") else []
        return call(name, given(wire), *arguments(op, types[0]), *training)
    return _MOVES[op.name](op, types[0], wire)


def _flatten(op: Any, x: Any, wire: Term) -> Term:
    if op.order == "chw":
        return text(wire, ".flatten(1)")
    axes = ", ".join(str(1 + "chw".index(axis)) for axis in op.order)
    return text(wire, f".permute(0, {axes}).flatten(1)")


def _crop(op: Any, x: Any, wire: Term) -> Term:
    top, bottom, left, right = op.amount
    rows = index(Leaf("top", top) if top else "", Leaf("bottom", -bottom) if bottom else "")
    columns = index(Leaf("left", left) if left else "", Leaf("right", -right) if right else "")
    return text(wire, "[:, :, ", rows, ", ", columns, "]")


def _pad(op: Any, x: Any, wire: Term) -> Term:
    padding = arg("padding", tuple(op.amount.torch_order))
    value = [option("value", op.value, 0.0)] if op.mode == "constant" else []
    mode = option("mode", op.mode, "constant")
    return call("F.pad", given(wire), padding, mode, *value)


def _pad_channels(op: Any, x: Any, wire: Term) -> Term:
    behind = op.out - op.before - number(channels_of(x))
    edges = text(
        "(0, 0, 0, 0, ", Leaf("before", op.before), ", ", Leaf("behind", behind), ")", tight=False
    )
    return call("F.pad", given(wire), given(edges))


def _slice(op: Any, x: Any, wire: Term) -> Term:
    start = Leaf("start", op.start) if op.start else ""
    stop = Leaf("stop", op.stop) if op.stop != number(channels_of(x)) else ""
    return text(wire, "[:, ", index(start, stop), "]")


def _scale(op: Any, x: Any, wire: Term) -> Term:
    return text(wire, " * ", Leaf("scale", op.by))


_MOVES: dict[str, Callable[[Any, Type, Term], Term]] = {
    "flatten": _flatten,
    "crop": _crop,
    "pad": _pad,
    "pad_channels": _pad_channels,
    "slice": _slice,
    "scale": _scale,
}


def join(op: Op, wires: Sequence[Term]) -> Term:
    """A join of at least two values, few enough for one line."""
    if op.name == "concat":
        listed = [part for wire in wires for part in (", ", wire)][1:]
        return call("torch.cat", given(text("[", *listed, "]", tight=False)), given("1"))
    if op.name == "max":
        return _greatest(wires)
    sign = " * " if op.name == "mul" else " + "
    whole = text(*[part for wire in wires for part in (sign, wire)][1:])
    return text(whole, f" / {len(wires)}") if op.name in ("mean", "join") else whole


def _greatest(wires: Sequence[Term]) -> Term:
    found = wires[0]
    for wire in wires[1:]:
        found = call("torch.maximum", given(found), given(wire))
    return found


def plain_join(op: Op) -> Op:
    """The join that a mean starts with."""
    return Add() if op.name in ("mean", "join") else op


def shares_draw(op: Op) -> bool:
    """Whether its noise looks at numbers that the whole network shares."""
    if op.name == "join":
        return bool(op.values["drop"] > 0)
    return op.name == "droppath" and op.values["mode"] == "network" and op.values["p"] > 0
