"""State dicts under other names, without numbers."""

from __future__ import annotations

from collections.abc import Mapping

from cnndsl.checkpoints.bounds import Spec
from cnndsl.checkpoints.layout import COUNTER, layout, module_of
from cnndsl.graph.model import Graph


def specs(graph: Graph, counters: bool = True) -> dict[str, Spec]:
    """A network's own tensors."""
    return {
        key: Spec("int64" if slot.whole else "float32", slot.shape)
        for key, slot in layout(graph).items()
        if counters or not slot.whole
    }


def numbered(given: Mapping[str, Spec]) -> tuple[dict[str, Spec], dict[str, str]]:
    """Modules called ``p0``, ``p1``, … in their order; and the old names by the new."""
    names: dict[str, str] = {}
    found: dict[str, Spec] = {}
    before: dict[str, str] = {}
    for key, spec in given.items():
        module, own = module_of(key)
        new = f"{names.setdefault(module, f'p{len(names)}')}.{own}"
        found[new], before[new] = spec, key
    return found, before


def without_counters(given: Mapping[str, Spec]) -> dict[str, Spec]:
    return {key: spec for key, spec in given.items() if not key.endswith(COUNTER)}
