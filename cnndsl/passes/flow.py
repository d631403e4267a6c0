"""The graph that rewrites work on: eval mode only, use-def kept, weights as expressions.

A ``Flow`` is made from a checked ``Graph`` and forgets what training needs: heads emitted in
training, the names of modules. It keeps where every step came from, so that a report can
speak of source lines.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cnndsl.graph.cost import concrete, inference_nodes
from cnndsl.graph.model import Graph, Output
from cnndsl.graph.model import Node as Origin
from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type, channels_of, number, spread
from cnndsl.passes.ops import Chain
from cnndsl.weights.expr import Expr, Param


class Step:
    """One operator on values of other steps. Steps are the same when they are one object.

    ``weights``: an expression for each name the operator has in PyTorch. ``origins``: the
    steps of the text that it computes, first to last.
    """

    __slots__ = ("id", "inputs", "op", "origins", "type", "users", "weights")

    def __init__(
        self,
        id: int,
        op: Op,
        inputs: tuple[Step, ...],
        weights: Mapping[str, Expr],
        type: Type,
        origins: tuple[Origin, ...],
    ) -> None:
        self.id, self.op, self.inputs, self.type = id, op, inputs, type
        self.weights, self.origins = dict(weights), origins
        self.users: dict[int, Step] = {}
        """The steps that read it, by id, each once."""

    @property
    def channels(self) -> int:
        return number(channels_of(self.type))  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"%{self.id} = {self.op.text()}{[s.id for s in self.inputs]} :: {self.type}"


class Flow:
    """Steps and results of one network in eval mode.

    ``sizes`` are the input sizes for which costs are counted; a rewrite holds for all sizes.
    """

    def __init__(self, graph: Graph, sizes: Mapping[str, int] | None = None) -> None:
        self.graph = graph
        self.sizes = dict(sizes) if sizes is not None else graph.facts.reference()
        self._next = 0
        self.log: list[tuple[Step, bool]] = []
        """Steps made (True) and removed (False) since whoever counts them emptied it."""
        self._order: list[Step] | None = None
        self.steps: dict[int, Step] = {}
        self.inputs: list[Step] = []
        self.results: list[Step] = []
        """What is returned, in the order of ``outputs``."""
        self.outputs: tuple[Output, ...] = tuple(o for o in graph.outputs if not o.train)
        self._read(graph)

    def _read(self, graph: Graph) -> None:
        running, made = inference_nodes(graph), dict[int, Step]()
        for node in graph:
            if node.id in running or not node.inputs:
                inputs = tuple(made[i] for i in node.inputs)
                weights = {
                    w.name: Param(".".join(filter(None, (node.path, w.name))), w.shape)
                    for w in (node.op.weights(*(s.type for s in inputs)) if inputs else ())
                }
                origins = (node,) if node.inputs else ()
                made[node.id] = self._insert(node.op, inputs, weights, node.type, origins)
        self.inputs = [made[node.id] for node in graph.inputs]
        self.results = [made[output.node] for output in self.outputs]

    def _insert(
        self,
        op: Op,
        inputs: tuple[Step, ...],
        weights: Mapping[str, Expr],
        type: Type,
        origins: tuple[Origin, ...],
    ) -> Step:
        step = Step(self._next, op, inputs, weights, type, origins)
        self._next += 1
        self.steps[step.id] = step
        for source in inputs:
            source.users[step.id] = step
        self.log.append((step, True))
        self._order = None
        return step

    # --- reading -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Step]:
        """Every step after its inputs; edits during the walk are seen by the next walk."""
        if self._order is None:
            self._order = list(_sorted(self.steps.values()))
        return iter(self._order)

    def __len__(self) -> int:
        return len(self.steps)

    def is_result(self, step: Step) -> bool:
        return any(result is step for result in self.results)

    def only_user(self, step: Step) -> Step | None:
        """The one step that reads it, in one operand; None if there are more, or it is a result."""
        if len(step.users) != 1 or self.is_result(step):
            return None
        (user,) = step.users.values()
        return user if sum(source is step for source in user.inputs) == 1 else None

    # --- writing -----------------------------------------------------------------------------

    def add(
        self,
        op: Op,
        inputs: Sequence[Step],
        weights: Mapping[str, Expr] | None = None,
        origins: Sequence[Origin] = (),
    ) -> Step:
        """A new step; its type is inferred. Raises RuleError, and changes nothing, if it has none.

        ``weights`` must have the names and shapes that the operator declares.
        """
        types = [source.type for source in inputs]
        type = op.infer(*types)
        given = dict(weights or {})
        declared = {w.name: w.shape for w in op.weights(*types)}
        if {name: expr.shape for name, expr in given.items()} != declared:
            found = {name: expr.shape for name, expr in given.items()}
            raise ValueError(f"`{op.text()}` holds {declared}, got {found}")
        return self._insert(op, tuple(inputs), given, type, tuple(dict.fromkeys(origins)))

    def replace(self, old: Step, new: Step) -> None:
        """Everything that read ``old`` reads ``new``; what nobody reads any more is removed."""
        if old.type != new.type:
            raise ValueError(f"{new} is no stand-in for {old}")
        for user in list(old.users.values()):
            if user is not new:
                self._redirect(user, old, new)
        self.results = [new if result is old else result for result in self.results]
        self._order = None
        self._drop(old)

    def _redirect(self, user: Step, old: Step, new: Step) -> None:
        user.inputs = tuple(new if source is old else source for source in user.inputs)
        new.users[user.id] = user
        old.users.pop(user.id, None)

    def _drop(self, step: Step) -> None:
        waiting = [step]
        while waiting:
            dead = waiting.pop()
            if dead.users or dead.id not in self.steps or self._is_kept(dead):
                continue
            del self.steps[dead.id]
            self.log.append((dead, False))
            for source in dead.inputs:
                source.users.pop(dead.id, None)
                waiting.append(source)

    def _is_kept(self, step: Step) -> bool:
        return self.is_result(step) or any(source is step for source in self.inputs)

    # --- counting ----------------------------------------------------------------------------

    def macs(self, step: Step) -> int:
        """Multiply-accumulates of one sample at ``sizes``."""
        if not step.inputs:
            return 0
        types = [self._type(source) for source in step.inputs]
        if isinstance(step.op, Chain):
            return step.op.total_macs(*types)
        return step.op.macs(types[0], self._type(step))

    def values(self, step: Step) -> int:
        """How many numbers it gives for one sample at ``sizes``."""
        type = self._type(step)
        return number(channels_of(type)) * spread(type)  # type: ignore[arg-type]

    def _type(self, step: Step) -> Type:
        return concrete(step.type, self.sizes)

    def total_macs(self) -> int:
        return sum(self.macs(step) for step in self.steps.values())

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the entries of the ``state_dict`` that the steps are computed from, by key."""
        exprs = (expr for step in self for expr in step.weights.values())
        parts = (part for expr in exprs for part in expr.parts())
        return {part.options[0]: part.shape for part in parts if part.kind == "param"}

    def parameters(self) -> int:
        """Numbers that the steps read, derived ones as they are."""
        return sum(math.prod(e.shape) for s in self.steps.values() for e in s.weights.values())

    def at(self, sizes: Mapping[str, int]) -> Flow:
        """A copy for inputs of these sizes only: every type in numbers."""
        twin = self.copy()
        twin.sizes = dict(sizes)
        for step in twin.steps.values():
            step.type = concrete(step.type, sizes)
        return twin

    def copy(self) -> Flow:
        """The same steps with the same ids; edits of one are not seen by the other."""
        twin = Flow.__new__(Flow)
        twin.graph, twin.sizes, twin.outputs = self.graph, dict(self.sizes), self.outputs
        twin._next, twin._order, twin.steps, twin.log = self._next, None, {}, []
        for step in self:
            inputs = tuple(twin.steps[source.id] for source in step.inputs)
            made = Step(step.id, step.op, inputs, step.weights, step.type, step.origins)
            twin.steps[step.id] = made
            for source in inputs:
                source.users[made.id] = made
        twin.inputs = [twin.steps[step.id] for step in self.inputs]
        twin.results = [twin.steps[step.id] for step in self.results]
        return twin


def is_map(step: Step) -> bool:
    """Whether it gives a feature map."""
    return isinstance(step.type, FeatureMap)


def _sorted(steps: Iterable[Step]) -> Iterator[Step]:
    """Inputs first, in linear time; among free steps the older ones come first."""
    known = list(steps)
    waiting = {s.id: len({id(source) for source in s.inputs}) for s in known}
    free = [s for s in reversed(known) if not waiting[s.id]]
    while free:
        step = free.pop()
        yield step
        for user in reversed(list(step.users.values())):
            waiting[user.id] -= 1
            if not waiting[user.id]:
                free.append(user)
