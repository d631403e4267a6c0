"""A concatenation of concatenations is one concatenation."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.merge import Concat
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step


@dataclass(frozen=True)
class FlattenConcat(Rewrite):
    """``concat(concat(a, b), c)`` becomes ``concat(a, b, c)``.

    Pays always: the values of ``a`` and ``b`` are copied once, not twice.

    Guard: nobody else reads the inner concatenation, else it is made anyhow and nothing is
    saved (``buffers`` lets it share memory with the outer one instead).
    """

    name = "flatten-concat"

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Concat):
            return None
        inner = [source for source in step.inputs if self.is_inner(source, step, flow)]
        if not inner:
            return None
        parts: list[Step] = []
        for source in step.inputs:
            parts.extend(source.inputs if source in inner else (source,))
        origins = [o for s in (*inner, step) for o in s.origins]
        flow.replace(step, flow.add(step.op, parts, {}, origins))
        return Fired(f"one copy of {len(parts)} parts")

    def is_inner(self, source: Step, step: Step, flow: Flow) -> bool:
        return isinstance(source.op, Concat) and flow.only_user(source) is step
