"""Matching by structure alone, where names tell nothing: order, kinds and shapes of modules.

Two lists of modules that are the same in kinds and shapes, one by one, are taken to be the same
network listed in the same order. What this does not settle is said and left alone: two
convolutions of one shape that run side by side may be listed in either order, so which is which
must be seen from their names, or told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cnndsl.checkpoints.bounds import Spec
from cnndsl.checkpoints.layout import COUNTER, Slot, module_of
from cnndsl.graph.model import Graph

_SAME_NAME = {
    "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_var": "running_var", "moving_variance": "running_var",
}  # fmt: skip
"""Other frameworks' names of a norm's four tensors."""
_MODULES = 4_096
_DIGITS = re.compile(r"(\d+)")

Signature = frozenset[tuple[str, tuple[int, ...]]]


class Module(NamedTuple):
    """The keys of one module by the names they have in PyTorch, and what can be seen of it."""

    name: str
    keys: Mapping[str, str]
    signature: Signature

    def same(self, other: Module) -> bool:
        return self.signature == other.signature

    def alike(self, other: Module) -> bool:
        """Whether only the number of outputs may differ, as where classes are others."""
        mine, foreign = dict(self.signature), dict(other.signature)
        return mine.keys() == foreign.keys() and all(
            len(shape) == len(foreign[own]) and shape[1:] == foreign[own][1:]
            for own, shape in mine.items()
        )

    @property
    def leads(self) -> bool:
        """Whether it is no norm or activation, which say nothing of what they follow."""
        return any(len(shape) > 1 for _, shape in self.signature)


@dataclass
class Alignment:
    """``pairs`` of ours and theirs, some of which may differ in their number of outputs.

    ``open`` are groups that order and shapes do not tell apart, as our module and the one at its
    place in their order.
    """

    pairs: list[tuple[Module, Module]] = field(default_factory=list)
    open: list[list[tuple[Module, Module]]] = field(default_factory=list)


def align(graph: Graph, ours: Mapping[str, Slot], theirs: Mapping[str, Spec]) -> Alignment | None:
    """Our keys to theirs; None where the two lists are not the same in kinds and shapes."""
    wanted = modules((key, slot.shape) for key, slot in ours.items())
    if not wanted or len(wanted) > _MODULES:
        return None
    given = modules((key, spec.shape) for key, spec in theirs.items())
    within = _by_lead(wanted, given)
    if within is not None:
        return within
    if len(wanted) == len(given):
        orders = (given, sorted(given, key=_natural))
        for fits in (Module.same, Module.alike):
            for order in orders:
                if all(map(fits, wanted, order)):
                    return _settled(graph, ours, list(zip(wanted, order, strict=True)))
    return _by_shape(wanted, given)


def modules(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> list[Module]:
    """Modules in the order of their first tensors, counters left out."""
    keys: dict[str, dict[str, str]] = {}
    shapes: dict[str, set[tuple[str, tuple[int, ...]]]] = {}
    for key, shape in tensors:
        module, own = module_of(key)
        if own == COUNTER:
            continue
        own = _SAME_NAME.get(own, own)
        keys.setdefault(module, {})[own] = key
        shapes.setdefault(module, set()).add((own, shape))
    return [Module(name, keys[name], frozenset(shapes[name])) for name in keys]


def _natural(module: Module) -> list[tuple[int, str]]:
    """``layer10`` behind ``layer9``; some files list their names by the alphabet."""
    return [
        (int(part), "") if part.isascii() and part.isdigit() else (-1, part)
        for part in _DIGITS.split(module.name)
    ]


def _by_lead(wanted: Sequence[Module], given: Sequence[Module]) -> Alignment | None:
    """All names are the same but for what stands before each: `module.`, `backbone.`."""
    known = {module.name: module for module in given}
    first = wanted[0].name
    leads = [("", name[: -len(first)]) for name in known if name.endswith(f".{first}")]
    leads += [(first[: -len(name)], "") for name in known if first.endswith(f".{name}")]
    tried = (_led(wanted, known, ours, theirs) for ours, theirs in leads)
    fitting = [pairs for pairs in tried if pairs is not None]
    return Alignment(fitting[0]) if len(fitting) == 1 else None


def _led(
    wanted: Sequence[Module], known: Mapping[str, Module], ours: str, theirs: str
) -> list[tuple[Module, Module]] | None:
    """Each module with its like behind the other lead; a file may have many leads, so that one
    is given up at the first module that it lacks."""
    pairs = []
    for module in wanted:
        foreign = known.get(theirs + module.name.removeprefix(ours))
        if not module.name.startswith(ours) or foreign is None or not module.alike(foreign):
            return None
        pairs.append((module, foreign))
    return pairs


def _by_shape(wanted: Sequence[Module], given: Sequence[Module]) -> Alignment | None:
    """Modules that there is one of: of ours, and of theirs. None where that is not all of ours."""
    mine, foreign = _grouped(wanted), _grouped(given)
    if not all(module.leads for module in wanted):
        return None
    if any(len(mine[s]) > 1 or len(foreign.get(s, ())) != 1 for s in mine):
        return None
    return Alignment([(module, foreign[module.signature][0]) for module in wanted])


def _grouped(found: Iterable[Module]) -> dict[Signature, list[Module]]:
    groups: dict[Signature, list[Module]] = {}
    for module in found:
        groups.setdefault(module.signature, []).append(module)
    return groups


# --- what runs side by side -----------------------------------------------------------------


def _settled(
    graph: Graph, ours: Mapping[str, Slot], pairs: Sequence[tuple[Module, Module]]
) -> Alignment:
    found = Alignment()
    units = _units(pairs)
    before = _Order(graph, ours, [unit[0][0] for unit in units])
    groups: dict[tuple[Signature, ...], list[int]] = {}
    for index, unit in enumerate(units):
        groups.setdefault(tuple(mine.signature for mine, _ in unit), []).append(index)
    unclear: set[int] = set()
    for group in groups.values():
        for cluster in before.clusters(group):
            alike = [units[index] for index in cluster]
            if not _named_alike([unit[0] for unit in alike]):
                found.open.append([pair for unit in alike for pair in unit])
                unclear.update(cluster)
    for index, unit in enumerate(units):
        if index not in unclear:
            found.pairs.extend(unit)
    return found


def _units(pairs: Sequence[tuple[Module, Module]]) -> list[list[tuple[Module, Module]]]:
    """A convolution with the norm behind it: the norm's place is known by the convolution's."""
    units: list[list[tuple[Module, Module]]] = []
    for pair in pairs:
        if pair[0].leads or not units:
            units.append([])
        units[-1].append(pair)
    return units


class _Order:
    """Which of some modules run before which."""

    def __init__(self, graph: Graph, ours: Mapping[str, Slot], heads: Sequence[Module]) -> None:
        bits: dict[int, int] = {}
        nodes = [ours[next(iter(head.keys.values()))].nodes for head in heads]
        for index, uses in enumerate(nodes):
            for i in uses:
                bits[i] = bits.get(i, 0) | 1 << index
        before: dict[int, int] = {}
        for node in graph:
            before[node.id] = bits.get(node.id, 0)
            for i in node.inputs:
                before[node.id] |= before[i]
        self.before = [_union(before[i] for i in uses) for uses in nodes]

    def clusters(self, group: Sequence[int]) -> list[list[int]]:
        """Those of a group of modules that run side by side, taken together."""
        clusters: list[int] = []  # sets of numbers as bits, as `before` is
        earlier = 0
        for index in group:
            aside = earlier & ~self.before[index]
            earlier |= 1 << index
            if not aside:
                continue
            touched = [cluster for cluster in clusters if cluster & aside]
            clusters = [cluster for cluster in clusters if not cluster & aside]
            clusters.append(_union([*touched, aside, 1 << index]))
        return [[i for i in group if cluster >> i & 1] for cluster in clusters]


def _union(sets: Iterable[int]) -> int:
    found = 0
    for each in sets:
        found |= each
    return found


def _named_alike(pairs: Sequence[tuple[Module, Module]]) -> bool:
    """Whether the names tell which is which: each ends like its own partner and no other."""
    for mine, theirs in pairs:
        own = _common_end(mine.name, theirs.name)
        if any(_common_end(mine.name, other.name) >= own for _, other in pairs if other != theirs):
            return False
    return True


def _common_end(one: str, other: str) -> int:
    """How many last parts two names share."""
    count = 0
    for a, b in zip(reversed(one.split(".")), reversed(other.split(".")), strict=False):
        if a != b:
            break
        count += 1
    return count
