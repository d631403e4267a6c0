"""A factor above zero keeps the order of values, so a max-pool may run on either side of it."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import CONVOLUTIONS, MAX_POOLS
from cnndsl.passes.ops import Affine
from cnndsl.weights.sign import Sign, sign_of


@dataclass(frozen=True)
class MaxpoolPastAffine(Rewrite):
    """``conv -> maxpool -> affine`` becomes ``conv -> affine -> maxpool``, which folds;
    ``affine -> maxpool`` that does not fold becomes ``maxpool -> affine``.

        max over a window of (w x + b)  =  w (max over the window of x) + b,   w > 0

    Pays in the first form because the affine map then goes into the convolution, in the
    second because it runs on what the pool leaves, if that is fewer values.

    Guards: every factor is above zero *before any weight is known* (``weights.sign``): the
    factor of a normalisation without a learned scale, 1/sqrt(var + eps), or a constant. Not 0:
    0 times the -inf that a pool drops, in its padding too, is NaN. The value between has no
    other reader.
    """

    name = "maxpool-past-affine"
    after = ("norm-to-affine",)
    exact = False

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not step.inputs:
            return None
        first = step.inputs[0]
        if isinstance(step.op, Affine) and isinstance(first.op, MAX_POOLS):
            affine, pays = step, _folds(first.inputs[0], first, flow)
        elif isinstance(step.op, MAX_POOLS) and isinstance(first.op, Affine):
            affine, pays = first, flow.values(step) < flow.values(first)
            pays = pays and not _folds(first.inputs[0], first, flow)
        else:
            return None
        if not pays or not self.one_reader(first, step, flow):
            return None
        if not self.is_rising(affine):
            return Missed("a factor may be negative: its sign is not known before the weights")
        inner = flow.add(step.op, first.inputs, step.weights, step.origins)
        flow.replace(step, flow.add(first.op, [inner], first.weights, first.origins))
        return Fired("positive factors keep the order that the pool looks for")

    def one_reader(self, first: Step, step: Step, flow: Flow) -> bool:
        return flow.only_user(first) is step

    def is_rising(self, affine: Step) -> bool:
        return sign_of(affine.weights["weight"]) is Sign.POSITIVE


def _folds(source: Step, reader: Step, flow: Flow) -> bool:
    """Whether an affine map of ``source``, which ``reader`` reads, would go into its weights."""
    return isinstance(source.op, CONVOLUTIONS) and flow.only_user(source) is reader
