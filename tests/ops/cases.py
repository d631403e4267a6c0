"""Instances of every operator, and the inputs to try them on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from cnndsl.ops import Op, catalogue, find_op
from cnndsl.ops.types import FeatureMap, Vector

MAPS = (FeatureMap(12, 9, 7), FeatureMap(12, 12, 16), FeatureMap(12, 15, 8))
VECTORS = (Vector(12),)

INSTANCES: dict[str, tuple[str, ...]] = {
    "conv": (
        "conv(8, 3)",
        "conv(6, (3, 5), stride=2, bias=no)",
        "conv(8, 1, stride=(2, 3), groups=4)",
        "conv(12, 3, dilation=2, groups=12, bias=yes)",
        "conv(8, 2, padding=0)",
        "conv(8, 4, stride=2, padding=(1, 2))",
        "conv(8, 3, stride=2, padding=(0, 1, 2, 3))",
        "conv(8, 3, stride=2, padding=same_upper)",
        "conv(8, (2, 5), stride=(3, 1), padding=same_upper, dilation=(1, 2), groups=2)",
    ),
    "conv_transpose": (
        "conv_transpose(8, 2, stride=2)",
        "conv_transpose(6, (3, 4), stride=(2, 3), padding=1, output_padding=(1, 2), groups=3)",
        "conv_transpose(4, 3, dilation=2, bias=no)",
    ),
    "linear": ("linear(10)", "linear(5, bias=no)"),
    "bn": ("bn", "bn(eps=0.001, momentum=0.01)", "bn(affine=no)"),
    "group_norm": ("group_norm(4)", "group_norm(12, eps=1e-06)"),
    "layer_norm": ("layer_norm", "layer_norm(eps=1e-06)"),
    "lrn": ("lrn(5)", "lrn(4, alpha=0.1, beta=0.5, k=2)"),
    "relu": ("relu",),
    "relu6": ("relu6",),
    "leaky_relu": ("leaky_relu", "leaky_relu(negative_slope=0.2)"),
    "prelu": ("prelu", "prelu(num_parameters=12, init=-0.5)"),
    "elu": ("elu", "elu(alpha=0.5)"),
    "gelu": ("gelu", "gelu(approximate=tanh)"),
    "silu": ("silu",),
    "hardswish": ("hardswish",),
    "hardsigmoid": ("hardsigmoid",),
    "sigmoid": ("sigmoid",),
    "tanh": ("tanh",),
    "softmax": ("softmax",),
    "log_softmax": ("log_softmax",),
    "maxpool": (
        "maxpool(2)",
        "maxpool(3, stride=2, padding=1)",
        "maxpool((3, 2), stride=(2, 3), ceil=yes)",
        "maxpool(4, stride=1, padding=2, dilation=2)",
    ),
    "avgpool": (
        "avgpool(2)",
        "avgpool(3, stride=2, padding=1, count_include_pad=no)",
        "avgpool((2, 3), stride=3, ceil=yes)",
    ),
    "lppool": ("lppool(2, 2)", "lppool(1.5, 3, stride=2, ceil=yes)"),
    "adaptive_avgpool": ("adaptive_avgpool(3)", "adaptive_avgpool((2, 5))"),
    "adaptive_maxpool": ("adaptive_maxpool(3)", "adaptive_maxpool((2, 5))"),
    "gap": ("gap",),
    "gmp": ("gmp",),
    "upsample": (
        "upsample(2)",
        "upsample((2, 3), mode=bilinear)",
        "upsample(3, mode=bilinear, align_corners=yes)",
    ),
    "pixel_shuffle": ("pixel_shuffle(2)", "pixel_shuffle(1)"),
    "channel_shuffle": ("channel_shuffle(3)",),
    "crop": ("crop(1)", "crop((0, 2))", "crop((1, 2, 0, 3))"),
    "pad": (
        "pad(1)",
        "pad((1, 0, 2, 3), value=-0.5)",
        "pad((2, 1), mode=reflect)",
        "pad(3, mode=replicate)",
    ),
    "pad_channels": ("pad_channels(20)", "pad_channels(20, before=4)", "pad_channels(12)"),
    "slice": ("slice(0, 12)", "slice(3, 7)"),
    "split": ("split(3)",),
    "flatten": ("flatten", "flatten(order=hwc)", "flatten(order=whc)"),
    "dropout": ("dropout", "dropout(p=0.2)"),
    "dropout2d": ("dropout2d", "dropout2d(p=0.2)"),
    "droppath": ("droppath(0.2)", "droppath(0.5, mode=batch)", "droppath(0.5, mode=network)"),
    "scale": ("scale", "scale(init=1e-06)", "scale(by=0.17)", "scale(by=-2)"),
    "add": ("add",),
    "concat": ("concat",),
    "mul": ("mul",),
    "mean": ("mean",),
    "max": ("max",),
    "join": ("join", "join(drop=0.15)", "join(drop=0.5, share=1)"),
}


def read(text: str) -> Op:
    """The operator that ``text`` spells: for single calls the syntax is also Python's."""
    tree = ast.parse(text, mode="eval").body
    args, keywords = (tree.args, tree.keywords) if isinstance(tree, ast.Call) else ([], [])
    name = tree.func if isinstance(tree, ast.Call) else tree
    assert isinstance(name, ast.Name)
    cls = find_op(name.id)
    assert cls is not None
    return cls(*map(_value, args), **{str(k.arg): _value(k.value) for k in keywords})


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand)
    if isinstance(node, ast.Name):
        return {"yes": True, "no": False}.get(node.id, node.id)
    assert isinstance(node, ast.Constant)
    return Fraction(repr(node.value))  # numbers of the text are exact


def built_in() -> dict[str, type[Op]]:
    """The catalogue without what tests and plug-ins declared."""
    return {n: op for n, op in catalogue().items() if op.__module__.startswith("cnndsl.ops.")}


def operands(op: Op) -> Iterator[tuple[FeatureMap | Vector, ...]]:
    """Inputs that the operator takes: one, or for joins one to four."""
    inputs = (*MAPS, *(VECTORS if Vector in op.on else ()))
    for index, x in enumerate(inputs):
        yield (x,) * (index + 1 if op.join else 1)
    if op.name == "concat":
        yield FeatureMap(3, 4, 5), FeatureMap(1, 4, 5), FeatureMap(7, 4, 5)
    if op.name == "mul":
        yield FeatureMap(3, 4, 5), FeatureMap(3, 1, 1), FeatureMap(3, 4, 5)


CASES = [
    (text, xs) for texts in INSTANCES.values() for text in texts for xs in operands(read(text))
]
IDS = [f"{text} on {' '.join(map(str, xs))}" for text, xs in CASES]
