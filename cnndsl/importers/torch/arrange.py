"""Steps to a graph: namespaces stand together, and every step has the name a text gives it."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from cnndsl.graph.build import Builder
from cnndsl.graph.infer import JoinError
from cnndsl.graph.model import Graph, Output
from cnndsl.graph.names import NameProblem, check_names, is_label
from cnndsl.importers.base import ImportProblem
from cnndsl.importers.torch.convert import Step
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.ops.base import RuleError
from cnndsl.ops.types import Type


class Disagreement(ImportProblem):
    """A join whose operands agree only at some sizes."""


def build(
    name: str,
    inputs: Sequence[tuple[str, Type]],
    steps: Sequence[Step],
    outputs: Sequence[Output],
    limits: Limits,
) -> Graph:
    """The checked graph; ids of steps and outputs count the inputs first. ImportProblem."""
    builder = Builder(name, limits)
    ids = {position: builder.input(type, name) for position, (name, type) in enumerate(inputs)}
    first = len(inputs)
    order = _ordered(steps, first)
    paths = Names(steps, order).paths
    owned: set[str] = set()
    for index in order:
        step = steps[index]
        stands = step.space if step.module in owned else None
        owned |= {step.module} - {""}
        try:
            ids[first + index] = builder.add(
                step.op, [ids[i] for i in step.inputs], paths[index], stands=stands
            )
        except JoinError as problem:
            left, right = problem.sizes
            raise Disagreement(str(step.call.problem(f"joins {left} and {right}"))) from None
        except RuleError as problem:
            raise step.call.problem(f"cannot be a step: {problem.message}") from None
    results = [output._replace(node=ids[output.node]) for output in outputs]
    try:
        graph = builder.graph(results)
        check_names(graph, limits)
    except (RuleError, NameProblem) as problem:
        raise ImportProblem(f"its modules give no text: {problem}") from None
    return graph


def _where(step: Step, shared: set[str]) -> str:
    """The namespace that a step stands in."""
    alone = not step.module or step.module in shared
    shared.add(step.module)
    return step.space if alone else step.module.rpartition(".")[0]


# --- order ----------------------------------------------------------------------------------


def _ordered(steps: Sequence[Step], first: int) -> list[int]:
    """The steps in an order in which each namespace is entered once; as recorded, if it can be."""
    shared: set[str] = set()
    spaces = [_where(step, shared).split(".") for step in steps]
    needs = [[i - first for i in step.inputs if i >= first] for step in steps]
    found: list[int] = []
    waiting: list[tuple[list[int], int]] = [(list(range(len(steps))), 0)]
    while waiting:
        inside, depth = waiting.pop()
        groups = _groups(inside, depth, spaces, needs)
        if len(groups) == len(inside):
            found += [index for group in groups for index in group]
        else:
            deeper = [(group, depth + 1) for group in groups]
            waiting += reversed(deeper)
    return found


def _groups(
    inside: list[int], depth: int, spaces: list[list[str]], needs: list[list[int]]
) -> list[list[int]]:
    """The parts of a namespace, each a step or a namespace inside it, in order."""
    keys = {i: _part(i, depth, spaces) for i in inside}
    groups: dict[str | int, list[int]] = {}
    for i in inside:
        groups.setdefault(keys[i], []).append(i)
    before: dict[str | int, set[str | int]] = {key: set() for key in groups}
    for i in inside:
        before[keys[i]] |= {keys[j] for j in needs[i] if j in keys} - {keys[i]}
    ready = [(groups[key][0], key) for key, wanted in before.items() if not wanted]
    heapify(ready)
    after: dict[str | int, list[str | int]] = {key: [] for key in groups}
    for key, wanted in before.items():
        for other in wanted:
            after[other].append(key)
    found = []
    while ready:
        _, key = heappop(ready)
        found.append(groups[key])
        for other in after[key]:
            before[other].discard(key)
            if not before[other]:
                heappush(ready, (groups[other][0], other))
    if len(found) < len(groups):
        stuck = next(str(key) for key, wanted in before.items() if wanted and isinstance(key, str))
        raise ImportProblem(
            f"modules of `{stuck}` run before and after others that need them, and a namespace "
            "stands in one place"
        )
    return found


def _part(index: int, depth: int, spaces: list[list[str]]) -> str | int:
    space = [part for part in spaces[index] if part]
    return ".".join(space[: depth + 1]) if len(space) > depth else index


# --- names ----------------------------------------------------------------------------------


class Names:
    """Paths of all steps: a module's own, or the position that a text counts."""

    def __init__(self, steps: Sequence[Step], order: Sequence[int]) -> None:
        self.counts: dict[str, int] = {}
        self.taken: dict[str, set[str]] = {}
        self.opened: set[str] = set()
        self.modules: set[str] = set()
        self.pieces: dict[int, str] = {}
        for step in steps:
            self._reserve(step.module or f"{step.space}." if step.space else step.module)
        self.paths = {index: self._path(steps[index]) for index in order}

    def _reserve(self, path: str) -> None:
        """Every name that a module of the original has."""
        while path:
            space, _, own = path.rpartition(".")
            self.taken.setdefault(space, set()).add(own)
            path = space

    def _path(self, step: Step) -> str:
        if step.op.join:
            self._open(step.space)
            return f"{step.space}.{step.op.name}" if step.space else step.op.name
        if step.module:
            return self._own(step)
        self._open(step.space)
        if step.piece is not None:
            group, index = step.piece
            if group not in self.pieces:
                self.pieces[group] = self._free(step)
            return f"{self.pieces[group]}.{index}"
        return self._free(step)

    def _own(self, step: Step) -> str:
        """A module's path; a second time it takes no position."""
        if step.module in self.modules:
            self._open(step.space)
            return step.module
        self.modules.add(step.module)
        space = step.module.rpartition(".")[0]
        self._open(space)
        self._take(space)
        return step.module

    def _open(self, space: str) -> None:
        """A namespace takes a position in the one around it."""
        if space and space not in self.opened:
            outer = space.rpartition(".")[0]
            self._open(outer)
            self.opened.add(space)
            self._take(outer)

    def _take(self, space: str) -> str:
        position = self.counts.get(space, 0)
        self.counts[space] = position + 1
        return str(position)

    def _free(self, step: Step) -> str:
        """The position, or where that is another's name, the layer's own or a new one."""
        taken = self.taken.setdefault(step.space, set())
        name, number = self._take(step.space), 0
        wishes = [step.leaf] if step.leaf and is_label(step.leaf, DEFAULT_LIMITS) else []
        while name in taken:
            name = wishes.pop() if wishes else f"{step.op.name}{number or ''}"
            number += 1
        taken.add(name)
        return f"{step.space}.{name}" if step.space else name
