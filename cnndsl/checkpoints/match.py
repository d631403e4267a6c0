"""Which tensor of a file goes where in a network: by name, by a map, or by structure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cnndsl.checkpoints.bounds import FLOATING, Spec, WeightsError
from cnndsl.checkpoints.layout import COUNTER, Slot, layout, module_of
from cnndsl.checkpoints.rules import Rule, Rules
from cnndsl.checkpoints.structure import Alignment, Module, align
from cnndsl.diagnostics.display import escape
from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.graph.model import Graph


class NoSuchModule(WeightsError):
    """A name that is none of the network's was to begin again; no fault of the file."""


@dataclass
class Match:
    """What fits, and what does not. Keys are the network's, sources the file's names."""

    net: str
    slots: Mapping[str, Slot]
    specs: Mapping[str, Spec]
    sources: dict[str, str] = field(default_factory=dict)
    """Of every key that has found its tensor."""
    renamed: dict[str, str] = field(default_factory=dict)
    """Those of them that the map gave another name."""
    aligned: Alignment | None = None
    """What was matched by structure."""
    differ: dict[str, str] = field(default_factory=dict)
    """Keys that have a tensor of their name, of another shape or kind of number."""
    broken: dict[str, int] = field(default_factory=dict)
    """Keys whose tensor was looked at and holds so many numbers that are not finite."""
    fresh: list[str] = field(default_factory=list)
    """Keys that are to begin again, as asked."""
    idle: Sequence[Rule] = ()
    """Rules of the map that fitted nothing."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """Of the net, with their values."""

    @property
    def missing(self) -> list[str]:
        """Keys that nothing was found for and that the network needs."""
        return [key for key in self._absent if not self.slots[key].optional]

    @property
    def spared(self) -> list[str]:
        """Keys that nothing was found for and that a file may lack."""
        return [key for key in self._absent if self.slots[key].optional]

    @property
    def unused(self) -> list[str]:
        """Tensors of the file that go nowhere."""
        taken = {*self.sources.values(), *self.differ.values()}
        return [name for name in self.specs if name not in taken]

    @property
    def fits(self) -> bool:
        """Whether every number that the network needs is there."""
        return not self.missing and not self.differ and not self.broken

    @property
    def other_kind(self) -> list[str]:
        """Those that differ and have the right shape: whole numbers for fractions, or so."""
        return [
            k for k, name in self.differ.items() if self.specs[name].shape == self.slots[k].shape
        ]

    @property
    def _absent(self) -> list[str]:
        known = {*self.sources, *self.differ, *self.fresh}
        return [key for key in self.slots if key not in known]


def match(
    graph: Graph, specs: Mapping[str, Spec], rules: Rules | None = None,
    reinit: Iterable[str] = (), structure: bool = True,
) -> Match:  # fmt: skip
    """Compares a file's tensors with a network; without ``structure`` only names count.

    ``reinit`` names modules and namespaces that keep their first, drawn values. Raises
    NoSuchModule for a name that is none of the network's; WeightsError for a map that makes one
    name of two.
    """
    found = Match(graph.name, layout(graph), specs, parameters=graph.parameters)
    names, found.idle = (rules or Rules()).apply(specs)
    found.fresh = _keys_of(reinit, found.slots)
    fresh = set(found.fresh)
    for name, key in names.items():
        if key not in found.slots or key in fresh:
            continue
        if _suits(found.slots[key], specs[name]):
            found.sources[key] = name
            if key != name:
                found.renamed[key] = name
        else:
            found.differ[key] = name
    if found.missing and structure:
        _align(graph, found, set(names))
    return found


def _keys_of(modules: Iterable[str], slots: Mapping[str, Slot]) -> list[str]:
    keys: dict[str, None] = {}
    for module in modules:
        inside = [key for key in slots if key == module or key.startswith(f"{module}.")]
        if not inside:
            near = did_you_mean(module, names_of(slots))
            tail = f", did you mean `{escape(near)}`?" if near else ""
            raise NoSuchModule(f"the network has no module `{escape(module)}`{tail}")
        keys.update(dict.fromkeys(inside))
    return list(keys)


def names_of(keys: Iterable[str]) -> list[str]:
    """Modules and the namespaces around them, outermost first."""
    found: dict[str, None] = {}
    for key in keys:
        parts = key.split(".")
        found.update(dict.fromkeys(".".join(parts[:n]) for n in range(1, len(parts))))
    return list(found)


def _suits(slot: Slot, spec: Spec) -> bool:
    return slot.shape == spec.shape and slot.whole == (spec.dtype not in FLOATING)


def _align(graph: Graph, found: Match, usable: set[str]) -> None:
    """What has no name in common, by structure; modules that a file may lack, or else not."""
    free = {
        name: found.specs[name]
        for name in found.unused
        if name in usable and (found.specs[name].dtype in FLOATING or COUNTER in name)
    }
    absent, fresh = set(found._absent), set(found.fresh)
    for keys in (absent | fresh, set(found.missing) | fresh, absent, set(found.missing)):
        aligned = align(graph, {k: s for k, s in found.slots.items() if k in keys}, free)
        if aligned is not None:
            found.aligned = aligned
            aligned.pairs = [(m, t) for m, t in aligned.pairs if not fresh & {*m.keys.values()}]
            for mine, theirs in aligned.pairs:
                _take(found, mine, theirs, free)
            return


def _take(found: Match, mine: Module, theirs: Module, free: Mapping[str, Spec]) -> None:
    for own, key in mine.keys.items():
        name = theirs.keys[own]
        fits = _suits(found.slots[key], found.specs[name])
        (found.sources if fits else found.differ)[key] = name
    counter, foreign = _beside(mine, COUNTER), _beside(theirs, COUNTER)
    if (
        counter in found.slots
        and foreign in free
        and _suits(found.slots[counter], found.specs[foreign])
    ):
        found.sources[counter] = foreign


def _beside(module: Module, name: str) -> str:
    first = module_of(next(iter(module.keys.values())))[0]
    return f"{first}.{name}" if first else name
