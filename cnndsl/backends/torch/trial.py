"""Running a compiled network once, to see that it runs, what comes out, and how fast."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cnndsl.backends.torch.module import Network

_REPEATS, _PATIENCE = 5, 3.0  # further runs, and the seconds they may take together


class Trial(NamedTuple):
    """``outputs`` by name; ``first`` run and median of ``repeats`` further ones, in seconds.

    ``by``: who computed them, in words.
    """

    outputs: dict[str, Tensor]
    first: float
    later: float
    repeats: int
    by: str


def draw(shapes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Tensor]:
    """Inputs of normally distributed numbers; shapes include the batch."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def run(network: Network, inputs: Mapping[str, Tensor]) -> Trial:
    """Runs in eval mode without gradients; the mode is put back."""
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            result, first = _timed(network, inputs)
            times: list[float] = []
            while len(times) < _REPEATS and sum(times) < _PATIENCE:
                times.append(_timed(network, inputs)[1])
    finally:
        network.train(training)
    outputs = named_outputs(network, result)
    return Trial(outputs, first, median(times), len(times), answered_by(network))


def answered_by(network: Network) -> str:
    """Who computed the last forward in eval mode, and why it was not the engine."""
    live = network._live
    if live is None:
        return "the plain module"
    if live.refused:
        return f"the plain module: {live.refused}"
    return f"the {live.engine.name} engine"


def named_outputs(network: Network, result: Any) -> dict[str, Tensor]:
    """What a forward returned, by output name; heads of training only are left out in eval."""
    names = network._output_names
    values = (result,) if len(names) == 1 else tuple(result)
    return {name: v for name, v in zip(names, values, strict=True) if v is not None}


def _timed(network: Network, inputs: Mapping[str, Tensor]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = network(*inputs.values())
    return result, time.perf_counter() - start
