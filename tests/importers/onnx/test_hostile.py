"""Hostile files of known kinds: each once hung, read another file, or raised something else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto

from cnndsl.importers.base import ImportProblem, _compare
from cnndsl.importers.onnx import import_onnx, read_onnx
from cnndsl.importers.onnx.model import read_model
from cnndsl.limits import DEFAULT_LIMITS
from tests.importers.onnx.models import Sketch

_SECONDS = 1.0


def _sketch(kind: str, *inputs: Any, **attributes: Any) -> bytes:
    sketch = Sketch()
    return sketch.bytes(sketch.node(kind, *inputs, **attributes))


def _empty() -> Any:
    return numpy.zeros(0, "float32")


def _whole(*values: int) -> Any:
    return numpy.array(values, numpy.int64)


# --- what the runtime gets ----------------------------------------------------------------------


def _with_dead(listed: bool) -> ModelProto:
    """A Relu, beside a Neg of a weight that no output needs."""
    sketch = Sketch()
    output = sketch.node("Relu", "x")
    sketch.node("Neg", sketch.tensor(numpy.ones(4), "dead"))
    return ModelProto.FromString(sketch.bytes(output, listed=listed))


@pytest.mark.parametrize("listed", [False, True])
def test_the_runtime_gets_nothing_that_no_output_needs(listed: bool) -> None:
    _, proto = read_model(_with_dead(listed).SerializeToString(), DEFAULT_LIMITS)
    assert [node.op_type for node in proto.graph.node] == ["Relu"]
    assert not proto.graph.initializer
    assert [value.name for value in proto.graph.input] == ["x"]
    onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def test_what_is_needed_stays_in_order() -> None:
    sketch = Sketch()
    x = "x"
    for _ in range(3):
        sketch.node("Neg", x)
        x = sketch.node("Conv", x, sketch.weights(4, 4, 1, 1))
    model, proto = read_model(sketch.bytes(x), DEFAULT_LIMITS)
    assert [node.output[0] for node in proto.graph.node] == ["v1", "v3", "v5"]
    assert [tensor.name for tensor in proto.graph.initializer] == list(model.constants)
    assert import_onnx(sketch.bytes(x)).difference.runs


@pytest.mark.parametrize("folder", [None, "."])
def test_weights_in_another_file_are_not_looked_for_where_nobody_reads_them(
    folder: str | None,
) -> None:
    proto = _with_dead(listed=False)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    model, kept = read_model(proto.SerializeToString(), DEFAULT_LIMITS, folder)
    assert not model.constants and not kept.graph.initializer, "nor does the runtime"


# --- time ---------------------------------------------------------------------------------------

SLOW: dict[str, Callable[[], bytes]] = {
    "a huge factor": lambda: _sketch("Resize", "x", "", numpy.array([1, 1, 1e9, 2], "float32")),
    "many axes": lambda: _sketch("Unsqueeze", "x", _whole(*range(4, 16_004))),
    "many axes of a constant": lambda: _sketch(
        "Unsqueeze", numpy.ones(1), _whole(*range(1, 16_001))
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_it_is_refused_in_no_time(name: str) -> None:
    data = SLOW[name]()
    start = time.process_time()
    with pytest.raises(ImportProblem) as caught:
        read_onnx(data)
    assert time.process_time() - start < _SECONDS and len(str(caught.value)) < 300


# --- other errors -------------------------------------------------------------------------------


def _of_nothing(kind: str) -> bytes:
    sketch = Sketch()
    return sketch.bytes(sketch.node("Add", "x", sketch.node(kind)))


def _second(*outputs: str) -> bytes:
    """A Relu with a second output, which is the network's."""
    proto = ModelProto.FromString(_sketch("Relu", "x"))
    proto.graph.node[0].output[:] = outputs
    proto.graph.output[0].name = outputs[-1]
    return bytes(proto.SerializeToString())


def _integer_value() -> bytes:
    sketch = Sketch()
    filled = sketch.node("ConstantOfShape", _whole(1), value=3)
    return sketch.bytes(sketch.node("Add", "x", filled))


def _scales(value: float) -> bytes:
    return _sketch("Resize", "x", "", numpy.array([1, 1, value, 2], "float32"))


def _no_utf8() -> bytes:
    data = _sketch("Relu", "x", name="qqqq")
    assert data.count(b"qqqq") == 1
    return data.replace(b"qqqq", b"\xff\xff\xff\xff")


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "Sum of nothing": (lambda: _of_nothing("Sum"), "no inputs"),
    "Max of nothing": (lambda: _of_nothing("Max"), "no inputs"),
    "an output that is not given": (lambda: _second("", "y"), "output 'y' is used"),
    "a second output": (lambda: _second("a", "y"), "output 'y' is used"),
    "an integer for a tensor": (_integer_value, "`value` is not a tensor"),
    "an empty border": (
        lambda: _sketch("Pad", "x", _whole(0, 0, 1, 1, 0, 0, 1, 1), _empty()),
        "not one finite number",
    ),
    "an empty ratio": (lambda: _sketch("Dropout", "x", _empty()), "not one finite number"),
    "a NaN factor": (lambda: _scales(numpy.nan), "resizes by nan"),
    "an infinite factor": (lambda: _scales(numpy.inf), "resizes by inf"),
    "a name of other bytes": (_no_utf8, "no UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_it_is_told_in_a_sentence(name: str) -> None:
    make, told = BAD[name]
    with pytest.raises(ImportProblem, match=told):
        read_onnx(make())


# --- numbers that are none ----------------------------------------------------------------------

_NAN, _INF = float("nan"), float("inf")


def _compared(wanted: list[float], own: list[float]) -> None:
    single = torch.tensor(own)
    _compare("out", torch.tensor(wanted), single, single.double(), 0.0)


def test_infinities_and_nan_are_told_apart() -> None:
    same = [1.0, _NAN, _INF, -_INF]
    _compared(same, same)
    for other in ([1.0, _INF, _INF, -_INF], [1.0, _NAN, -_INF, -_INF], [1.0, _NAN, _INF, _NAN]):
        with pytest.raises(ImportProblem, match="not finite elsewhere"):
            _compared(same, other)


def test_weights_that_are_nan_prove_nothing() -> None:
    data = _sketch("Conv", "x", numpy.full((2, 4, 1, 1), _NAN))
    with pytest.raises(ImportProblem, match="no finite number"):
        import_onnx(data)
