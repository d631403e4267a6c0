"""What layers are called that come from ONNX: as their weights, else as their nodes."""

from __future__ import annotations

import numpy
import pytest

from cnndsl.importers.onnx import import_onnx, read_onnx
from tests.importers.onnx.models import Sketch


def test_names_become_paths() -> None:
    s = Sketch()
    weight = s.tensor(s.weights(4, 4, 1, 1), "layer1.0.conv1.weight")
    x = s.node("Conv", "x", weight, name="/layer1/layer1.0/conv1/Conv")
    x = s.node("Relu", x, name="/layer1/layer1.0/relu/Relu")
    x = s.node("Conv", x, s.weights(4, 4, 1, 1), name="/layer1/layer1.1/conv1/Conv")
    x = s.node("Conv", x, s.tensor(s.weights(4, 4, 1, 1), "forward.weight"))
    graph = read_onnx(s.bytes(x)).graph
    paths = [node.path for node in graph if node.inputs]
    assert paths == ["layer1.0.conv1", "layer1.0.relu", "layer1.1.conv1", "forward_"]


@pytest.mark.parametrize(
    ("kind", "node", "weight", "path"),
    [
        ("Conv", "/conv1/Conv", "onnx::Conv_193", "conv1"),
        ("Conv", "/Conv_3", "onnx::Conv_193", "0"),
        ("Conv", "Conv_3", "onnx::Conv_193", "0"),
        ("Conv", "", "conv1.weight", "conv1"),
        ("PRelu", "/prelu1/PRelu", "onnx::PRelu_22", "prelu1"),
        ("PRelu", "/features/features.3/PRelu", "onnx::PRelu_22", "3"),
        ("PRelu", "/PRelu", "onnx::PRelu_22", "0"),
        ("PRelu", "", "body.act.weight", "act"),
    ],
)
def test_a_layer_is_called_as_its_weights_or_as_its_node(
    kind: str, node: str, weight: str, path: str
) -> None:
    """PyTorch's exporter renames weights that it has computed, such as a PReLU's slopes.

    A first part that all names have, such as `features`, is left out.
    """
    s = Sketch()
    shape = (4, 4, 1, 1) if kind == "Conv" else (4, 1, 1)
    x = s.node(kind, "x", s.tensor(s.weights(*shape), weight), name=node)
    found = read_onnx(s.bytes(x))
    assert [step.path for step in found.graph if step.inputs] == [path]
    assert f"{path}.weight" in found.state


def _joined(*names: str, join: str) -> list[str]:
    """The namespaces of layers of the given names, and of a join of the last with its input."""
    s = Sketch()
    before = x = "x"
    for name in names:
        before, x = x, s.node("Conv", x, s.tensor(s.weights(4, 4, 1, 1), f"{name}.weight"))
    graph = read_onnx(s.bytes(s.node("Add", before, x, name=join))).graph
    return [node.path.rpartition(".")[0] for node in graph if node.inputs]


@pytest.mark.parametrize(
    ("join", "space"),
    [
        ("/b/0/Add", "b.0"),  # as PyTorch's exporter calls it
        ("/b/0/Add_1", "b.0"),
        ("b.0.add", "b.0"),  # a name of its own
        ("/b/0/skip", "b.0"),
        ("/b/Add", "b"),
        ("", ""),
        ("/a/0/Add", ""),  # another stands between: no namespace is entered again
        ("/b/0/conv/Add", ""),  # a layer is no namespace
    ],
)
def test_a_join_stands_where_its_name_says_if_that_fits(join: str, space: str) -> None:
    assert _joined("a.0.conv", "b.0.conv", join=join) == ["a.0", "b.0", space]


def test_several_inputs_and_outputs_keep_their_names() -> None:
    s = Sketch()
    both = s.node("Add", "left", "right")
    data = s.bytes([both, s.node("Relu", both)], {k: (1, 4, 8, 8) for k in ("left", "right")})
    graph = import_onnx(data).graph
    assert [node.path for node in graph.inputs] == ["left", "right"]
    assert [output.name for output in graph.outputs] == ["v0", "v1"]


