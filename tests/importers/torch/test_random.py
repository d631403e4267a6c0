"""Our own compiled networks are PyTorch modules too: they come back under their keys."""

from __future__ import annotations

import pytest
import torch

import cnndsl
from cnndsl.graph.cost import concrete, shape
from cnndsl.importers.torch.network import import_module
from tests.networks import random_network
from tests.references import fill

QUICK = (2, 5)  # the first has linear layers on maps


def _comes_back(seed: int) -> None:
    net = cnndsl.loads(random_network(seed, tiny=True)).net()
    module = fill(net.compile(optimize=0))
    sizes = net.graph.facts.reference(16)
    example = [torch.zeros(1, *shape(concrete(x.type, sizes))) for x in net.graph.inputs]
    written = import_module(module, example)  # proves that the outputs are the same
    assert written.state.keys() == module.state_dict().keys()
    found = cnndsl.loads(written.text).net()
    assert (found.params, found.diagnostics) == (net.params, ())


@pytest.mark.parametrize("seed", QUICK)
def test_random_networks_come_back(seed: int) -> None:
    _comes_back(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [seed for seed in range(40) if seed not in QUICK])
def test_more_random_networks_come_back(seed: int) -> None:
    _comes_back(seed)
