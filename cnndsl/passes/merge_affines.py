"""Two factors and summands in a row are one."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.known import read_only_by
from cnndsl.passes.ops import Affine


@dataclass(frozen=True)
class MergeAffines(Rewrite):
    """``affine -> affine`` becomes one ``affine``.

        w (u x + a) + b  =  (w u) x + (w a + b)

    Always pays: one step less. Guard: the first has no other reader, else it stays and
    nothing is saved.
    """

    name = "merge-affines"
    after = ("norm-to-affine", "scale-to-affine", "fold-affine", "sink-affine")
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Affine):
            return None
        (first,) = step.inputs
        if not isinstance(first.op, Affine):
            return None
        if not read_only_by(first, step, flow):
            return Missed("the factor before it has another reader, which needs it as it is")
        factor = step.weights["weight"]
        weights = {
            "weight": first.weights["weight"] * factor,
            "bias": first.weights["bias"] * factor + step.weights["bias"],
        }
        origins = (*first.origins, *step.origins)
        flow.replace(step, flow.add(Affine(), first.inputs, weights, origins))
        return Fired("two factors and summands as one")
