"""An activation after a concatenation runs in the kernels of the convolutions before it."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.activation import PReLU
from cnndsl.ops.merge import Concat
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.chains import holds
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import CONVOLUTIONS, EPILOGUES


@dataclass(frozen=True)
class ActivationIntoConcat(Rewrite):
    """``concat(conv a, conv b) -> relu`` becomes ``concat(conv a -> relu, conv b -> relu)``.

    Pays when each part is a convolution that takes the activation into its kernel for nothing
    (fire modules of SqueezeNet): a pass over the whole map is saved.

    Guards: nobody else reads the concatenation, nor a part, else it is needed without the
    activation, or computed twice; the function is the same for all channels (not ``prelu``
    with a slope for each).
    """

    name = "activation-into-concat"
    after = ("fold-affine",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, EPILOGUES) or not isinstance(step.inputs[0].op, Concat):
            return None
        (concat,) = step.inputs
        if not self.is_uniform(step) or not self.one_reader(concat, step, flow):
            return None
        if not all(self.takes_activation(part, concat, flow) for part in concat.inputs):
            return None
        parts = [flow.add(step.op, [p], step.weights, step.origins) for p in concat.inputs]
        flow.replace(step, flow.add(concat.op, parts, {}, concat.origins))
        return Fired(f"`{step.op.name}` joins the convolutions before the concatenation")

    def one_reader(self, concat: Step, step: Step, flow: Flow) -> bool:
        return flow.only_user(concat) is step

    def takes_activation(self, part: Step, concat: Step, flow: Flow) -> bool:
        return holds(part, *CONVOLUTIONS) > 0 and flow.only_user(part) is concat

    def is_uniform(self, step: Step) -> bool:
        return not isinstance(step.op, PReLU) or step.op.num_parameters == 1
