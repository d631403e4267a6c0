"""Stretches of chains that occur more than once become definitions, the most saving first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cnndsl.graph.model import Graph, Node
from cnndsl.ops.types import UNKNOWN, Unknown, channels_of
from cnndsl.outline.reroll_fold import Folder, closed, follows, labels, reads
from cnndsl.outline.reroll_merge import Differ, Merger, loose_shape, settled
from cnndsl.outline.reroll_solve import Solved, solve
from cnndsl.outline.terms import (
    Call,
    Chain,
    Definition,
    Emit,
    For,
    Id,
    If,
    Join,
    Leaf,
    Named,
    Nothing,
    Power,
    Ref,
    Tap,
    Term,
    chain,
    result_of,
    steps,
    walk,
)

_LONGEST = 12
_TRIED = 24
_ROUNDS = 40
_WORTH = 5  # words
_FORCED = 3  # words that a namespace at a position needs
_SHORT = 4  # words of a step that needs no name of its own
_UNMADE = 4  # so that inner blocks are made first
_MOST_PARAMS = 8
_SAMPLE = 24  # members that tell whether a family is worth it


@dataclass
class Roots:
    """A net's terms, and the definitions that they use."""

    terms: list[Term]
    definitions: list[Definition]


class _Window(NamedTuple):
    """``length`` items from ``start``. ``channels``: those that arrive, where it is known.

    ``whole``: all of a namespace; ``forced``: one that has to be a block in any case.
    """

    items: tuple[Term, ...]
    start: int
    length: int
    whole: bool
    forced: bool
    channels: int | None

    @property
    def members(self) -> tuple[Term, ...]:
        return self.items[self.start : self.start + self.length]


@dataclass
class _Found:
    saved: float
    windows: list[_Window]
    body: Term
    solved: Solved
    module: bool


def reroll(terms: Sequence[Term], graph: Graph, *, keep: bool) -> Roots:
    """The terms with definitions and repetitions in place of what is alike."""
    roots = Roots(list(terms), [])
    _fold(roots)
    search = _Search(graph, keep)
    for _ in range(_ROUNDS):
        found = search.best(roots)
        if found is None:
            break
        _replace(roots, found)
        _fold(roots)
    return roots


def _fold(roots: Roots) -> None:
    folder = Folder([*roots.terms, *(d.body for d in roots.definitions)])
    roots.terms = [folder.fold(term) for term in roots.terms]
    for definition in roots.definitions:
        definition.body = folder.fold(definition.body)


def _replace(roots: Roots, found: _Found) -> None:
    solved = found.solved
    definition = Definition(
        "", found.module, tuple(solved.params), tuple(solved.defaults), tuple(solved.wires),
        found.body,
    )  # fmt: skip
    calls: dict[int, tuple[int, Term]] = {}
    for k, window in enumerate(found.windows):
        values = tuple(column[k] for column in solved.columns)
        wires = tuple(column[k] for column in solved.wired)
        call = Call(definition, values, wires, window.channels or 0)
        calls[id(window.members[0])] = (window.length, call)
    roots.terms = [_rewritten(term, calls) for term in roots.terms]
    for other in roots.definitions:
        other.body = _rewritten(other.body, calls)
    roots.definitions.append(definition)


def _rewritten(term: Term, calls: dict[int, tuple[int, Term]]) -> Term:
    if not isinstance(term, Chain):
        known = calls.get(id(term))
        if known is not None:
            return known[1]
        parts = tuple(_rewritten(part, calls) for part in term.parts)
        if all(a is b for a, b in zip(parts, term.parts, strict=True)):
            return term
        return term.remade(term.own, parts)
    items: list[Term] = []
    at = 0
    while at < len(term.items):
        count, call = calls.get(id(term.items[at]), (1, None))
        items.append(call or _rewritten(term.items[at], calls))
        at += count
    return chain(items)


