"""Random networks as PyTorch modules: weights and shapes are what the graph said."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.graph.cost import weights_of
from cnndsl.graph.model import Graph
from cnndsl.graph.names import is_reserved
from tests.graph.cases import CASES
from tests.networks import random_network
from tests.references import bare

TEXTS = [*CASES.values(), *map(random_network, range(1_000, 1_300))]
PARTS = [tuple(TEXTS[i : i + 20]) for i in range(0, len(TEXTS), 20)]


def on_meta(net: cnndsl.Compilation) -> Any:
    with bare():
        return net.compile()


def said(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {
        ".".join(filter(None, (node.path, weight.name))): weight.shape
        for node in graph
        for weight in weights_of(graph, node)
    }


@cache
def nets(texts: tuple[str, ...]) -> list[cnndsl.Compilation]:
    return [cnndsl.loads(text).net(chooser=lambda path, count: 0) for text in texts]


@pytest.mark.parametrize("texts", PARTS, ids=lambda texts: texts[0].strip()[:20])
def test_weights_are_what_the_graph_says(texts: tuple[str, ...]) -> None:
    """Keys, shapes and order; a namespace's own bare weights come before its modules'."""
    for net in nets(texts):
        model = on_meta(net)
        state = model.state_dict()
        expected = said(net.graph)
        assert {key: tuple(value.shape) for key, value in state.items()} == expected
        if all(weight.name for node in net.graph for weight in weights_of(net.graph, node)):
            assert list(state) == list(expected)
        trained = sum(p.numel() for p in model.parameters())
        assert trained == net.params


@pytest.mark.parametrize("texts", PARTS, ids=lambda texts: texts[0].strip()[:20])
def test_shapes_are_what_the_graph_says(texts: tuple[str, ...]) -> None:
    """In training and evaluation, at the smallest valid size and at a larger one."""
    for net in nets(texts):
        facts = net.graph.facts
        small = facts.smallest()
        larger = {symbol: facts.allowed(symbol).next(size + 9) for symbol, size in small.items()}
        device = device_for(net, larger)
        model = on_meta(net).to_empty(device=device)
        for sizes in (small, larger):
            for training in (True, False):
                check(net, model.train(training), sizes, device)


def device_for(net: cnndsl.Compilation, sizes: dict[str, int]) -> str:
    """Small tensors are faster than `meta`; some cases are as large as the limits allow."""
    return "cpu" if sum(map(prod, input_shapes(net, sizes))) < 100_000 else "meta"


def check(net: cnndsl.Compilation, model: Any, sizes: dict[str, int], device: str) -> None:
    found = model(*(torch.zeros(3, *s, device=device) for s in input_shapes(net, sizes)))
    expected = net.output_shapes(**sizes)
    values = dict(zip(expected, [found] if torch.is_tensor(found) else found, strict=True))
    emitted = {output.name: output for output in net.graph.outputs}
    for name, shape in expected.items():
        if emitted[name].train and not model.training:
            assert values[name] is None
        else:
            assert tuple(values[name].shape) == (3, *shape)


def input_shapes(net: cnndsl.Compilation, sizes: dict[str, int]) -> list[tuple[int, ...]]:
    from cnndsl.graph import cost

    return [cost.shape(cost.concrete(node.type, sizes)) for node in net.graph.inputs]


# --- names ------------------------------------------------------------------------------------


def test_no_label_is_a_name_that_every_module_has() -> None:
    """Else a network that passes the check could not be built, or not be used."""
    module = cnndsl.loads("net N: [3, H, W] = a: (conv(8, 3) -> relu)").net().compile()
    names = {*dir(module), *vars(module), *dir(module.a), *vars(module.a)}
    missing = {name for name in names if not is_reserved(name)} - {"a"}
    assert not missing


@pytest.mark.parametrize("label", ["forward", "training", "half", "_modules", "_calls", "__x"])
def test_a_reserved_label_is_an_error(label: str) -> None:
    for body in (f"{label}: conv(3, 3)", f"x: ({label}: (relu))", f"{label}: scale"):
        net = cnndsl.loads(f"net N: [3, H, W] = {body}").net()
        assert [d.code for d in net.diagnostics] == ["E0215"]


@pytest.mark.parametrize(
    "label", ["name", "conv", "_conv_stem", "in", "block", "weight", "0", "x1"]
)
def test_other_labels_name_modules(label: str) -> None:
    model = cnndsl.loads(f"net N: [3, H, W] = {label}: conv(3, 3, bias=no)").net().compile()
    assert list(model.state_dict()) == [f"{label}.weight"]
    assert model(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 4, 4)
