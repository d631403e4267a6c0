"""Weights from a file into a module, and from a module into a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cnndsl import files
from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.checkpoints.files import read, spec_of, to_bytes
from cnndsl.checkpoints.match import Match, match
from cnndsl.checkpoints.numbers import narrowed, not_finite
from cnndsl.checkpoints.origin import Origin
from cnndsl.checkpoints.report import in_short
from cnndsl.graph.model import Graph

if TYPE_CHECKING:
    from torch import Tensor, nn


def save(
    path: str | os.PathLike[str], graph: Graph, weights: nn.Module | Mapping[str, Any],
    origin: Origin,
) -> None:  # fmt: skip
    """Writes weights that have exactly the network's keys and shapes. WeightsError, OSError."""
    state: Mapping[str, Any]
    state = weights if isinstance(weights, Mapping) else weights.state_dict()
    found = match(graph, {name: spec_of(t, name) for name, t in state.items()}, structure=False)
    if not found.fits or found.unused:
        raise WeightsError(in_short(found))
    files.replace(path, to_bytes(state, origin))


def load_into(network: nn.Module, graph: Graph, path: str | os.PathLike[str]) -> None:
    """Weights that have the network's own names. Raises WeightsError when some do not fit."""
    checkpoint = read(path)
    found = match(graph, checkpoint.contents.specs, structure=False)
    if found.unused:
        raise WeightsError(in_short(found))
    fill(network, found, checkpoint.tensors)


def fill(network: nn.Module, found: Match, tensors: Mapping[str, Tensor]) -> None:
    """Puts what was found into the module, all or nothing; the rest keeps its values.

    WeightsError where numbers are not finite, or would not be in the module's own kind.
    """
    weigh(found, tensors)
    if not found.fits:
        raise WeightsError(in_short(found))
    own = network.state_dict()
    state = {
        key: narrowed(key, tensors[name], own[key].dtype) for key, name in found.sources.items()
    }
    network.load_state_dict(state, strict=False)


def weigh(found: Match, tensors: Mapping[str, Tensor]) -> None:
    """Notes which of the numbers that were found are none."""
    found.broken = not_finite(found.sources, tensors)


def converted(
    graph: Graph, found: Match, tensors: Mapping[str, Tensor], *, dtype: str | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:  # fmt: skip
    """The network's ``state_dict`` in its order, of what was found.

    Modules that begin again are drawn with ``seed``; counters that the file lacks are 0, and
    heads that only training runs stay away where the file lacks them. ``dtype`` is that of all
    numbers but counters.
    """
    import torch

    weigh(found, tensors)
    if not found.fits:
        raise WeightsError(in_short(found))
    drawn = _drawn(graph, found.fresh, seed)
    state: dict[str, Tensor] = {}
    for key, slot in found.slots.items():
        if key in found.sources:
            value = tensors[found.sources[key]]
        elif key in drawn:
            value = drawn[key]
        elif slot.whole:
            value = torch.zeros(slot.shape, dtype=torch.int64)
        else:
            continue
        kept = slot.whole or dtype is None
        state[key] = value if kept else narrowed(key, value, getattr(torch, str(dtype)))
    return state


def _drawn(graph: Graph, keys: Iterable[str], seed: int) -> dict[str, Tensor]:
    import torch

    wanted = list(keys)
    if not wanted:
        return {}
    from cnndsl.backends.torch.lower import lower

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = lower(graph).state_dict()
    return {key: state[key] for key in wanted}
