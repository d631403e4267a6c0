"""What is 0 everywhere proves nothing: the proofs draw again, and say where it stays so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.exporters.proof import ExportError, Judge
from cnndsl.importers.base import Imported, ImportProblem, roll_and_prove

TEXT = "net Shy: [3, H, W] = a: conv(2, 1) -> relu"
SAID = "`out` was 0 everywhere, which proves little"


def shy(bias: float) -> tuple[Any, Any]:
    """Usual inputs give 0; ten times as large ones do not, for a bias that they outdo."""
    net = cnndsl.loads(TEXT).net()
    network = net.compile(optimize=0).eval()
    torch.nn.init.ones_(network.a.weight)
    torch.nn.init.constant_(network.a.bias, bias)
    return net, network


def zeros(x: torch.Tensor) -> list[torch.Tensor]:
    return [torch.zeros(x.shape[0], 2, *x.shape[2:])]


def exported(bias: float, program: Any) -> str:
    return Judge(*shy(bias)).prove(program, "it").text()


def imported(bias: float, program: Any) -> str:
    net, network = shy(bias)
    found = Imported(net.graph, network.state_dict())
    return str(roll_and_prove(found, lambda given: {"out": program(given["in"])[0]}).difference)


@pytest.mark.parametrize("proof", [exported, imported])
def test_larger_inputs_are_drawn(proof: Any) -> None:
    _, network = shy(-50.0)
    with torch.no_grad():
        assert "0 everywhere" not in proof(-50.0, lambda x: [network(x)])
    with pytest.raises((ExportError, ImportProblem), match=r"computes .*(different|another)"):
        proof(-50.0, zeros)


@pytest.mark.parametrize("proof", [exported, imported])
def test_what_stays_silent_is_told(proof: Any) -> None:
    assert proof(-1e9, zeros).endswith(SAID)
