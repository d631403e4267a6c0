"""Module = emitted Python in a clean process = ONNX under onnxruntime = ``torch.export``."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.exporters.onnx import build
from cnndsl.exporters.proof import Judge
from cnndsl.exporters.python import export_python
from cnndsl.exporters.python.names import class_name
from tests.exporters.clean import Case, run_clean
from tests.exporters.drawn import network_of
from tests.networks import random_network

GROUP = 25
_SMALL = 12  # steps: to record one costs `torch.export` some hundredths of a second


def four_ways(nets: Iterable[tuple[int, cnndsl.Compilation]], folder: Path) -> None:
    """The exporters' own proofs are left out: this is one, in another process."""
    seeds, cases, expected = [], [], []
    for seed, net in nets:
        network = network_of(net, seed)
        inputs = Judge(net, network).inputs(net.facts.reference(9), 2)
        with torch.no_grad():
            plain = tensors(network(*inputs))
            same(seed, "torch.export", of_export(network, inputs), plain)
        model = build(net, network).SerializeToString()
        name = class_name(net.graph.name)
        cases.append(Case(export_python(net), name, network.state_dict(), model, inputs))
        seeds.append(seed)
        expected.append(plain)
    for form, results in run_clean(cases, folder).items():
        for seed, one, two in zip(seeds, results, expected, strict=True):
            same(seed, form, one, two)


def of_export(network: Any, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    """At these sizes, and not through a file; ``pt2``'s own tests do more."""
    program = torch.export.export(network, tuple(inputs))
    return tensors(program.module(check_guards=False)(*inputs))


def tensors(found: Any) -> list[torch.Tensor]:
    return [x for x in torch.utils._pytree.tree_leaves(found) if x is not None]


def same(seed: int, form: str, found: list[torch.Tensor], plain: list[torch.Tensor]) -> None:
    for one, two in zip(found, plain, strict=True):
        scale = max(float(two.abs().max()), 1e-6)
        assert one.shape == two.shape, (seed, form)
        assert float((one - two).abs().max()) <= 2e-4 * scale, (seed, form)


def drawn(seeds: Iterable[int], most: int = 1000) -> Iterator[tuple[int, cnndsl.Compilation]]:
    """Random networks of at most so many steps."""
    for seed in seeds:
        net = cnndsl.loads(random_network(seed, tiny=True)).net()
        if len(net.graph) <= most:
            yield seed, net


@pytest.fixture(autouse=True)
def without_looking_for_garbage() -> Iterator[None]:
    """`torch.export` makes so many objects that it would take a quarter of the time."""
    gc.disable()
    yield
    gc.enable()


def test_random_networks(tmp_path: Path) -> None:
    four_ways(islice(drawn(count(500), _SMALL), 100), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(5_000, 10_000, GROUP))
def test_many_random_networks(start: int, tmp_path: Path) -> None:
    four_ways(drawn(range(start, start + GROUP)), tmp_path)
