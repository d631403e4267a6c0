"""Steps that look at one point at a time run as one kernel, after a join of channels as well."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.merge import Concat
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.chains import feeds_only, fuse, is_elementwise, keeps_size, links_of
from cnndsl.passes.flow import Flow, Step


@dataclass(frozen=True)
class FuseElementwise(Rewrite):
    """Elementwise steps in a row become one chain.

        affine -> relu                  (affine -> relu)
        add[x, y] -> relu               (add[x, y] -> relu)
        concat[x, y] -> affine -> relu  (concat[x, y] -> affine -> relu)

    Pays always: each step that joins saves writing a map and reading it again. With
    ``concats=False`` a concatenation stays a step of its own, for engines that lay its parts
    into one buffer (``buffers``) and so never make it.

    Guards: the value between has one reader, else it is made anyhow; the step keeps its size
    (a gate does not run over the map that it gates). ``most`` bounds a chain, so that the time
    spent on long rows stays linear.
    """

    name = "fuse-elementwise"
    after = ("fuse-epilogue",)
    concats: bool = True
    most: int = 16

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not is_elementwise(step):
            return None
        for value in reversed(step.inputs):
            if self._starts(value) and self._fits(value, step, flow):
                new = fuse(flow, value, step)
                names = " -> ".join(link.op.name for link in links_of(new))
                return Fired(f"one kernel: {names}")
        return None

    def _starts(self, value: Step) -> bool:
        first = links_of(value)[0]
        return self.concats if isinstance(first.op, Concat) else is_elementwise(value)

    def _fits(self, value: Step, step: Step, flow: Flow) -> bool:
        return (
            self.one_reader(value, step, flow)
            and self.lies_over(value, step)
            and len(links_of(value)) + len(links_of(step)) <= self.most
        )

    def one_reader(self, value: Step, step: Step, flow: Flow) -> bool:
        return feeds_only(flow, value, step)

    def lies_over(self, value: Step, step: Step) -> bool:
        return keeps_size(value, step)