class _Search:
    def __init__(self, graph: Graph, keep: bool) -> None:
        self.graph, self.keep = graph, keep

    def best(self, roots: Roots) -> _Found | None:
        groups: dict[Any, list[_Window]] = {}
        everything = [*roots.terms, *(d.body for d in roots.definitions)]
        self.total = reads(everything)
        for term in roots.terms:
            self._collect(term, groups, True, None)
        for definition in roots.definitions:
            self._collect(definition.body, groups, False, None)
        several = [windows for windows in groups.values() if len(windows) > 1]
        ranked = sorted(several, key=_most, reverse=True)
        estimates: list[tuple[float, int]] = []
        for k, windows in enumerate(ranked[:_TRIED]):
            if estimates and max(estimates)[0] >= _most(windows):
                break
            estimates.append((self._estimate(windows), -k))
        for saved, k in sorted(estimates, reverse=True):
            found = self._family(ranked[-k]) if saved >= _WORTH else None
            if found is not None and found.saved >= _WORTH:
                return found
        return None

    def _estimate(self, windows: list[_Window]) -> float:
        """What a family would save; of a large one some members tell."""
        share = self._family(windows[:_SAMPLE])
        return share.saved * len(windows) / min(len(windows), _SAMPLE) if share else 0.0

    # --- candidates -----------------------------------------------------------------------------

    def _collect(
        self, term: Term, groups: dict[Any, list[_Window]], known: bool, around: Term | None
    ) -> None:
        items = steps(term)
        whole = isinstance(around, Named) and self.keep
        forced = whole and isinstance(around, Named) and around.label is None
        shapes = [loose_shape(item) for item in items]
        plain = [_is_plain(item) for item in items]
        for start in range(len(items)):
            for count in range(1, min(_LONGEST, len(items) - start) + 1):
                if not plain[start + count - 1]:
                    break
                entire = whole and count == len(items)
                if count == 1 and self._says_enough(items[start], entire and forced):
                    continue
                key = (entire, *shapes[start : start + count])
                channels = self._channels(items[start]) if known else None
                window = _Window(items, start, count, entire, entire and forced, channels)
                groups.setdefault(key, []).append(window)
                if entire:  # also where it is but a part of others
                    stretch = window._replace(whole=False, forced=False)
                    groups.setdefault((False, *key[1:]), []).append(stretch)
        for item in items:
            inside = known and self._is_steady(item)
            for part in item.parts:
                if isinstance(item, Join | If) and _has_label(part):
                    self._inner(part, groups, inside)
                else:
                    self._collect(part, groups, inside, item)

    def _inner(self, term: Term, groups: dict[Any, list[_Window]], known: bool) -> None:
        """What is in an operand with a label; the language wants to see the label there."""
        for part in term.parts:
            self._collect(part, groups, known, term)

    def _says_enough(self, term: Term, forced: bool) -> bool:
        """Whether a definition of this alone would be no help."""
        if isinstance(term, Call):
            return term.definition.module or not forced
        if isinstance(term, Leaf) and term.size <= _SHORT:
            return True
        return self.keep and not forced and _is_named(term)

    def _is_steady(self, term: Term) -> bool:
        """Whether what is inside has the same channels arriving at every turn."""
        if isinstance(term, Power):
            left = self.graph.nodes.get(result_of(term.body))
            return left is not None and _channels_of(left) == self._channels(term.body)
        return not isinstance(term, For)

    def _channels(self, term: Term) -> int | None:
        """The channels that arrive at a term of the net itself."""
        if isinstance(term, Leaf):
            return _channels_of(self.graph.nodes[self.graph.nodes[term.node].inputs[0]])
        if isinstance(term, Call):
            return term.channels or None
        if isinstance(term, Ref | Id | Nothing):
            return None
        if isinstance(term, Chain):
            return self._channels(term.items[0])
        found = [self._channels(part) for part in term.parts]
        return next((channels for channels in found if channels), None)

    # --- families -------------------------------------------------------------------------------

    def _family(self, windows: list[_Window]) -> _Found | None:
        windows = self._apart(windows)
        if len(windows) < 2:
            return None
        classes: dict[tuple[bytes, ...], list[_Window]] = {}
        for window in windows:
            key = tuple(item.shape for item in window.members)
            classes.setdefault(key, []).append(window)
        ordered = sorted(classes.values(), key=len, reverse=True)
        best = None
        chosen: list[_Window] = []
        for group in ordered:
            found = self._merged([*chosen, *group])
            if found is not None:
                chosen += group
                best = found
        return best

    def _apart(self, windows: list[_Window]) -> list[_Window]:
        """Without those that overlap one before, or whose named values are read outside."""
        taken: dict[int, int] = {}
        kept = []
        for window in windows:
            holder = id(window.items[0])
            if window.start < taken.get(holder, 0):
                continue
            holes = [hole for item in window.members for hole in item.holes]
            if closed(holes, self.total) is None:
                continue
            taken[holder] = window.start + window.length
            kept.append(window)
        return kept

    def _merged(self, windows: list[_Window]) -> _Found | None:
        merger = Merger(len(windows))
        try:
            body = merger.merge([chain(list(w.members)) for w in windows])
            arriving = [w.channels for w in windows]
            solved = solve(merger.columns, merger.optional, arriving, merger.variables)
        except (Differ, ValueError):
            return None
        if len(solved.params) > _MOST_PARAMS:
            return None
        body = settled(body, solved.slots)
        module = self._is_module(windows[0], body)
        awkward = sum(_awkward(window) for window in windows)
        saved = _before(windows) - _after(windows, solved) - body.size - 4
        worth = (saved - awkward) / (_UNMADE if _is_unmade(body) else 1)
        return _Found(worth, windows, body, solved, module)

    def _is_module(self, window: _Window, body: Term) -> bool:
        if self.keep:
            return window.whole
        direct = any(isinstance(item, Leaf) and item.weighty for item in _direct(body))
        return direct or bool(labels(body))


