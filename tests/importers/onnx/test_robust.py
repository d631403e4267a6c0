"""Damaged and hostile files: one clear sentence, nothing else, in no time."""

from __future__ import annotations

import random
import time
from functools import cache

import pytest

from cnndsl import loads
from cnndsl.graph.printer import print_graph
from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx import read_onnx
from tests.importers.onnx.hostile import changed, damaged
from tests.importers.onnx.models import Sketch, exported

_SECONDS = 2.0
_TEXTS = (
    """net A: [3, H, W] = a: conv(8, 3) -> b: bn -> silu -> (id * (gap -> conv(8, 1) -> sigmoid))
      -> upsample(2) -> maxpool(3, stride=2) -> gap -> flatten -> linear(4) -> softmax""",
    """net B: [4, 8, 8] = channel_shuffle(2) -> slice(0, 2) -> pad((0, 1, 0, 1)) -> lrn(3)
      -> conv_transpose(4, 2, stride=2) -> layer_norm -> gelu -> (id + conv(4, 1)) -> hardswish
      -> group_norm(2) -> avgpool(2) -> pixel_shuffle(2) -> flatten -> linear(3)""",
)


@cache
def _models() -> tuple[bytes, ...]:
    old = Sketch(opset=6)
    x = old.node("Conv", "x", old.weights(4, 4, 3, 3), kernel_shape=[3, 3], auto_pad="SAME_UPPER")
    x = old.node("Mul", x, old.weights(4), broadcast=1, axis=1)
    x = old.node("Reshape", old.node("Relu", x), numpy_shape(0, -1))
    x = old.node("Gemm", x, old.weights(3, 256), old.weights(3), transB=1)
    return (*map(exported, _TEXTS), old.bytes(x, listed=True))


def numpy_shape(*sizes: int) -> object:
    import numpy

    return numpy.array(sizes, numpy.int64)


def _fuzz(seeds: range) -> int:
    """How many of the damaged files are still networks."""
    read = 0
    for seed in seeds:
        rng = random.Random(seed)
        data = rng.choice(_models())
        data = damaged(data, rng) if seed % 3 == 0 else changed(data, rng)
        start = time.process_time()
        try:
            graph = read_onnx(data).graph
        except ImportProblem as problem:
            assert str(problem), seed
        else:
            read += 1
            assert loads(print_graph(graph)).net().ok, seed
        assert time.process_time() - start < _SECONDS, seed
    return read


def test_damaged_files_give_a_sentence() -> None:
    assert _fuzz(range(300)) > 20, "a fuzzer whose files are all refused at once looks at little"


@pytest.mark.slow
def test_many_damaged_files_give_a_sentence() -> None:
    _fuzz(range(300, 20_300))


def test_a_stride_past_all_sizes_gives_a_sentence() -> None:
    sketch = Sketch()
    x = sketch.node("DepthToSpace", "x", blocksize=2)
    x = sketch.node("MaxPool", x, kernel_shape=[2, 2], strides=[2**31 - 1, 1])
    with pytest.raises(ImportProblem, match=r"MaxPool.*repeats only every 2147483647 values"):
        read_onnx(sketch.bytes(x, {"x": ("N", 4, "H", "W")}))
