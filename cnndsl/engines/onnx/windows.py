"""Windows, borders and neighbourhoods in ONNX: the rules that are more than one line."""

from __future__ import annotations

from typing import Any

from cnndsl.engines.onnx.model import INT64, Dims, Rule, Types, Weights, Writer, product
from cnndsl.ops import norm, pool, reshape
from cnndsl.ops.types import FeatureMap, channels_of, number


def _twice(op: Any) -> tuple[int, ...]:
    return (*op.padding, *op.padding)


def maxpool(op: pool.MaxPool, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    return writer.node(
        "MaxPool",
        xs,
        kernel_shape=op.kernel,
        strides=op.stride,
        dilations=op.dilation,
        pads=_twice(op),
        ceil_mode=int(op.ceil),
    )


def avgpool(op: pool.AvgPool, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    return writer.node(
        "AveragePool",
        xs,
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=_twice(op),
        ceil_mode=int(op.ceil),
        count_include_pad=int(op.count_include_pad),
    )


def lppool(op: pool.LPPool, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    """ONNX takes magnitudes first and whole exponents only; PyTorch neither."""
    if not op.ceil and op.p == int(op.p) and int(op.p) % 2 == 0:
        return writer.node("LpPool", xs, kernel_shape=op.kernel, strides=op.stride, p=int(op.p))
    x, dims = types[0], writer.dims(op.shape(types[0]))  # type: ignore[arg-type]
    exponent, inverse = (writer.constant(p, "float32") for p in (op.p, 1 / op.p))
    count = writer.constant(op.kernel[0] * op.kernel[1], "float32")
    powers = writer.node("Pow", [*xs, exponent], writer.dims(x))
    window: dict[str, Any] = {"kernel_shape": op.kernel, "strides": op.stride}
    mean = writer.node("AveragePool", [powers], dims, ceil_mode=int(op.ceil), **window)
    total = writer.node("Mul", [mean, count], dims)
    return writer.node("Pow", [total, inverse])


# --- as many windows as the output has positions -------------------------------------------------


def adaptive(kind: str) -> Rule:
    """One window for all; windows of one size where they are; else one by one, per axis."""

    def rule(op: Any, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
        if op.output == (1, 1):
            return writer.node(f"Global{kind}", xs)
        x = types[0]
        assert isinstance(x, FeatureMap)
        known = [n for n in (x.height, x.width) if isinstance(n, int)]
        if len(known) == 2 and not any(n % k for n, k in zip(known, op.output, strict=True)):
            kernel = [n // k for n, k in zip(known, op.output, strict=True)]
            return writer.node(kind, xs, kernel_shape=kernel, strides=kernel)
        reduction = "ReduceMean" if kind == "AveragePool" else "ReduceMax"
        dims = writer.dims(x)
        rows = _windows(reduction, xs[0], 2, op.output[0], dims, writer)
        return _windows(
            reduction, rows, 3, op.output[1], (*dims[:2], op.output[0], dims[3]), writer
        )

    return rule


def _windows(kind: str, x: str, axis: int, count: int, dims: Dims, writer: Writer) -> str:
    """``count`` windows along one axis, reduced: window i is [floor(i*n/k), ceil((i+1)*n/k)).

    Windows are rectangles, so a mean of means (all of one count) is the mean.
    """
    size, here = dims[axis], writer.constant([axis])
    bounds = _fixed(size, count, writer) if isinstance(size, int) else None
    bounds = bounds or _computed(x, axis, count, writer)
    pieces = []
    for index, (start, end) in enumerate(bounds):
        window = (*dims[:axis], _extent(size, index, count), *dims[axis + 1 :])
        single = (*dims[:axis], 1, *dims[axis + 1 :])
        cut = writer.node("Slice", [x, start, end, here], window)
        pieces.append(writer.node(kind, [cut, here], single, keepdims=1))
    return writer.node("Concat", pieces, (*dims[:axis], count, *dims[axis + 1 :]), axis=axis)


def _extent(size: int | str, index: int, count: int) -> int | str:
    if isinstance(size, int):
        return -(-(index + 1) * size // count) - index * size // count
    return f"ceil({index + 1}*({size})/{count}) - floor({index}*({size})/{count})"


def _fixed(size: int, count: int, writer: Writer) -> list[tuple[str, str]]:
    return [
        (writer.constant([i * size // count]), writer.constant([-(-(i + 1) * size // count)]))
        for i in range(count)
    ]


def _computed(x: str, axis: int, count: int, writer: Writer) -> list[tuple[str, str]]:
    """The same from the size that the value turns out to have: whole numbers divide by floor."""
    size = writer.node("Shape", [x], (1,), INT64, start=axis, end=axis + 1)
    numbers, parts = (count,), writer.constant([count])
    first = writer.node("Mul", [size, writer.constant(range(count))], numbers, INT64)
    starts = writer.node("Div", [first, parts], numbers, INT64)
    last = writer.node("Mul", [size, writer.constant(range(1, count + 1))], numbers, INT64)
    raised = writer.node("Add", [last, writer.constant([count - 1])], numbers, INT64)
    ends = writer.node("Div", [raised, parts], numbers, INT64)
    found = []
    for index in range(count):
        which = writer.constant([index])
        one, two = (writer.node("Gather", [b, which], (1,), INT64) for b in (starts, ends))
        found.append((one, two))
    return found


# --- borders ------------------------------------------------------------------------------------


def pad(op: reshape.Pad, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    top, bottom, left, right = op.amount
    amounts = writer.constant([0, 0, top, left, 0, 0, bottom, right])
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}[op.mode]
    value = [writer.constant(op.value, "float32")] if op.mode == "constant" else []
    return writer.node("Pad", [*xs, amounts, *value], mode=mode)


def pad_channels(
    op: reshape.PadChannels, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    behind = op.out - op.before - number(channels_of(types[0]))  # type: ignore[arg-type]
    amounts = writer.constant([0, op.before, 0, 0, 0, behind, 0, 0])
    return writer.node("Pad", [*xs, amounts, writer.constant(0.0, "float32")], mode="constant")


def crop(op: reshape.Crop, xs: list[str], types: Types, weights: Weights, writer: Writer) -> str:
    top, bottom, left, right = op.amount
    far = 2**62
    starts, axes = writer.constant([top, left]), writer.constant([2, 3])
    ends = writer.constant([-bottom if bottom else far, -right if right else far])
    return writer.node("Slice", [*xs, starts, ends, axes])


# --- neighbouring channels ----------------------------------------------------------------------


def lrn(
    op: norm.LocalResponseNorm, xs: list[str], types: Types, weights: Weights, writer: Writer
) -> str:
    """An even number of neighbours has no middle: PyTorch and ONNX round it differently."""
    if op.size % 2:
        return writer.node("LRN", xs, size=op.size, alpha=op.alpha, beta=op.beta, bias=op.k)
    dims = batch, channels, height, width = writer.dims(types[0])
    before, after = op.size // 2, (op.size - 1) // 2
    long, positions = int(channels) + op.size - 1, product(height, width)
    rows, row = (batch, 1, channels, positions), writer.constant([0, 1, channels, -1])
    alpha, beta, k = (writer.constant(v, "float32") for v in (op.alpha, op.beta, op.k))
    squares = writer.node("Mul", [*xs, *xs], dims)
    flat = writer.node("Reshape", [squares, row], rows)
    border = writer.constant([0, 0, before, 0, 0, 0, after, 0])
    padded = writer.node("Pad", [flat, border], (batch, 1, long, positions))
    mean = writer.node("AveragePool", [padded], rows, kernel_shape=(op.size, 1))
    scaled = writer.node("Mul", [mean, alpha], rows)
    raised = writer.node("Add", [scaled, k], rows)
    shape = writer.node("Shape", xs, (4,), INT64)
    energy = writer.node("Reshape", [raised, shape], dims)
    return writer.node("Div", [*xs, writer.node("Pow", [energy, beta], dims)])