def _is_named(term: Term) -> bool:
    return isinstance(term.body if isinstance(term, Tap) else term, Named)


def _has_label(term: Term) -> bool:
    return isinstance(term, Leaf | Named) and term.label is not None


def _direct(term: Term) -> Iterator[Term]:
    """What stands in the term's own namespace."""
    yield term
    if not isinstance(term, Named):
        for part in term.parts:
            yield from _direct(part)


def _is_unmade(body: Term) -> bool:
    """Whether there are namespaces at positions inside that are no blocks yet."""
    return any(
        isinstance(term, Named) and term.label is None and not isinstance(term.body, Call)
        for term in walk(body)
    )


def _before(windows: Sequence[_Window]) -> int:
    """Words of the members as they stand."""
    words = sum(item.size for window in windows for item in window.members)
    return words + sum(_FORCED for window in windows if window.forced)


def _after(windows: Sequence[_Window], solved: Solved) -> int:
    """Words of the calls, those that repeat the one before left out, and of the parameters."""
    words = 2 * len(solved.params) + 3 * len(solved.wires)
    pairs = list(zip(solved.columns, solved.defaults, strict=True))
    step: tuple[Any, ...] | None = None
    for k, window in enumerate(windows):
        before = windows[k - 1] if k else None
        behind = before is not None and before.items is window.items
        behind = behind and before is not None and before.start + before.length == window.start
        here = tuple(_step(column[k - 1], column[k]) for column, _ in pairs) if behind else None
        if here is None or (any(here) and here != step):
            words += 1 + sum(column[k] != default for column, default in pairs)
            words += 2 * len(solved.wires)
        step = here
    return words


def _step(before: Any, after: Any) -> Any:
    """From one argument to the next; a loop may count what grows evenly."""
    if isinstance(before, int | float) and isinstance(after, int | float):
        return round(after - before, 9)
    return 0 if before == after else (before, after)


def _most(windows: list[_Window]) -> int:
    """No more words than these can be saved."""
    return _before(windows[1:])


def _is_plain(term: Term) -> bool:
    return not isinstance(term, Id | Nothing) and not any(
        isinstance(inner, Emit) for inner in walk(term)
    )


def _awkward(window: _Window) -> float:
    """Cuts that a person would not make: an activation or a norm away from its convolution."""
    first, before = window.items[window.start], window.items[window.start - 1 : window.start]
    end = window.start + window.length
    behind = window.items[end : end + 1]
    found = 0.0
    if before and follows(first):
        found += 1
    if behind and follows(behind[0]):
        found += 1
    return found


def _channels_of(node: Node) -> int | None:
    channels = UNKNOWN if isinstance(node.type, Unknown) else channels_of(node.type)
    return channels if isinstance(channels, int) else None
