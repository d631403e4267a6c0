"""What one expansion builds and what it may spend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cnndsl.diagnostics import Collector, Diagnostic
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import infer
from cnndsl.graph.model import Frame, Node, Output
from cnndsl.limits import Limits, Stopwatch, unhurried
from cnndsl.ops.base import Op
from cnndsl.ops.types import UNKNOWN, Type
from cnndsl.semantics import errors
from cnndsl.semantics.doubt import Doubt
from cnndsl.semantics.trampoline import Answer, Later, Routine
from cnndsl.semantics.values import Env, Flow, Stop, Wires
from cnndsl.semantics.wording import expanded
from cnndsl.source import Span
from cnndsl.syntax import ast
from cnndsl.syntax.errors import out_of_time


class Failed(Op):
    """Stands where an error left no operator."""

    name = "failed"


FAILED = Failed()


class Choice(NamedTuple):
    """One ``oneof`` that was reached: where, and what was taken."""

    path: str
    taken: int
    span: Span
    open: bool
    """Nobody chose: the first alternative stands in."""
    arguments: tuple[ast.Argument, ...]

    @property
    def options(self) -> int:
        return len(self.arguments)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The texts of what can be taken."""
        return tuple(argument.value.span.text for argument in self.arguments)


class Region(NamedTuple):
    """All that a choice can reach from inside: what it leaves to the rest are types."""

    nodes: tuple[int, int]
    """The first, and the one behind the last."""
    choices: tuple[int, int]
    """Those that the alternative opened, by their place among all."""
    leaves: tuple[object, ...]
    """What it gives to the text behind: the types of its wires and of wires with names."""


class Work(NamedTuple):
    """What a part of an expansion makes and takes, and what it charges.

    It makes so many nodes and takes so many steps, ``rest`` of them behind its last node.
    ``nodes`` and ``steps`` are charged: they count what will be repeated, and are not known of
    what is ``repeated`` itself, as its first pass was charged for it.
    """

    made: int
    nodes: int
    taken: int
    steps: int
    rest: int
    repeated: bool


_LARGE = 2_000  # nodes from which it pays to look ahead
_MOST_ERRORS = 1_000  # instances; what has failed so often will not teach more
Chooser = Callable[[str, int], int | None]


