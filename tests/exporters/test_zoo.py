"""Every network of the zoo leaves in four forms that agree, and comes back as what it was.

The exporters' own proofs, at several sizes and batches, are left out: their tests make them, and
here the forms are run by another process. Sizes are fixed for `torch.export` alone, which takes
minutes for a deep network with open ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import cnndsl
from cnndsl.backends.torch.export import export, to_bytes
from cnndsl.exporters.onnx import build
from cnndsl.exporters.proof import compared, input_shapes
from cnndsl.exporters.python import export_python
from cnndsl.exporters.python.names import class_name
from cnndsl.importers.onnx import read_onnx
from cnndsl.outline.reroll import write_text
from tests.exporters.clean import Case, run_clean
from tests.exporters.isomorphic import wiring
from tests.exporters.zoo import FILES, networks, with_weights
from tests.outline.handwritten import lines, needed
from tests.zoo.twins import EXAMPLES

QUICK = ("lenet",)
_LEAST = 33  # large enough for windows to have an inside
_TOGETHER = 100_000_000  # weights that one process may get


class Ready(NamedTuple):
    """A network with its outputs in both precisions."""

    net: cnndsl.Compilation
    case: Case
    plain: list[torch.Tensor]
    true: list[torch.Tensor]


def ready(net: cnndsl.Compilation) -> Ready:
    sizes = {s: net.facts.allowed(s).next(_LEAST + i) for i, s in enumerate(net.facts.symbols)}
    (shape,) = input_shapes(net, sizes, 2)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    network = with_weights(net, x)
    with torch.no_grad():
        plain, true = tensors(network(x)), tensors(network.double()(x.double()))
    network.float()
    model = build(net, network).SerializeToString()
    program = to_bytes(export(network, {"in": x}), {})
    name, state = class_name(net.graph.name), network.state_dict()
    return Ready(net, Case(export_python(net), name, state, model, [x], program), plain, true)


def agree(made: list[Ready], folder: Path) -> None:
    """Module, emitted Python, onnxruntime and ``torch.export``, but for rounding."""
    for form, results in run_clean([one.case for one in made], folder).items():
        for one, found in zip(made, results, strict=True):
            for got, plain, true in zip(found, one.plain, one.true, strict=True):
                assert float(true.std()) > 1e-6 * float(true.abs().max()) > 0, "it tells nothing"
                assert compared(got, plain, true) is not None, (one.case.name, form)


def comes_back(one: Ready) -> None:
    """An isomorphic graph, equal outputs in float64, and a text as a person would write it."""
    found = read_onnx(one.case.onnx)
    assert wiring(found.graph) == wiring(one.net.graph)
    rolled = write_text(found.graph)
    again = cnndsl.loads(rolled.text).net()
    assert wiring(again.graph) == wiring(one.net.graph)
    with torch.device("meta"):
        module = again.compile(optimize=0)
    module.load_state_dict(dict(renamed(found, rolled.paths)), assign=True)
    with torch.no_grad():
        results = tensors(module.double().eval()(*(x.double() for x in one.case.inputs)))
    for got, true in zip(results, one.true, strict=True):
        torch.testing.assert_close(got, true, rtol=1e-9, atol=1e-9 * float(true.abs().max()))
    hand = needed(EXAMPLES / one.net.program.source.name, one.net.graph.name)
    assert lines(rolled.text) <= 1.5 * lines(hand), rolled.text
    assert len(rolled.text) <= 1.5 * len(hand), rolled.text


def renamed(found: Any, paths: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights under the text's keys."""
    for key, value in found.state.items():
        module, dot, name = key.rpartition(".")
        new = paths[key] if key in paths else paths[module] + dot + name
        yield new, torch.from_numpy(value.copy())


def tensors(found: Any) -> list[torch.Tensor]:
    return [x for x in torch.utils._pytree.tree_leaves(found) if x is not None]


def goes_out_and_comes_back(file: str, folder: Path) -> None:
    waiting: list[Ready] = []
    for net in networks(file):
        if waiting and sum(one.net.params for one in waiting) + net.params > _TOGETHER:
            agree(waiting, folder)
            waiting.clear()
        waiting.append(ready(net))
        comes_back(waiting[-1])
    agree(waiting, folder)


@pytest.mark.parametrize("file", QUICK)
def test_quick_ones(file: str, tmp_path: Path) -> None:
    goes_out_and_comes_back(file, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in FILES if file not in QUICK])
def test_every_net(file: str, tmp_path: Path) -> None:
    goes_out_and_comes_back(file, tmp_path)
