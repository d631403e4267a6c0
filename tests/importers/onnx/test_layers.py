"""Each layer from the operators that other programs write it in; all are run beside onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest

from cnndsl.importers.base import ImportProblem, Written
from cnndsl.importers.onnx import import_onnx, read_onnx
from tests.importers.onnx.models import Sketch

Drawing = Callable[[Sketch], str]


def steps(data: bytes) -> str:
    """The steps of the imported net, proven; joins too."""
    written: Written = import_onnx(data)
    return " ".join(node.op.text().replace(" ", "") for node in written.graph if node.inputs)


def ints(*values: int) -> object:
    return numpy.array(values, numpy.int64)


def _shuffle(s: Sketch, *shape: int) -> str:
    parts = s.node("Reshape", "x", ints(0, 2, 2, -1))
    turned = s.node("Transpose", parts, perm=[0, 2, 1, 3])
    return s.node("Reshape", turned, ints(*shape) if shape else s.node("Shape", "x"))


def _hardswish(s: Sketch) -> str:
    inner = s.node("Clip", s.node("Add", "x", 3.0), numpy.float32(0), numpy.float32(6))
    return s.node("Div", s.node("Mul", "x", inner), 6.0)


def _gelu(s: Sketch) -> str:
    erf = s.node("Erf", s.node("Div", "x", numpy.float32(2**0.5)))
    return s.node("Mul", s.node("Mul", "x", s.node("Add", erf, 1.0)), 0.5)


def _layer_norm(s: Sketch) -> str:
    x = s.node("Transpose", "x", perm=[0, 2, 3, 1])
    centred = s.node("Sub", x, s.node("ReduceMean", x, axes=[-1]))
    variance = s.node("ReduceMean", s.node("Pow", centred, 2.0), axes=[-1])
    root = s.node("Sqrt", s.node("Add", variance, numpy.float32(1e-6)))
    normal = s.node("Div", centred, root)
    scaled = s.node("Add", s.node("Mul", normal, s.weights(4)), s.weights(4))
    return s.node("Transpose", scaled, perm=[0, 3, 1, 2])


def _gate(s: Sketch) -> str:
    x = s.node("Flatten", s.node("GlobalAveragePool", "x"))
    x = s.node("Relu", s.node("Gemm", x, s.weights(2, 4), s.weights(2), transB=1))
    x = s.node("Sigmoid", s.node("Gemm", x, s.weights(4, 2), s.weights(4), transB=1))
    return s.node("Mul", "x", s.node("Reshape", x, ints(-1, 4, 1, 1)))


def _head(s: Sketch) -> str:
    x = s.node("Conv", s.node("GlobalAveragePool", "x"), s.weights(4, 4, 1, 1))
    x = s.node("MatMul", s.node("Squeeze", x, ints(2, 3)), s.weights(4, 5))
    return s.node("Softmax", s.node("Add", x, s.weights(5)))


def _norm(s: Sketch, source: str = "x") -> str:
    positive = s.weights(4) ** 2 + 0.5
    return s.node("BatchNormalization", source, s.weights(4), s.weights(4), s.weights(4), positive)


def _affine(s: Sketch, x: str) -> str:
    return s.node("Add", s.node("Mul", x, s.weights(4, 1, 1)), s.weights(1, 4, 1, 1))


def _channels_last(s: Sketch) -> str:
    x = s.node("Transpose", "x", perm=[0, 2, 3, 1])
    x = s.node("Add", s.node("MatMul", x, s.weights(4, 6)), s.weights(6))
    return s.node("Transpose", s.node("Relu", x), perm=[0, 3, 1, 2])


def _tokens(s: Sketch) -> str:
    x = s.node("Transpose", s.node("Reshape", "x", ints(0, 4, 64)), perm=[0, 2, 1])
    x = s.node("MatMul", x, s.weights(4, 6))
    return s.node("Reshape", s.node("Transpose", x, perm=[0, 2, 1]), ints(0, 6, 8, 8))


def _group_norm(s: Sketch) -> str:
    rows = s.node("Reshape", "x", ints(0, 2, -1))
    normal = s.node("InstanceNormalization", rows, numpy.ones(2), numpy.zeros(2))
    return _affine(s, s.node("Reshape", normal, s.node("Shape", "x")))


def _pixel_shuffle(s: Sketch) -> str:
    parts = s.node("Reshape", "x", ints(0, 1, 2, 2, 8, 8))
    turned = s.node("Transpose", parts, perm=[0, 1, 4, 2, 5, 3])
    return s.node("Reshape", turned, ints(0, 1, 16, 16))


def _split(s: Sketch) -> str:
    low = s.node("Slice", "x", ints(0), ints(2), ints(1))
    high = s.node("Slice", "x", ints(2), ints(2**31), ints(1))
    return s.node("Concat", high, low, axis=1)


def _pool(kind: str, **attributes: object) -> Drawing:
    return lambda s: s.node(kind, "x", **attributes)


CASES: dict[str, tuple[Drawing, str]] = {
    "conv": (
        lambda s: s.node("Conv", "x", s.weights(6, 2, 3, 3), s.weights(6), group=2, pads=[1] * 4),
        "conv(6,3,groups=2,bias=yes)",
    ),
    "conv asymmetric": (
        lambda s: s.node("Conv", "x", s.weights(6, 4, 3, 3), pads=[0, 0, 1, 1], strides=[2, 2]),
        "conv(6,3,stride=2,padding=(0,1,0,1),bias=no)",
    ),
    "conv same": (
        lambda s: s.node("Conv", "x", s.weights(6, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
        "conv(6,3,stride=2,padding=same_upper,bias=no)",
    ),
    "conv same lower": (
        lambda s: s.node("Conv", "x", s.weights(6, 4, 4, 4), auto_pad="SAME_LOWER"),
        "conv(6,4,padding=(2,1,2,1),bias=no)",
    ),
    "conv and its bias": (
        lambda s: s.node("Add", s.node("Conv", "x", s.weights(4, 4, 1, 1)), s.weights(1, 4, 1, 1)),
        "conv(4,1,bias=yes)",
    ),
    "transposed": (
        lambda s: s.node(
            "ConvTranspose", "x", s.weights(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 0, 0]
        ),
        "conv_transpose(3,3,stride=2,padding=1,output_padding=1,bias=no)",
    ),
    "transposed and cut": (
        lambda s: s.node("ConvTranspose", "x", s.weights(4, 3, 3, 3), pads=[0, 0, 1, 1]),
        "conv_transpose(3,3,bias=no) crop((0,1,0,1))",
    ),
    "norm": (_norm, "bn"),
    "norm and Scale": (lambda s: _affine(s, _norm(s)), "bn"),
    "norm that others read": (
        lambda s: (lambda n: s.node("Sum", _affine(s, n), n))(_norm(s)),
        "bn bn add",
    ),
    "Mul and Add": (lambda s: _affine(s, "x"), "bn"),
    "Mul": (lambda s: s.node("Mul", "x", s.weights(4, 1, 1)), "scale"),
    "number": (lambda s: s.node("Neg", s.node("Div", "x", 4.0)), "scale(by=-0.25)"),
    "head": (_head, "gap conv(4,1,bias=no) flatten linear(5,bias=yes) softmax"),
    "gate": (_gate, "gap linear(2,bias=yes) relu linear(4,bias=yes) sigmoid mul"),
    "channels last": (_channels_last, "linear(6,bias=yes) relu"),
    "tokens": (_tokens, "linear(6,bias=no)"),
    "hwc": (
        lambda s: s.node(
            "MatMul",
            s.node("Reshape", s.node("Transpose", "x", perm=[0, 2, 3, 1]), ints(-1, 256)),
            s.weights(256, 3),
        ),
        "flatten(order=hwc) linear(3,bias=no)",
    ),
    "shuffle": (_shuffle, "channel_shuffle(2)"),
    "pixel shuffle": (_pixel_shuffle, "pixel_shuffle(2)"),
    "depth to space": (
        lambda s: s.node("DepthToSpace", s.node("Concat", "x", "x", axis=1), blocksize=2),
        "concat channel_shuffle(4) pixel_shuffle(2)",
    ),
    "silu": (lambda s: s.node("Mul", "x", s.node("Sigmoid", "x")), "silu"),
    "hardswish": (_hardswish, "hardswish"),
    "hardsigmoid": (lambda s: s.node("HardSigmoid", "x"), "scale(by=1.2) hardsigmoid"),
    "relu6": (lambda s: s.node("Clip", "x", numpy.float32(0), numpy.float32(6)), "relu6"),
    "hard tanh": (
        lambda s: s.node("Clip", "x", numpy.float32(-1), numpy.float32(1)),
        "scale(by=3.0) hardsigmoid bn",
    ),
    "gelu": (_gelu, "gelu"),
    "layer norm": (_layer_norm, "layer_norm(eps=1e-06)"),
    "group norm": (_group_norm, "group_norm(2)"),
    "prelu": (lambda s: s.node("PRelu", "x", s.weights(4, 1, 1)), "prelu(num_parameters=4)"),
    "gap": (lambda s: s.node("ReduceMean", "x", axes=[2, 3]), "gap"),
    "gap without axes": (
        lambda s: s.node("ReduceMean", "x", axes=[-1, -2], keepdims=0),
        "gap flatten",
    ),
    "border of maxpool": (
        _pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        "maxpool(3,stride=2,ceil=yes)",
    ),
    "border before maxpool": (
        _pool("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
        "pad((1,0,1,0),value=-3.4e+38) maxpool(2,stride=1)",
    ),
    "avgpool": (
        _pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        "avgpool(3,stride=1,padding=1,count_include_pad=no)",
    ),
    "avgpool counting": (
        _pool("AveragePool", kernel_shape=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1),
        "pad((0,1,0,1)) avgpool(2,stride=1)",
    ),
    "avgpool over all": (_pool("AveragePool", kernel_shape=[9, 9], pads=[0, 0, 1, 1]), "gap"),
    "lrn": (_pool("LRN", size=3, alpha=0.1), "lrn(3,alpha=0.1)"),
    "slices": (_split, "slice(2,4) slice(0,2) concat"),
    "slice of what is shuffled": (
        lambda s: s.node("Slice", _shuffle(s), ints(1), ints(3), ints(1)),
        "channel_shuffle(2) slice(1,3)",
    ),
    "crop": (
        lambda s: s.node("Slice", "x", ints(1, 0), ints(-1, 2**40), ints(2, 3)),
        "crop((1,0))",
    ),
    "pad": (
        lambda s: s.node("Pad", "x", ints(0, 0, 1, 0, 0, 0, 0, 2), mode="reflect"),
        "pad((1,0,0,2),mode=reflect)",
    ),
    "channels of zeros": (
        lambda s: s.node("Pad", "x", ints(0, 1, 0, 0, 0, 2, 0, 0)),
        "pad_channels(7,before=1)",
    ),
    "nearest": (
        lambda s: s.node("Resize", "x", "", numpy.float32([1, 1, 2, 2]), mode="nearest"),
        "upsample(2)",
    ),
    "bilinear": (
        lambda s: s.node("Resize", "x", "", "", ints(1, 4, 16, 24), mode="linear"),
        "upsample((2,3),mode=bilinear)",
    ),
    "sum of three": (
        lambda s: s.node("Add", s.node("Add", "x", s.node("Relu", "x")), "x"),
        "relu add",
    ),
    "difference": (lambda s: s.node("Sub", "x", s.node("Relu", "x")), "relu scale(by=-1.0) add"),
    "constant": (lambda s: s.node("Sub", 1.0, "x"), "bn"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_layer_is_recognised(name: str) -> None:
    draw, expected = CASES[name]
    sketch = Sketch()
    assert steps(sketch.bytes(draw(sketch), {"x": (1, 4, 8, 8)})) == expected


def test_open_sizes_stay_open() -> None:
    s = Sketch()
    x = s.node("Conv", "x", s.weights(4, 4, 3, 3), strides=[2, 2], pads=[1] * 4)
    x = s.node("Resize", x, "", numpy.float32([1, 1, 2, 2]), mode="nearest")
    x = s.node("Add", "x", _shuffle_of(s, x))
    data = s.bytes(x, {"x": ("N", 4, "height", "?")})
    graph = read_onnx(data).graph
    assert graph.facts.symbols == ["H", "W"]
    assert graph.facts.smallest() == {"H": 2, "W": 2}, "the sum holds for even sizes"
    assert steps(data) == "conv(4,3,stride=2,bias=no) upsample(2) channel_shuffle(2) add"


def _shuffle_of(s: Sketch, x: str) -> str:
    """A channel shuffle whose sizes are computed from the shape."""
    shape = s.node("Shape", x)
    height, width = (s.node("Gather", shape, ints(k), axis=0) for k in (2, 3))
    batch = s.node("Gather", shape, ints(0), axis=0)
    wide = s.node("Concat", batch, ints(2), ints(2), height, width, axis=0)
    turned = s.node("Transpose", s.node("Reshape", x, wide), perm=[0, 2, 1, 3, 4])
    return s.node("Reshape", turned, s.node("Concat", batch, ints(-1), height, width, axis=0))


OLD: dict[str, tuple[int, Drawing, str]] = {
    "broadcast": (6, lambda s: s.node("Mul", "x", s.weights(4), broadcast=1, axis=1), "scale"),
    "shape as attribute": (1, lambda s: s.node("Reshape", "x", shape=[0, -1]), "flatten"),
    "dropout": (6, lambda s: s.node("Dropout", "x", ratio=0.25), "dropout(p=0.25)"),
    "softmax from axis 1": (
        9,
        lambda s: s.node("Softmax", s.node("GlobalMaxPool", "x")),
        "gmp softmax",
    ),
    "clip": (6, lambda s: s.node("Clip", "x", min=0.0, max=6.0), "relu6"),
    "pad": (2, lambda s: s.node("Pad", "x", pads=[0, 0, 1, 1, 0, 0, 1, 1]), "pad(1)"),
    "upsample": (9, lambda s: s.node("Upsample", "x", numpy.float32([1, 1, 3, 3])), "upsample(3)"),
    "spatial": (7, lambda s: _norm(s), "bn"),
}


@pytest.mark.parametrize("name", OLD)
def test_old_files_are_read(name: str) -> None:
    opset, draw, expected = OLD[name]
    sketch = Sketch(opset)
    graph = read_onnx(sketch.bytes(draw(sketch), {"x": (1, 4, 8, 8)}, listed=True)).graph
    assert " ".join(n.op.text() for n in graph if n.inputs) == expected


def test_an_input_with_channels_last_is_turned() -> None:
    s = Sketch()
    x = s.node("Transpose", s.node("Sub", "x", numpy.float32([1, 2, 3])), perm=[0, 3, 1, 2])
    data = s.bytes(s.node("Conv", x, s.weights(2, 3, 1, 1)), {"x": ("N", 6, 5, 3)})
    written = import_onnx(data)
    assert str(written.graph.inputs[0].type) == "[3, 6, 5]"
    assert "channels first" in written.notes[0]


def test_an_output_in_another_order_is_turned() -> None:
    s = Sketch()
    x = s.node("Transpose", s.node("Reshape", "x", ints(0, 4, -1)), perm=[0, 2, 1])
    written = import_onnx(s.bytes(s.node("Softmax", x), {"x": (2, 4, 8, 6)}))
    assert [str(written.graph.nodes[o.node].type) for o in written.graph.outputs] == ["[4, 8, 6]"]
    assert written.notes


REFUSED: dict[str, tuple[Drawing, str]] = {
    "operator": (lambda s: s.node("Softplus", "x", name="act"), "'act' (Softplus)"),
    "attention": (lambda s: s.node("MatMul", "x", "x"), "not a constant"),
    "constant per position": (lambda s: s.node("Add", "x", s.weights(1, 4, 8, 8)), "per channel"),
    "other axis": (lambda s: s.node("Concat", "x", "x", axis=2), "axis 2"),
    "erf": (lambda s: s.node("Erf", "x"), "gelu"),
    "mean": (lambda s: s.node("ReduceMean", "x", axes=[1]), "layer normalisation"),
    "even lrn": (_pool("LRN", size=2), "size=2"),
    "batch": (
        lambda s: s.node("GlobalMaxPool", s.node("Transpose", "x", perm=[1, 0, 2, 3])),
        "image",
    ),
    "group": (lambda s: s.node("Conv", "x", s.weights(3, 2, 1, 1), group=2), "groups=2"),
    "weights": (lambda s: s.node("Conv", "x", s.weights(3, 3, 1, 1)), "weight is [3, 3, 1, 1]"),
    "large": (lambda s: s.node("Conv", "x", s.weights(3, 4, 9, 9)), "leaves no height"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_expressed_is_named(name: str) -> None:
    draw, said = REFUSED[name]
    sketch = Sketch()
    data = sketch.bytes(sketch.node("Relu", draw(sketch)))
    with pytest.raises(ImportProblem) as refusal:
        import_onnx(data)
    assert said in str(refusal.value)


def test_a_number_in_a_map_of_one_channel_is_no_layer() -> None:
    s = Sketch()
    data = s.bytes(s.node("Mul", "x", s.tensor(numpy.float32(3), "half")), {"x": (1, 1, 8, 8)})
    assert steps(data) == "scale(by=3.0)"
