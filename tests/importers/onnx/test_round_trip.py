"""What this package exports comes back: the same steps, the same numbers in float64."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.backends.torch.trial import draw
from cnndsl.exporters.proof import ExportError
from cnndsl.graph import cost
from cnndsl.graph.printer import print_graph
from cnndsl.importers.onnx import read_onnx
from cnndsl.outline.reroll import write_text
from tests.importers.onnx.models import exported_net
from tests.networks import random_network

# Written by ONNX's operators as something of the same meaning, which then comes back.
_ALIKE = ("linear", "conv", "dropout", "dropout2d", "droppath", "bn", "scale", "join", "mean")
_ALIKE_POOLS = ("adaptive_avgpool", "avgpool", "adaptive_maxpool", "maxpool")


def _trip(net: Any) -> tuple[Any, Any, Any]:
    """The module, the graph that came back, and its module with the weights."""
    module, model = exported_net(net)
    found = read_onnx(model.SerializeToString())
    again = cnndsl.loads(print_graph(found.graph)).net().compile(optimize=0).eval()
    again.load_state_dict(
        {key: torch.as_tensor(value.copy()) for key, value in found.state.items()}
    )
    return module, found.graph, again


def _same(net: Any, module: Any, graph: Any, again: Any) -> None:
    sizes = net.graph.facts.reference(24)
    shapes = {n.path: (2, *cost.shape(cost.concrete(n.type, sizes))) for n in net.graph.inputs}
    inputs = [x.double() for x in draw(shapes, 3).values()]
    with torch.inference_mode():
        wanted, found = (m.double()(*inputs) for m in (module, again))
    values = [v for v in (wanted if isinstance(wanted, tuple) else (wanted,)) if v is not None]
    results = found if isinstance(found, tuple) else (found,)
    for one, other in zip(values, results, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-6 * float(one.abs().max()))
    assert net.facts.signature()[2] == graph.facts.signature()[2]


def _kinds(graph: Any) -> Counter[str]:
    left_out = (*_ALIKE, *_ALIKE_POOLS)
    kept = [n for n in graph if n.inputs and n.op.name not in left_out and not _is_nothing(n)]
    return Counter(n.op.text() for n in kept)


def _is_nothing(node: Any) -> bool:
    """A shuffle of as many groups as there are channels."""
    return node.op.name == "channel_shuffle" and node.op.values["groups"] == node.type.channels


def _round_trips(seeds: range) -> int:
    """How many random programs came back."""
    held = 0
    for seed in seeds:
        program = cnndsl.loads(random_network(seed, tiny=True))
        net = program.net(program.nets[-1])
        try:
            module, graph, again = _trip(net)
        except ExportError:
            continue
        _same(net, module, graph, again)
        if not any(output.train for output in net.graph.outputs):
            assert _kinds(net.graph) == _kinds(graph), seed
        held += 1
    return held


def test_random_programs_come_back() -> None:
    assert _round_trips(range(18)) >= 15


@pytest.mark.slow
def test_many_random_programs_come_back() -> None:
    assert _round_trips(range(18, 600)) >= 500


@pytest.mark.parametrize(
    "text",
    [
        "net N: [4, H, W] = a: conv(4, 3) -> relu -> again a -> gap -> flatten -> linear(2)",
        "net N: [3, H, W] = conv(4, 3) -> adaptive_avgpool((2, 3)) -> flatten -> linear(2)",
        """block B = conv1: conv(4, 1) -> bn1: bn -> relu
        net N: [4, 12, 12] = layer1: (B -> B) -> (x: conv(2, 1) | y: conv(3, 1)) -> 3: relu""",
        """net N: [4, H, W] = conv(4, 3) -> s: scale -> b: (c: conv(4, 3) -> prelu -> scale)
        -> (z: scale + id) -> scale(0.5) -> gap -> flatten -> linear(3) -> prelu(1) -> scale""",
        "net N: [4, H, W] = p: prelu -> conv(4, 3) -> again p -> s: scale -> relu -> again s",
        "net N: [4, H, W] = s: scale -> t: scale -> relu -> scale(0.5) -> u: scale -> scale(2)",
        "net N: [1, H, W] = s: scale -> t: scale -> conv(4, 3)",
    ],
)
def test_names_and_sharing_come_back(text: str) -> None:
    net = cnndsl.loads(text).net()
    module, graph, again = _trip(net)
    _same(net, module, graph, again)
    assert list(module.state_dict()) == list(again.state_dict())


def test_a_cut_of_both_axes_comes_back_as_one() -> None:
    """ONNX has open sizes cut axis by axis."""
    net = cnndsl.loads("net N: [3, H, W] = conv(4, 3) -> crop((1, 2)) -> relu").net()
    module, graph, again = _trip(net)
    _same(net, module, graph, again)
    assert _kinds(net.graph) == _kinds(graph)


def test_columns_that_meet_one_by_one_come_back_so() -> None:
    """FractalNet's joins of joins are one mean in ONNX; their names say where they stood."""
    text = """block Fractal(C, c) =
      if C == 1 then (conv: conv(c, 3) -> relu)
      else join(first: Fractal(C - 1, c) -> second: Fractal(C - 1, c), short: Fractal(1, c))
    net N: [3, H, W] = block1: Fractal(3, 4) -> block2: Fractal(3, 8)"""
    net = cnndsl.loads(text).net()
    module, graph, again = _trip(net)
    _same(net, module, graph, again)
    paths = {n.path.rpartition(".")[0] for n in graph if n.op.name == "join"}
    assert paths == {"block1", "block1.first", "block2", "block2.first"}
    assert len(write_text(graph).text.splitlines()) <= 16


def test_a_mean_by_another_name_stays_a_mean() -> None:
    net = cnndsl.loads("net N: [3, H, W] = mean(a: conv(4, 3), b: conv(4, 1))").net()
    module, graph, again = _trip(net)
    _same(net, module, graph, again)
    assert [n.op.name for n in graph if n.op.join] == ["mean"]
