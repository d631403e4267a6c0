"""An affine map and its activation are applied while a convolution or a pool loads its input."""

from __future__ import annotations

from dataclasses import dataclass

from cnndsl.ops.conv import Conv
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.chains import feeds_only, fuse, links_of, operands
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import AVERAGE_POOLS, EPILOGUES, MAX_POOLS
from cnndsl.passes.ops import Affine


@dataclass(frozen=True)
class Prologue(Rewrite):
    """Pre-activation: normalisation and activation before a convolution or a pool, its prologue.

        affine -> relu -> conv          (affine -> relu -> conv)
        affine -> relu -> avgpool       (affine -> relu -> avgpool)

    Pays on a GPU, where a kernel applies two instructions to what it loads and a map less is
    written and read. A CPU engine's convolutions take no prologue.

    Guards: what takes it is the only reader of the activated map, and the activation of the
    affine map. Zero padding is zeros of the *activated* map, not of the map that is loaded: a
    chain says so by its links, and a kernel must mask what it loads after the prologue.
    """

    name = "prologue"
    after = ("fuse-epilogue",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        first = links_of(step)[0]
        if not isinstance(first.op, TAKING):
            return None
        (value,) = operands(step, first)
        if not _is_prologue(value, flow):
            return None
        if not self.one_reader(value, step, flow):
            return Missed("the map that it would be applied to has another reader")
        if isinstance(value.op, EPILOGUES):
            value = fuse(flow, value.inputs[0], value)
        fuse(flow, value, step)
        return Fired(f"applied where `{first.op.name}` loads its input")

    def one_reader(self, value: Step, step: Step, flow: Flow) -> bool:
        return feeds_only(flow, value, step)


TAKING = (Conv, *AVERAGE_POOLS, *MAX_POOLS)
"""What takes a prologue."""


def _is_prologue(value: Step, flow: Flow) -> bool:
    """``affine`` or ``affine -> activation``, the latter as two steps or one."""
    first, *rest = links_of(value)
    if isinstance(first.op, EPILOGUES) and not rest:
        (source,) = value.inputs
        return isinstance(source.op, Affine) and flow.only_user(source) is value
    activations = [link for link in rest if isinstance(link.op, EPILOGUES)]
    return isinstance(first.op, Affine) and len(rest) == len(activations) <= 1