class State:
    """The growing graph. ``multiplier``: how often the text here will be repeated."""

    def __init__(self, limits: Limits, chooser: Chooser, watch: Stopwatch | None = None) -> None:
        self.limits, self.chooser = limits, chooser
        self.watch = watch or unhurried()
        self.facts = Facts()
        self.fixed: set[str] = set()
        """Symbols of the input that a number was given for from outside."""
        self.nodes: dict[int, Node] = {}
        self.doubt = Doubt(self.nodes, self.facts, limits)
        self.by_path: dict[str, Node] = {}
        self.outputs: list[Output] = []
        self.open_biases: set[int] = set()
        self.choices: list[Choice] = []
        self.regions: dict[str, Region] = {}
        self._choice_paths: dict[str, int] = {}
        self.found = Collector()
        self.frame: Frame | None = None
        """The call whose text is being expanded: reports name it."""
        self.broken = False
        """Some value is missing: what was built is no network."""
        self.multiplier = 1
        self.foresee: Callable[[], Diagnostic | None] | None = None
        """Tells, once a network has become large, whether it will become too large."""
        self._inferred: dict[tuple[Op, tuple[Type, ...]], Type] = {}
        self._next = 0
        self._steps = 0
        self._charged = 0
        self._taken = self._rested = 0
        self._errors = 0
        self.events = 0
        """Reports, failures, choices, outputs, uses of `again`: what may come of a text besides
        steps of its own.
        """

    def report(self, diagnostic: Diagnostic) -> None:
        self.events += 1
        known = self.found.has(diagnostic)
        self.found.add(diagnostic if known else expanded(diagnostic, self.frame))
        self._errors += diagnostic.severity == "error"
        if self._errors > _MOST_ERRORS:
            raise Stop

    def stop(self, diagnostic: Diagnostic) -> Stop:
        self.report(diagnostic)
        return Stop()

    def within(self, frame: Frame | None, routine: Later[Answer]) -> Routine[Answer]:
        """Runs a routine whose text belongs to another call."""
        outer, self.frame = self.frame, frame
        try:
            answer: Answer = yield routine
            return answer
        finally:
            self.frame = outer

    # --- spending -------------------------------------------------------------------------

    def _hurry(self, span: Span) -> None:
        """Nothing is expanded without a step or a node, so nothing outlasts the time by much."""
        if self.watch.over:
            raise self.stop(out_of_time(self.watch.seconds, span))

    def step(self, span: Span) -> None:
        self._hurry(span)
        self._steps += self.multiplier
        self._taken += 1
        if self._steps > self.limits.steps:
            raise self._past(span, "steps of evaluation", self.limits.steps)
        if self._taken - self._rested > self.limits.idle_steps:
            what = "steps of evaluation from one layer to the next"
            raise self._past(span, what, self.limits.idle_steps)

    def _past(self, span: Span, what: str, limit: int) -> Stop:
        return self.stop(errors.expansion_limit(span, what, limit))

    def charge(self, span: Span) -> None:
        """A node is charged for all its repetitions when it is first made."""
        self._hurry(span)
        self._rested = self._taken
        self._charged += self.multiplier
        if self._charged > self.limits.nodes or self._next >= self.limits.nodes:
            raise self._past(span, "nodes", self.limits.nodes)
        if self.foresee is not None and self._charged > _LARGE:
            foresee, self.foresee = self.foresee, None
            found = foresee()
            if found is not None:
                self.found.add(found)
                raise Stop

    def spend(self, span: Span, nodes: int, steps: int) -> None:
        """Charges what is known to be needed, without building it."""
        self._hurry(span)
        self._charged += nodes * self.multiplier
        self._steps += steps * self.multiplier
        if self._charged > self.limits.nodes:
            raise self._past(span, "nodes", self.limits.nodes)
        if self._steps > self.limits.steps:
            raise self._past(span, "steps of evaluation", self.limits.steps)

    @property
    def charged(self) -> tuple[int, int]:
        """Nodes and steps, repetitions included."""
        return self._charged, self._steps

    @property
    def work(self) -> Work:
        """All that was charged so far."""
        rest = self._taken - self._rested
        repeated = not self.multiplier
        return Work(self._next, self._charged, self._taken, self._steps, rest, repeated)

    def since(self, before: Work) -> Work:
        """What was charged since then, for one pass through the text here."""
        now, passes = self.work, self.multiplier or 1
        return Work(
            now.made - before.made, (now.nodes - before.nodes) // passes,
            now.taken - before.taken, (now.steps - before.steps) // passes,
            now.rest, now.repeated,
        )  # fmt: skip

    def affords(self, work: Work) -> bool:
        """Whether charging this once more would surely run into no limit, and not look ahead."""
        limits, passes = self.limits, self.multiplier
        if work.repeated and passes:
            return False  # what its first pass charged is not known
        nodes = self._charged + work.nodes * passes
        return (
            nodes <= (limits.nodes if self.foresee is None else min(limits.nodes, _LARGE))
            and self._next + work.made <= limits.nodes
            and self._steps + work.steps * passes <= limits.steps
            and self._taken - self._rested + work.taken <= limits.idle_steps
        )

    @property
    def spent(self) -> int:
        return self._steps + self._next

    # --- growing --------------------------------------------------------------------------

    def infer(self, op: Op, xs: tuple[Type, ...]) -> Type:
        """The type of the next node; raises RuleError.

        Facts only grow, so what held once holds again and adds nothing new.
        """
        known = self._inferred.get((op, xs))
        if known is None:
            known = infer(op, xs, self.facts, self.limits, self._next)
            self._inferred[op, xs] = known
        return known

    def settle_bias(self, node: Node, bias: bool) -> None:
        """The operator of a node whose bias the next step decided."""
        node.op = _biased(node.op, bias)

    def add(
        self,
        op: Op,
        inputs: tuple[int, ...],
        type: Type,
        path: str,
        span: Span,
        frame: Frame | None,
        sharing: str | None = None,
    ) -> Node:
        self.charge(span)
        self.events += sharing is not None
        node = Node(self._next, op, inputs, type, path, span, frame, sharing)
        self._put(node)
        return node

    def _put(self, node: Node) -> None:
        self.nodes[node.id] = node
        self._next += 1
        if node.inputs and not node.op.join:  # an input's name is no module's
            self.by_path.setdefault(node.path, node)

    def put_again(self, nodes: Iterable[Node], work: Work, span: Span) -> None:
        """Nodes that are as others were made, for the same work."""
        for node in nodes:
            self._hurry(span)
            self._put(node)
        self._charged += work.nodes * self.multiplier
        self._steps += work.steps * self.multiplier
        self._taken += work.taken
        if work.made:
            self._rested = self._taken - work.rest

    def stand_in(self, type: Type) -> int:
        """A value without what computes it; nothing is charged."""
        self.nodes[self._next] = Node(self._next, FAILED, (), type, "", None, self.frame)
        self._next += 1
        return self._next - 1

    def add_output(self, name: str, node: int, emitted: bool = False, train: bool = False) -> None:
        self.events += 1
        self.outputs.append(Output(name, node, emitted, train))

    def choose(self, path: str, arguments: tuple[ast.Argument, ...], span: Span) -> Choice:
        """Takes an alternative of a ``oneof``; the choice is recorded under a path of its own."""
        self.events += 1
        self._choice_paths[path] = same = self._choice_paths.get(path, 0) + 1
        if same > 1:
            path = f"{path}#{same}"
        index = self.chooser(path, len(arguments))
        choice = Choice(path, index or 0, span, index is None, arguments)
        self.choices.append(choice)
        return choice

    def enclose(self, path: str, first: int, opened: int, flow: Flow, env: Env) -> None:
        """What has been made since node ``first`` is all that the choice could reach."""
        named = (v.ids for v in env.root.names.values() if isinstance(v, Wires))
        leaves = (*self.types(flow.ids), *(tuple(self.types(i)) for i in named))
        self.regions[path] = Region((first, self._next), (opened, len(self.choices)), leaves)

    @property
    def next_id(self) -> int:
        return self._next

    def failed(self, span: Span, believed: Type = UNKNOWN, inputs: tuple[int, ...] = ()) -> Flow:
        """A wire for what an error left without a value; its type is unknown, or believed.

        The error may have been found before: a name that nobody knows, say.
        """
        self.broken = True
        self.events += 1
        return Flow((self.add(FAILED, inputs, believed, "", span, self.frame).id,))

    def types(self, ids: Sequence[int]) -> list[Type]:
        return [self.nodes[i].type for i in ids]


@lru_cache(maxsize=1024)
def _biased(op: Op, bias: bool) -> Op:
    return op.replace(bias=bias)
