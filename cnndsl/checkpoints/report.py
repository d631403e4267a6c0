"""What fits and what does not, grouped by module: a report to be read, not a wall of keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cnndsl.checkpoints.bounds import Spec
from cnndsl.checkpoints.layout import COUNTER, module_of
from cnndsl.checkpoints.match import Match, names_of
from cnndsl.checkpoints.propose import propose
from cnndsl.checkpoints.rules import Rule
from cnndsl.checkpoints.structure import Module
from cnndsl.diagnostics.display import counted, escape
from cnndsl.diagnostics.suggest import did_you_mean

_LINES = 8  # modules of each kind that are told
_KEYS = 3  # names that one sentence tells
_SEEN = 2_000  # names among which the meant one is looked for


def in_short(found: Match) -> str:
    """One sentence on what keeps the weights from the network."""
    told = [f"{counted(len(found.sources), 'tensor')} of {len(found.slots)} found"]
    if found.missing:
        told.append(f"{len(found.missing)} missing: {_some(found.missing)}")
    kinds = found.other_kind
    shapes = [key for key in found.differ if key not in kinds]
    if shapes:
        told.append(f"{len(shapes)} of another shape: {_some(_changes(found, shapes))}")
    if kinds:
        told.append(f"{len(kinds)} of another kind of number: {_some(_kinds(found, kinds))}")
    if found.broken:
        told.append(f"{len(found.broken)} hold what is no finite number: {_some(_counts(found))}")
    if found.unused:
        told.append(f"{len(found.unused)} unused: {_some(found.unused)}")
    return f"the weights do not fit {found.net}: {'; '.join(told)}"


def lines(found: Match) -> list[str]:
    """The whole report, without colours; every name in it is escaped."""
    return [
        *_matched(found), *_unclear(found), *_differing(found), *_of_other_kind(found),
        *_broken(found), *_missing(found), *_spared(found), *_fresh(found), *_unused(found),
        *_idle(found),
    ]  # fmt: skip


def pairs_of(found: Match) -> list[tuple[str, str]]:
    """Their names and ours of what was matched by structure: modules, or single tensors."""
    if found.aligned is None:
        return []
    return [pair for mine, theirs in found.aligned.pairs for pair in names_between(mine, theirs)]


def names_between(mine: Module, theirs: Module) -> list[tuple[str, str]]:
    """The pair of two modules' names; those of their tensors where a module's name tells less."""
    owns = [(module_of(theirs.keys[own])[1], module_of(key)[1]) for own, key in mine.keys.items()]
    if mine.name and theirs.name and all(old == new for old, new in owns):
        return [(theirs.name, mine.name)]
    return [(theirs.keys[own], key) for own, key in mine.keys.items()]


def proposed(found: Match) -> list[Rule]:
    """Rules that do by name what structure found."""
    if found.aligned is None:
        return []
    aligned = {name for _, theirs in found.aligned.pairs for name in theirs.keys.values()}
    others = [
        name for name in found.sources.values() if name not in aligned and COUNTER not in name
    ]
    return propose(pairs_of(found), others)


# --- parts ----------------------------------------------------------------------------------


def _matched(found: Match) -> Iterable[str]:
    pairs = found.aligned.pairs if found.aligned else []
    modules = {module_of(key)[0] for mine, _ in pairs for key in mine.keys.values()}
    aligned = sum(module_of(key)[0] in modules for key in found.sources)
    mapped = len(found.renamed)
    named = len(found.sources) - mapped - aligned
    yield f"{len(found.sources)} of {counted(len(found.slots), 'tensor')} fit"
    if named and (mapped or aligned):
        yield f"  {named} by name"
    if mapped:
        yield f"  {mapped} by the map"
    if aligned:
        yield f"  {aligned} by structure, order and shapes:"
        rules = proposed(found)
        yield from (f"    {escape(rule.text())}" for rule in rules[:_LINES])
        yield from _more(len(rules) - _LINES, "rule", "    ")


def _unclear(found: Match) -> Iterable[str]:
    groups = found.aligned.open if found.aligned else []
    for group in groups[:_LINES]:
        ours = [mine.name for mine, _ in group if mine.leads] or [m.name for m, _ in group]
        theirs = [t.name for mine, t in group if mine.leads] or [t.name for _, t in group]
        yield f"not clear: {_some(ours)} run side by side and are of one shape, as {_some(theirs)}"
    yield from _more(len(groups) - _LINES, "group", "")
    if groups:
        yield "  say which is which in a map file: `weights map` writes one"


def _differing(found: Match) -> Iterable[str]:
    kinds = set(found.other_kind)
    rows = [
        (escape(key), _shape(found.specs[name]), str(list(found.slots[key].shape)))
        for key, name in found.differ.items()
        if key not in kinds
    ]
    if not rows:
        return
    yield f"{counted(len(rows), 'tensor')} of another shape:"
    wide = [max(len(row[i]) for row in rows[:_LINES]) for i in range(2)]
    for key, old, new in rows[:_LINES]:
        yield f"  {key:<{wide[0]}}  {old:<{wide[1]}} → {new}"
    yield from _more(len(rows) - _LINES, "tensor")
    change = classes(found)
    if change:
        modules, theirs, ours = change
        names = " ".join(f"--reinit {escape(name)}" for name in modules)
        yield f"  {theirs} → {ours}? `weights convert {names}` begins there again"
        given = [name for name, value in found.parameters.items() if value == ours]
        if len(given) == 1:
            yield f"  `--set {escape(given[0])}={theirs}` makes the net as the file is"


def _of_other_kind(found: Match) -> Iterable[str]:
    kinds = _kinds(found, found.other_kind)
    if kinds:
        yield f"{counted(len(kinds), 'tensor')} of another kind of number:"
        yield from (f"  {escape(text)}" for text in kinds[:_LINES])
        yield from _more(len(kinds) - _LINES, "tensor")


def _broken(found: Match) -> Iterable[str]:
    counts = _counts(found)
    if counts:
        yield f"{counted(len(counts), 'tensor')} with what is no finite number:"
        yield from (f"  {escape(text)}" for text in counts[:_LINES])
        yield from _more(len(counts) - _LINES, "tensor")


def classes(found: Match) -> tuple[list[str], int, int] | None:
    """Modules that differ in how many they tell apart, and the file's number and ours.

    None where any other size differs.
    """
    changes = set()
    keys = [key for key in found.differ if key not in found.other_kind]
    for key in keys:
        old, new = found.specs[found.differ[key]].shape, found.slots[key].shape
        if not old or len(old) != len(new) or old[1:] != new[1:]:
            return None
        changes.add((old[0], new[0]))
    if len(changes) != 1:
        return None
    modules = dict.fromkeys(found.slots[key].module for key in keys)
    return list(modules), *next(iter(changes))


def _shape(spec: Spec) -> str:
    return f"{list(spec.shape)}" + ("" if spec.dtype == "float32" else f" {spec.dtype}")


def _missing(found: Match) -> Iterable[str]:
    if not found.missing:
        return
    groups = _by_module(found.missing)
    yield f"{counted(len(found.missing), 'tensor')} missing, of {counted(len(groups), 'module')}:"
    free = names_of(found.unused)[:_SEEN]
    for module, owns in list(groups.items())[:_LINES]:
        near = _near(module, free)
        hint = f"; the file has `{escape(near)}`" if near else ""
        yield f"  {escape(module) or '(the network)'}: {', '.join(map(escape, owns))}{hint}"
    yield from _more(len(groups) - _LINES, "module")


def _near(module: str, names: Sequence[str]) -> str | None:
    """An unused module of the file that ends the same, or is spelled nearly so."""
    ends = [name for name in names if name.endswith(f".{module}") or module.endswith(f".{name}")]
    return ends[0] if len(ends) == 1 else did_you_mean(module, names)


def _spared(found: Match) -> Iterable[str]:
    counters = [key for key in found.spared if found.slots[key].whole]
    heads = _by_module([key for key in found.spared if not found.slots[key].whole])
    if counters:
        yield f"not in the file, not needed: {len(counters)} {COUNTER}"
    if heads:
        tops = dict.fromkeys(name.partition(".")[0] for name in heads)
        yield f"not in the file, only for training: {_some(list(tops))}"


def _fresh(found: Match) -> Iterable[str]:
    if found.fresh:
        modules = list(_by_module(found.fresh))
        yield f"begins again: {_some(modules)} ({counted(len(found.fresh), 'tensor')})"


def _unused(found: Match) -> Iterable[str]:
    if not found.unused:
        return
    groups = _by_module(found.unused)
    yield f"{counted(len(found.unused), 'tensor')} of the file unused:"
    for module, owns in list(groups.items())[:_LINES]:
        shown = ", ".join(
            f"{escape(own)} {_shape_in(found.specs, module, own)}" for own in owns[:4]
        )
        yield f"  {escape(module) or '(no module)'}: {shown}{', …' if len(owns) > 4 else ''}"
    yield from _more(len(groups) - _LINES, "module")


def _shape_in(specs: Mapping[str, Spec], module: str, own: str) -> str:
    return _shape(specs[f"{module}.{own}" if module else own])


def _idle(found: Match) -> Iterable[str]:
    for rule in found.idle[:_LINES]:
        yield f"line {rule.line} of the map fits nothing: {escape(rule.text())}"
    yield from _more(len(found.idle) - _LINES, "rule")


# --- words ----------------------------------------------------------------------------------


def _by_module(keys: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key in keys:
        module, own = module_of(key)
        groups.setdefault(module, []).append(own)
    return groups


def _changes(found: Match, keys: Iterable[str]) -> list[str]:
    return [
        f"{key} {_shape(found.specs[found.differ[key]])} → {list(found.slots[key].shape)}"
        for key in keys
    ]


def _kinds(found: Match, keys: Iterable[str]) -> list[str]:
    return [
        f"{key} {found.specs[found.differ[key]].dtype} → "
        f"{'int64' if found.slots[key].whole else 'floating-point'}"
        for key in keys
    ]


def _counts(found: Match) -> list[str]:
    return [
        f"{key} ({count:,} of {found.specs[found.sources[key]].numbers:,})"
        for key, count in found.broken.items()
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _KEYS} more" if len(names) > _KEYS else ""
    return ", ".join(map(escape, names[:_KEYS])) + more


def _more(count: int, what: str, indent: str = "  ") -> Iterable[str]:
    if count > 0:
        yield f"{indent}and {counted(count, what)} more"
