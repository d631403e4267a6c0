"""Networks with weights that tell: random ones of a new network hide much of what is computed."""

from __future__ import annotations

from typing import Any

import cnndsl
from cnndsl.passes.flow import Flow
from tests.passes.drawn import Drawn


def network_of(net: cnndsl.Compilation, seed: int = 0) -> Any:
    """The plain module with scales, means and variances far from 1, 0 and 1."""
    network = net.compile(optimize=0).eval()
    drawn = Drawn(Flow(net.graph), net.facts.reference(19), seed).parameters
    unknown = network.load_state_dict({k: v.float() for k, v in drawn.items()}, strict=False)
    assert not unknown.unexpected_keys
    return network