@pytest.mark.parametrize("first", [True, False])
def test_factors_keep_their_names_even_where_they_are_1(first: bool) -> None:
    sketch = Sketch()
    names = [sketch.tensor(numpy.ones((4, 1, 1)), name) for name in ("a.gamma", "b.gamma")]
    pairs = [(name, "x") if first else ("x", name) for name in names]
    total = sketch.node("Add", *(sketch.node("Mul", *pair) for pair in pairs))
    assert list(read_onnx(sketch.bytes(total)).state) == ["a.gamma", "b.gamma"]


@pytest.mark.parametrize(
    ("factor", "shift", "path"),
    [("a.gamma", "a.beta", "a"), ("a.gamma", "b.beta", "0"), ("gamma", "beta", "0")],
)
def test_a_product_and_a_sum_are_called_as_both_their_weights(
    factor: str, shift: str, path: str
) -> None:
    s = Sketch()
    x = s.node("Mul", "x", s.tensor(s.weights(4, 1, 1), factor))
    x = s.node("Add", s.tensor(s.weights(4, 1, 1), shift), x)
    written = import_onnx(s.bytes(x))
    assert [(n.path, n.op.name) for n in written.graph if n.inputs] == [(path, "bn")]


@pytest.mark.parametrize(
    ("shift", "path", "kind"), [("a.beta", "a", "bn"), ("onnx::Add_3", "gamma", "scale")]
)
def test_a_sum_keeps_its_name_even_where_it_adds_0(shift: str, path: str, kind: str) -> None:
    s = Sketch()
    x = s.node("Mul", "x", s.tensor(s.weights(4, 1, 1), "a.gamma"))
    x = s.node("Add", x, s.tensor(numpy.zeros((4, 1, 1)), shift))
    written = import_onnx(s.bytes(x))
    assert [(n.path, n.op.name) for n in written.graph if n.inputs] == [(path, kind)]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("shift", "path"), [(None, "gamma"), (0.0, "a"), (0.5, "a")])
def test_products_and_sums_of_the_same_weights_are_one_layer(
    shift: float | None, path: str, first: bool
) -> None:
    s = Sketch()
    factor, x = s.tensor(s.weights(4, 1, 1), "a.gamma"), "x"
    term = s.tensor(numpy.full((4, 1, 1), shift or 0.0), "a.beta")
    for again in (False, True):
        x = s.node("Relu", x) if again else x
        x = s.node("Mul", *((factor, x) if first else (x, factor)))
        x = x if shift is None else s.node("Add", *((term, x) if first else (x, term)))
    written = import_onnx(s.bytes(x))
    assert [n.path for n in written.graph if n.inputs][::2] == [path, path]


def test_a_product_that_others_read_is_a_layer_of_its_own() -> None:
    s = Sketch()
    x = s.node("Mul", "x", s.tensor(s.weights(4, 1, 1), "a.gamma"))
    shifted = s.node("Add", x, s.tensor(s.weights(4, 1, 1), "a.beta"))
    written = import_onnx(s.bytes(s.node("Add", s.node("Relu", x), shifted)))
    assert [n.op.name for n in written.graph if n.inputs] == ["scale", "relu", "bn", "add"]
    assert "gamma" in written.state


def test_a_factor_that_is_taken_off_loses_its_name() -> None:
    """The layer has other numbers than the weight of that name."""
    s = Sketch()
    x = s.node("Sub", "x", s.node("Mul", "x", s.tensor(s.weights(4, 1, 1), "a.gamma")))
    found = read_onnx(s.bytes(x)).state
    assert list(found) == ["0"]


def test_a_number_that_is_taken_off_loses_its_name() -> None:
    s = Sketch()
    x = s.node("Mul", "x", s.tensor(s.weights(4, 1, 1), "a.weight"))
    found = read_onnx(s.bytes(s.node("Sub", x, s.tensor(s.weights(4, 1, 1), "a.bias")))).state
    assert "0.bias" in found and "a.bias" not in found
