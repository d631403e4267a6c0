"""Module = emitted Python in a clean process = ONNX under onnxruntime = ``torch.export``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

import cnndsl
from cnndsl.exporters.onnx import export_onnx
from cnndsl.exporters.proof import Judge
from cnndsl.exporters.python import export_python
from cnndsl.exporters.python.names import class_name
from tests.exporters.drawn import network_of
from tests.networks import random_network

GROUP = 25
_CLEAN = """
import sys
sys.modules["cnndsl"] = None
import torch
torch.set_num_threads(1)
results = []
for source, name, state, inputs in torch.load(sys.argv[1], weights_only=True):
    space = {"__name__": "emitted"}
    exec(source, space)
    module = space[name]().eval()
    module.load_state_dict(state)
    with torch.no_grad():
        found = module(*inputs)
    results.append([found] if torch.is_tensor(found) else [x for x in found if x is not None])
torch.save(results, sys.argv[2])
"""


def of_onnx(net: cnndsl.Compilation, network: Any, inputs: list[torch.Tensor]) -> list[Any]:
    session = onnxruntime.InferenceSession(export_onnx(net, network).data)
    names = [value.name for value in session.get_inputs()]
    given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return [torch.from_numpy(y) for y in session.run(None, given)]


def of_export(network: Any, inputs: list[torch.Tensor]) -> list[Any]:
    """At these sizes; ``pt2``'s own tests vary them."""
    with torch.no_grad():
        found = torch.export.export(network, tuple(inputs)).module()(*inputs)
    return [found] if torch.is_tensor(found) else [x for x in found if x is not None]


def of_python(cases: list[Any], folder: Path) -> list[list[torch.Tensor]]:
    """What all the emitted files compute, in one process that cannot import cnndsl."""
    torch.save(cases, folder / "cases.pt")
    words = [sys.executable, "-I", "-c", _CLEAN, str(folder / "cases.pt"), str(folder / "found.pt")]
    run = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stderr
    found: list[list[torch.Tensor]] = torch.load(folder / "found.pt", weights_only=True)
    return found


def four_ways(seeds: range, folder: Path) -> None:
    cases, expected = [], []
    for seed in seeds:
        net = cnndsl.loads(random_network(seed, tiny=True)).net()
        network = network_of(net, seed)
        inputs = Judge(net, network).inputs(net.facts.reference(9), 2)
        with torch.no_grad():
            found = network(*inputs)
        plain = [found] if torch.is_tensor(found) else [x for x in found if x is not None]
        same(seed, "onnx", of_onnx(net, network, inputs), plain)
        same(seed, "torch.export", of_export(network, inputs), plain)
        name = class_name(net.graph.name)
        cases.append((export_python(net), name, network.state_dict(), list(inputs)))
        expected.append(plain)
    for seed, one, two in zip(seeds, of_python(cases, folder), expected, strict=True):
        same(seed, "python", one, two)


def same(seed: int, form: str, found: list[torch.Tensor], plain: list[torch.Tensor]) -> None:
    for one, two in zip(found, plain, strict=True):
        scale = max(float(two.abs().max()), 1e-6)
        assert one.shape == two.shape, (seed, form)
        assert float((one - two).abs().max()) <= 2e-4 * scale, (seed, form)


@pytest.mark.parametrize("start", range(500, 600, GROUP))
def test_random_networks(start: int, tmp_path: Path) -> None:
    four_ways(range(start, start + GROUP), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(5_000, 10_000, GROUP))
def test_many_random_networks(start: int, tmp_path: Path) -> None:
    four_ways(range(start, start + GROUP), tmp_path)
