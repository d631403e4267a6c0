"""What one expansion builds and what it may spend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cnndsl.diagnostics import Collector, Diagnostic
from cnndsl.graph.facts import Facts
from cnndsl.graph.infer import infer
from cnndsl.graph.model import Frame, Node, Output
from cnndsl.limits import Limits
from cnndsl.ops.base import Op
from cnndsl.ops.types import UNKNOWN, Type
from cnndsl.semantics import errors
from cnndsl.semantics.trampoline import Answer, Routine
from cnndsl.semantics.values import Flow, Stop
from cnndsl.semantics.wording import expanded
from cnndsl.source import Span


class Failed(Op):
    """Stands where an error left no operator."""

    name = "failed"


class Input(Op, arity=0):
    """An input of the network; the graph's first nodes."""

    name = "input"


FAILED = Failed()
INPUT = Input()


class Choice(NamedTuple):
    """One ``oneof`` that was reached: where, and what was taken."""

    path: str
    options: int
    taken: int
    span: Span
    open: bool
    """Nobody chose: the first alternative stands in."""
    alternatives: tuple[str, ...]


_MOST_ERRORS = 1_000  # instances; what has failed so often will not teach more
Chooser = Callable[[str, int], int | None]


class State:
    """The growing graph. ``multiplier``: how often the text here will be repeated."""

    def __init__(self, limits: Limits, chooser: Chooser) -> None:
        self.limits, self.chooser = limits, chooser
        self.facts = Facts()
        self.nodes: dict[int, Node] = {}
        self.by_path: dict[str, Node] = {}
        self.outputs: list[Output] = []
        self.open_biases: set[int] = set()
        self.choices: list[Choice] = []
        self.choice_nodes: dict[str, tuple[int, int]] = {}
        self._choice_paths: dict[str, int] = {}
        self.found = Collector()
        self.frame: Frame | None = None
        """The call whose text is being expanded: reports name it."""
        self.broken = False
        """Some value is missing: what was built is no network."""
        self.multiplier = 1
        self._inferred: dict[tuple[Op, tuple[Type, ...]], Type] = {}
        self._biased: dict[tuple[Op, bool], Op] = {}
        self._next = 0
        self._steps = 0
        self._charged = 0
        self._idle = 0
        self._errors = 0

    def report(self, diagnostic: Diagnostic) -> None:
        known = self.found.has(diagnostic)
        self.found.add(diagnostic if known else expanded(diagnostic, self.frame))
        self._errors += diagnostic.severity == "error"
        if self._errors > _MOST_ERRORS:
            raise Stop

    def stop(self, diagnostic: Diagnostic) -> Stop:
        self.report(diagnostic)
        return Stop()

    def within(self, frame: Frame | None, routine: Routine[Answer]) -> Routine[Answer]:
        """Runs a routine whose text belongs to another call."""
        outer, self.frame = self.frame, frame
        try:
            answer: Answer = yield routine
            return answer
        finally:
            self.frame = outer

    # --- spending -------------------------------------------------------------------------

    def step(self, span: Span) -> None:
        self._steps += self.multiplier
        self._idle += 1
        if self._steps > self.limits.steps:
            raise self.stop(errors.expansion_limit(span, "steps of evaluation", self.limits.steps))
        if self._idle > self.limits.idle_steps:
            what = "steps of evaluation from one layer to the next"
            raise self.stop(errors.expansion_limit(span, what, self.limits.idle_steps))

    def charge(self, span: Span) -> None:
        """A node is charged for all its repetitions when it is first made."""
        self._idle = 0
        self._charged += self.multiplier
        if self._charged > self.limits.nodes or self._next >= self.limits.nodes:
            raise self.stop(errors.expansion_limit(span, "nodes", self.limits.nodes))

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
        known = self._biased.get((node.op, bias))
        if known is None:
            known = self._biased[node.op, bias] = node.op.replace(bias=bias)
        node.op = known

    def add(
        self,
        op: Op,
        inputs: tuple[int, ...],
        type: Type,
        path: str,
        span: Span,
        frame: Frame | None,
        again: bool = False,
    ) -> Node:
        self.charge(span)
        node = Node(self._next, op, inputs, type, path, span, frame, again)
        self.nodes[node.id] = node
        self._next += 1
        if not op.join:
            self.by_path.setdefault(path, node)
        return node

    def add_output(self, name: str, node: int, emitted: bool = False, train: bool = False) -> None:
        self.outputs.append(Output(name, node, emitted, train))

    def choose(self, path: str, alternatives: Sequence[Span], span: Span) -> Choice:
        """Takes an alternative of a ``oneof``; the choice is recorded under a path of its own."""
        self._choice_paths[path] = same = self._choice_paths.get(path, 0) + 1
        if same > 1:
            path = f"{path}#{same}"
        index = self.chooser(path, len(alternatives))
        texts = tuple(place.text for place in alternatives)
        choice = Choice(path, len(texts), index or 0, span, index is None, texts)
        self.choices.append(choice)
        return choice

    @property
    def next_id(self) -> int:
        return self._next

    def failed(
        self, span: Span, believed: Type = UNKNOWN, inputs: tuple[int, ...] = ()
    ) -> Flow:
        """A wire for what an error left without a value; its type is unknown, or believed.

        The error may have been found before: a name that nobody knows, say.
        """
        self.broken = True
        return Flow((self.add(FAILED, inputs, believed, "", span, self.frame).id,))

    def types(self, ids: Sequence[int]) -> list[Type]:
        return [self.nodes[i].type for i in ids]
