"""What follows a convolution point by point runs while its values are still in registers."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.merge import Add, Mul
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.chains import (
    feeds_only,
    fuse,
    holds,
    is_elementwise,
    keeps_size,
    links_of,
    operands,
)
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import CONVOLUTIONS


@dataclass(frozen=True)
class FuseEpilogue(Rewrite):
    """A convolution or linear layer with its activation, residual and gate as one kernel.

        conv -> relu                    (conv -> relu)
        conv -> mul[_, gate]            (conv -> mul[_, gate])
        conv -> add[_, x] -> relu       (conv -> add[_, x] -> relu)

    Pays always: each step that joins saves writing a map and reading it again.

    Guards: the value between has one reader, else it is computed twice or must be stored
    anyhow; the step keeps its size (a gate does not run over the map that it gates); one
    residual and one gate, as kernels have operands for. With one reader no cycle can arise: a
    residual that depended on the convolution would be another reader. Of two convolutions that
    are added the last operand takes the sum, and the value of the other is its residual.
    """

    name = "fuse-epilogue"
    residuals: int = 1
    gates: int = 1

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if isinstance(step.op, CONVOLUTIONS):
            return self._why_alone(step, flow)
        if not is_elementwise(step):
            return None
        value = next((v for v in reversed(step.inputs) if self._hosts(v, step, flow)), None)
        if value is None:
            return None
        new = fuse(flow, value, step)
        return Fired(f"one kernel: {' -> '.join(link.op.name for link in links_of(new))}")

    def _hosts(self, value: Step, step: Step, flow: Flow) -> bool:
        """Whether ``step`` may run in the kernel that makes ``value``."""
        return (
            holds(value, *CONVOLUTIONS) > 0
            and self.one_reader(value, step, flow)
            and self.lies_over(value, step)
            and self.has_operands(value, step)
        )

    def one_reader(self, value: Step, step: Step, flow: Flow) -> bool:
        return feeds_only(flow, value, step)

    def lies_over(self, value: Step, step: Step) -> bool:
        return keeps_size(value, step)

    def has_operands(self, value: Step, step: Step) -> bool:
        """Whether a kernel has an operand for every other value that is read."""
        joins = [link for link in links_of(step) if len(link.slots) > 1]
        adds, gates = (holds(value, kind) + holds(step, kind) for kind in (Add, Mul))
        two = all(isinstance(link.op, Add | Mul) and len(link.slots) == 2 for link in joins)
        return two and adds <= self.residuals and gates <= self.gates

    def _why_alone(self, conv: Step, flow: Flow) -> Missed | None:
        """Why nothing will join this convolution."""
        links = [(user, link) for user in conv.users.values() for link in links_of(user)]
        reads = sum(operands(user, link).count(conv) for user, link in links)
        if flow.is_result(conv):
            return Missed("it is a result")
        if reads > 1:
            return Missed(f"its value is read {'twice' if reads == 2 else f'{reads} times'}")
        ((step, link),) = ((user, link) for user, link in links if conv in operands(user, link))
        if is_elementwise(step) and self._hosts(conv, step, flow):
            return None
        if not is_elementwise(step) and isinstance(link.op, Add):
            return Missed("its value is the residual of another convolution")
        if not self.lies_over(conv, step) and isinstance(link.op, Mul):
            return Missed("its value is the gate of a larger map")
        if is_elementwise(step) and not self.has_operands(conv, step):
            return Missed(f"the `{link.op.name}` that follows reads more than a kernel does")
        return Missed(f"what follows is `{link.op.name}`")
