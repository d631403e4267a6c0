"""Blocks that are called alike make the same steps: those of the first call are copied.

A ResNet calls one block dozens of times with equal values, on inputs of equal types. What such
a call makes is then known but for its place: the ids of what it reads, its module path, the
calls around it. Copying a step costs a tenth of making it.

A call is copied only if nothing came of the first one but its steps: no report, no choice, no
output, no `again`; and if what it charges surely stays within every limit, so that a limit is
always met, and told, where the text is expanded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cnndsl.graph.model import Frame, Node
from cnndsl.ops.types import Unknown
from cnndsl.semantics.calls import exactly
from cnndsl.semantics.naming import Namespace
from cnndsl.semantics.state import State, Work
from cnndsl.semantics.values import Env, Flow, Layer, Wires
from cnndsl.source import Span
from cnndsl.syntax import ast


class Call(NamedTuple):
    """A block about to be expanded. ``outside``: the values it can read."""

    key: Any
    outside: tuple[int, ...]
    frame: Frame
    path: str
    depth: int


class Made(NamedTuple):
    """What a call made: its nodes lie behind each other from ``first`` on."""

    call: Call
    first: int
    work: Work
    result: tuple[int, ...]


class Replay:
    """The calls of one expansion that can be copied."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._known: dict[Any, Made] = {}

    def call(self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace) -> Call | None:
        """A call as it can be compared with others; None where it cannot."""
        frame = env.activation.frame
        if space.sharing is not None or frame is None:
            return None
        values, outside = [], list(flow.ids)
        for name, value in env.names.items():
            if isinstance(value, Wires):
                outside += value.ids
                value = (Wires, len(value.ids))
            elif not _comparable(value):
                return None
            values.append((name, value))
        scoped = tuple((op, exactly(given)) for op, given in env.activation.defaults.items())
        # Which of the values are one and the same is a part of what the call is given.
        same = tuple(map(outside.index, outside))
        types = tuple(self.state.types(outside))
        key = (id(tree), exactly(dict(values)), len(flow.ids), same, types, scoped)
        return Call(key, tuple(outside), frame, space.path, env.activation.depth)

    def copied(self, call: Call, span: Span) -> Flow | None:
        """The result of a call that is like an earlier one; None where it must be expanded."""
        made = self._known.get(call.key)
        if made is None or not self._fits(made, call):
            return None
        state, inside = self.state, range(made.first, made.first + made.work.made)
        ids = dict(zip(made.call.outside, call.outside, strict=True))
        ids.update(zip(inside, range(state.next_id, state.next_id + len(inside)), strict=True))
        state.put_again(self._nodes(made, call, ids), made.work, span)
        state.open_biases.update([ids[i] for i in inside if i in state.open_biases])
        return Flow(tuple([ids[i] for i in made.result]))

    def keep(self, call: Call, before: Work, events: int, result: Flow) -> None:
        """Keeps what a call made, if its nodes are all that came of it."""
        if self.state.events == events:
            work = self.state.since(before)
            self._known[call.key] = Made(call, before.made, work, result.ids)

    def _fits(self, made: Made, call: Call) -> bool:
        """Whether it meets no limit: on work, on calls in calls, on levels of names."""
        deeper = call.depth > made.call.depth or call.path.count(".") > made.call.path.count(".")
        return not deeper and self.state.affords(made.work)

    def _nodes(self, made: Made, call: Call, ids: dict[int, int]) -> Iterator[Node]:
        frames, before = {id(made.call.frame): call.frame}, len(made.call.path)
        for i in range(made.first, made.first + made.work.made):
            node = self.state.nodes[i]
            inputs = tuple([ids[k] for k in node.inputs])
            frame = self._frame(node.frame, frames, call, before)
            path = call.path + node.path[before:]
            yield Node(ids[i], node.op, inputs, node.type, path, node.span, frame)

    def _frame(
        self, frame: Frame | None, frames: dict[int, Frame], call: Call, before: int
    ) -> Frame | None:
        """The same call in another place; it stands in calls that ``frames`` has at last."""
        if frame is None:
            return None
        known = frames.get(id(frame))
        if known is None:
            parent = self._frame(frame.parent, frames, call, before)
            path = call.path + frame.path[before:]
            known = frames[id(frame)] = frame._replace(path=path, parent=parent)
        return known


def _comparable(value: Any) -> bool:
    """Whether equal values mean the same everywhere: a layer has names of its own, say."""
    if type(value) is tuple:
        return all(map(_comparable, value))
    return not isinstance(value, Layer | Wires | Unknown)
