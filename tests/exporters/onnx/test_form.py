"""What stands in a model: names of the text, shapes, its origin; for every net of the zoo."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, shape_inference

import cnndsl
from cnndsl.checkpoints.origin import Origin
from cnndsl.engines.onnx import model as onnx_model
from cnndsl.exporters.onnx import VALID, export_onnx
from cnndsl.graph.cost import inference_nodes, weights_of
from cnndsl.passes.flow import Flow
from tests.cli.runner import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.cnn"))
SMALL = "net Net: [3, H, W] = conv1: conv(4, 3) -> bn1: bn -> relu -> block: (conv(4, 1) -> prelu)"


def hollow(self: Any, weight: Any) -> str:
    """Stands in for ``Writer.tensor``: shapes without numbers."""
    self.initializers[weight.name] = TensorProto(
        name=weight.name, dims=tuple(weight.value.shape), data_type=TensorProto.FLOAT
    )
    return str(weight.name)


def structure(net: cnndsl.Compilation) -> Any:
    flow = Flow(net.graph)
    empty = {
        step.id: {k: torch.empty(e.shape, device="meta") for k, e in step.weights.items()}
        for step in flow
    }
    return onnx_model.onnx_model(flow, empty)


def keys(net: cnndsl.Compilation) -> dict[str, tuple[int, ...]]:
    """Shapes by key of the ``state_dict``, of what inference reads."""
    running = inference_nodes(net.graph)
    return {
        ".".join(filter(None, (node.path, weight.name))): weight.shape
        for node in net.graph
        if node.id in running
        for weight in weights_of(net.graph, node)
        if weight.name != "num_batches_tracked"
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_nets_of_the_zoo(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest of each file."""
    check_nets(path, 1, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_net_of_the_zoo(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_nets(path, 1000, monkeypatch)


def check_nets(path: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_model.Writer, "tensor", hollow)
    program = cnndsl.load(path)
    nets = [net for name in program.nets if not (net := program.net(name)).open_choices]
    for net in sorted(nets, key=lambda net: len(net.graph))[:most]:  # a space is no network
        check_structure(net, structure(net))


def check_structure(net: cnndsl.Compilation, model: Any) -> None:
    shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = model.graph
    known = {v.name for v in (*graph.value_info, *graph.output)}
    assert {name for node in graph.node for name in node.output} <= known
    assert all(d.dim_value or d.dim_param for v in (*graph.value_info, *graph.output)
               for d in v.type.tensor_type.shape.dim)  # fmt: skip
    weights = {
        t.name: tuple(t.dims) for t in graph.initializer if not t.name.startswith("constant_")
    }
    assert weights == keys(net)
    paths = {node.path for node in net.graph}
    labels = [node.name for node in graph.node]
    assert len(labels) == len(set(labels))
    # Joins, and what `again` repeats, share a path: they are numbered.
    modules = {label for label in labels if "/" not in label}
    assert {re.sub(r"_\d+$", "", label) for label in modules - paths} <= paths
    assert [v.name for v in graph.output] == [o.name for o in net.graph.outputs if not o.train]


def test_names_and_shapes() -> None:
    model = onnx.load_from_string(export_onnx(cnndsl.loads(SMALL).net()).data)
    graph = model.graph
    assert [(node.op_type, node.name, *node.input, *node.output) for node in graph.node] == [
        ("Conv", "conv1", "in", "conv1.weight", "conv1"),
        ("BatchNormalization", "bn1", "conv1", "bn1.weight", "bn1.bias", "bn1.running_mean",
         "bn1.running_var", "bn1"),
        ("Relu", "2", "bn1", "2"),
        ("Conv", "block.0", "2", "block.0.weight", "block.0.bias", "block.0"),
        ("PRelu", "block.1", "block.0", "block.1.weight", "out"),
    ]  # fmt: skip
    found = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
             for v in (*graph.input, *graph.output)]  # fmt: skip
    assert found == [["N", 3, "H", "W"], ["N", 4, "H", "W"]]
    assert (model.producer_name, model.producer_version) == ("cnndsl", cnndsl.__version__)


def test_sizes_that_are_fixed() -> None:
    text = "net Net: [3, H, W] = conv(4, 3, stride=2)"
    model = onnx.load_from_string(export_onnx(cnndsl.loads(text).net(at={"H": 9})).data)
    dims = model.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["N", 4, 5, "floor((W+1)/2)"]


def test_a_model_carries_its_text() -> None:
    text = "net Net: [3, H, W] = (maxpool(2) -> conv(3, 3) -> upsample(2) + id)"
    net = cnndsl.loads(text).net()
    model = onnx.load_from_string(export_onnx(net).data)
    told = {entry.key: entry.value for entry in model.metadata_props}
    origin = Origin.from_metadata(told)
    assert origin is not None and origin.net == "Net"
    assert cnndsl.loads(origin.text).net().graph.signature() == net.graph.signature()
    assert told[VALID] == "H % 2 == 0, W % 2 == 0"


def test_folded_weights_have_names_of_their_own() -> None:
    net = cnndsl.loads(SMALL).net()
    network = net.compile(optimize=0)
    model = onnx.load_from_string(export_onnx(net, network, optimize=1).data)
    names = {t.name for t in model.graph.initializer}
    assert {"conv1.weight.folded", "conv1.bias.folded", "block.0.weight"} <= names
    assert "conv1.weight" not in names and not any("running" in name for name in names)
    for t in model.graph.initializer:  # what keeps a key keeps its numbers
        if t.name in network.state_dict():
            found = torch.from_numpy(onnx.numpy_helper.to_array(t).copy())
            assert torch.equal(found, network.state_dict()[t.name])


def test_the_lowest_opset_is_taken() -> None:
    def opset(steps: str, **options: int) -> int:
        net = cnndsl.loads(f"net Net: [4, H, W] = {steps}").net()
        data = export_onnx(net, **options).data
        return int(onnx.load_from_string(data).opset_import[0].version)

    assert opset("conv(4, 3) -> relu") == 13
    assert opset("layer_norm -> relu") == 17
    assert opset("layer_norm -> gelu") == 20
    assert opset("conv(4, 3) -> relu", opset=18) == 18


def test_bytes_are_the_same_again() -> None:
    net = cnndsl.loads(SMALL).net()
    network = net.compile(optimize=0)
    assert export_onnx(net, network).data == export_onnx(net, network).data
