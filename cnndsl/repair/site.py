"""A failing join in its text: what several kinds of repair ask about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cnndsl.diagnostics import Fix
from cnndsl.graph.model import Frame, Node
from cnndsl.repair.places import Places, argument, set_argument
from cnndsl.semantics.joins import JoinFault, Side
from cnndsl.semantics.wording import shortened
from cnndsl.syntax import ast

SPACE = ("height", "width")


class Guess(NamedTuple):
    """A fix and how likely it is what was meant: 0 is likeliest."""

    rank: int
    fix: Fix


class Site:
    """The join, its two sides, and the trees of the text around."""

    def __init__(self, fault: JoinFault, places: Places) -> None:
        self.fault, self.places = fault, places
        axes = set(fault.axes)
        self.space = any(axis in axes for axis in SPACE)
        self.channels = bool(axes & {"channels", "features"})
        self.join = fault.op.name

    @property
    def pairs(self) -> tuple[tuple[Side, Side], tuple[Side, Side]]:
        left, right = self.fault.sides
        return (left, right), (right, left)

    def operand(self, side: Side) -> ast.Node | None:
        return self.places.node(side.span)

    def is_here(self, step: Node) -> bool:
        """Whether a step stands in the join's own text, and sees the same names."""
        return step.frame is self.fault.frame

    def written(self, step: Node, name: str) -> str | None:
        """A parameter as the text has it, if that means the same beside the join."""
        if not self.is_here(step) or step.span is None:
            return None
        given = argument(self.places.node(step.span), step.op.params, name)
        return given.value.span.text if given else None

    def set(self, rank: int, step: Node, name: str, value: str) -> Iterator[Guess]:
        """Another value of a step's parameter: at the step, or where a call gives it.

        The step's own text comes first where the join stands in it too; a step inside
        another block is first changed through the call.
        """
        call = self.places.node(step.span) if step.span else None
        if call is None:
            return
        sites = [self._guess(call, list(step.op.params), name, value)]
        sites += self._through_calls(call, list(step.op.params), name, value, step.frame)
        if not self.is_here(step):
            sites = [*sites[1:], sites[0]]
        for away, fix in enumerate(sites):
            if fix is not None:
                yield Guess(rank + min(away, 1), fix)

    def _guess(self, call: ast.Node, names: list[str], name: str, value: str) -> Fix | None:
        edit = set_argument(call, names, name, value)
        title = f"`{name}={value}` in `{shortened(call.span.text)}`"
        return Fix(title, (edit,)) if edit else None

    def _through_calls(
        self, call: ast.Node, names: list[str], name: str, value: str, frame: Frame | None
    ) -> list[Fix | None]:
        """Where the value is a parameter of the declaration, the calls that give it."""
        found: list[Fix | None] = []
        while frame is not None and frame.parent is not None:
            given = argument(call, names, name)
            around = self.places.declaration(call.span)
            params = [p.name.text for p in around.params] if around else []
            if given is None or given.value.span.text not in params:
                break
            name, names = given.value.span.text, params
            outer = self.places.node(frame.span)
            if outer is None:
                break
            call, frame = outer, frame.parent
            found.append(self._guess(call, names, name, value))
        return found

    def net(self) -> ast.Declaration | None:
        frame = self.fault.frame
        while frame is not None and frame.parent is not None:
            frame = frame.parent
        return self.places.declaration(frame.span) if frame else None
