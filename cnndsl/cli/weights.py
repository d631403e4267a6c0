"""Published weights into a network; what does not fit is told by kind, not as a wall of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnndsl.cli.files import Failure, words
from cnndsl.graph import cost
from cnndsl.graph.model import Graph

if TYPE_CHECKING:
    from torch import Tensor

    from cnndsl.backends.torch.module import Network

_NAMED = 4  # keys of each kind that are told


def load_weights(network: Network, path: str, graph: Graph) -> str:
    """Fills the network from a .safetensors file, all or nothing; what to say about it.

    Heads that run in training only may be absent, and keys that the net lacks are left
    aside. Raises Failure when a key is missing or has another shape.
    """
    found = _read(path)
    own = network.state_dict()
    common = [key for key in own if key in found]
    missing = [key for key in own if key not in found and not _is_optional(key, graph)]
    differ = [key for key in common if own[key].shape != found[key].shape]
    if missing or differ:
        told = [f"{len(common) - len(differ)} match"]
        if missing:
            told.append(f"{len(missing)} missing: {_listed(missing)}")
        if differ:
            shapes = [f"{k} {list(found[k].shape)} → {list(own[k].shape)}" for k in differ]
            told.append(f"{len(differ)} of another shape: {_listed(shapes)}")
        raise Failure(f"{path} does not fit {graph.name}: {'; '.join(told)}")
    network.load_state_dict({key: found[key] for key in common}, strict=False)
    unused = len(found) - len(common)
    return f"{len(common)} tensors from {path}" + (f", {unused} of it unused" if unused else "")


def _read(path: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with open(path, "rb"):  # the loader's own words for what cannot be read are no words
            return load_file(path)
    except OSError as problem:
        raise Failure(f"cannot read {path}: {words(problem)}") from problem
    except SafetensorError as problem:
        raise Failure(f"{path} is no .safetensors file: {problem}") from problem


def _is_optional(key: str, graph: Graph) -> bool:
    """Counters of batches, and what only training runs."""
    if key.endswith("num_batches_tracked"):
        return True
    running = cost.inference_nodes(graph)
    heads = {node.path for node in graph if node.id not in running}
    return key in heads or key.rpartition(".")[0] in heads


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
