"""Equal branches, written one by one, are a convolution in groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.graph.model import Node as Origin
from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Add, Concat
from cnndsl.ops.reshape import Slice
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import is_one_size
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fold_affine import bias_of
from cnndsl.passes.kinds import ACTIVATIONS
from cnndsl.passes.ops import Affine
from cnndsl.weights.expr import Expr, concat


class Branch(NamedTuple):
    """Steps from a common input to one operand of a join; each is read by the next alone."""

    start: int | None
    """The first channel of the slice of ``source`` that it reads; None if it reads all."""
    source: Step
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class SplitTransformMerge(Rewrite):
    """Branches of the same steps become one branch of wider steps.

    The split, transformed and merged form of ResNeXt (32 branches here)::

        add(x -> conv(4, 1) -> relu -> conv(4, 3) -> relu -> conv(256, 1), … 32 of them)
            becomes
        x -> conv(128, 1) -> relu -> conv(128, 3, groups=32) -> relu -> conv(256, 1)

    The halves of AlexNet::

        x -> split(2), conv(c, 3) of each, concat     becomes     x -> conv(2*c, 3, groups=2)

    Branches that read all of x are siblings: their first filters stand one after another.
    Later convolutions, and the first ones on slices, see their own channels only, which is
    what groups mean. A sum over branches is a sum over more input channels in the last
    convolution, of all their weights, with the sum of the biases.

    Always pays: as many multiply-accumulates in a fraction of the kernels.

    Guards: branches of equal steps (weights aside) on one input, or on its slices of equal
    width in order; each step is read by the next alone; a sum ends in convolutions.
    """

    name = "split-transform-merge"
    after = ("fold-affine",)

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Add | Concat) or not self.is_one_size(step):
            return None
        branches = [self.branch(operand, step, flow) for operand in step.inputs]
        found = self._alike(step, branches)
        if len(found) < 2:
            return None
        members = [branches[i] for i in found]
        if isinstance(step.op, Add) and not self.ends_in_sum(members[0]):
            return Missed("the sum of the branches is not a sum within their last convolution")
        new = _as_one(members, isinstance(step.op, Add), flow)
        rest: list[Step] = [s for i, s in enumerate(step.inputs) if i not in found]
        if rest:
            rest.insert(found[0], new)
            new = flow.add(step.op, rest, origins=(*new.origins, *step.origins))
        flow.replace(step, new)
        return Fired(f"{len(found)} equal branches as groups of one")

    def is_one_size(self, join: Step) -> bool:
        """Whether the join says its size as any of its operands."""
        return len(join.inputs) > 1 and is_one_size(join)

    def branch(self, end: Step, join: Step, flow: Flow) -> Branch:
        """The steps before ``end`` that may be widened, as far back as they go."""
        steps: list[Step] = []
        step, reader = end, join
        while isinstance(step.op, (Conv, Affine, *ACTIVATIONS)) and self.is_private(
            step, reader, flow
        ):
            steps.append(step)
            step, reader = step.inputs[0], step
        if isinstance(step.op, Slice) and self.is_private(step, reader, flow):
            return Branch(step.op.start, step.inputs[0], tuple(reversed(steps)))
        return Branch(None, step, tuple(reversed(steps)))

    def is_private(self, step: Step, reader: Step, flow: Flow) -> bool:
        """Nobody else reads it."""
        return flow.only_user(step) is reader

    def _alike(self, join: Step, branches: Sequence[Branch]) -> list[int]:
        """Places of the operands to be made one; next to each other if that is their order."""
        groups: dict[object, list[int]] = {}
        for index, branch in enumerate(branches):
            if any(isinstance(step.op, Conv) for step in branch.steps):
                groups.setdefault(self.shape(branch), []).append(index)
        for found in groups.values():
            if branches[found[0]].start is not None:
                found = self.slices(found, branches)
            elif not isinstance(branches[found[0]].steps[0].op, Conv) or not any(
                isinstance(step.op, Conv) for step in branches[found[0]].steps[1:]
            ):
                continue
            if len(found) > 1 and self.is_in_order(join, found):
                return found
        return []

    def shape(self, branch: Branch) -> object:
        """Equal for branches that can be made one."""
        kind = branch.start is None
        return branch.source.id, kind, tuple((s.op, s.inputs[0].type) for s in branch.steps)

    def slices(self, found: list[int], branches: Sequence[Branch]) -> list[int]:
        """The operands if their slices are all of the input, in order; else none."""
        width = branches[found[0]].steps[0].inputs[0].channels
        starts = [branches[i].start for i in found]
        wanted = list(range(0, branches[found[0]].source.channels, width))
        return found if starts == wanted else []

    def is_in_order(self, join: Step, found: Sequence[int]) -> bool:
        """Side by side in a concatenation; a sum has no order."""
        return isinstance(join.op, Add) or found[-1] - found[0] == len(found) - 1

    def ends_in_sum(self, branch: Branch) -> bool:
        """The last step adds up all channels of its branch, and is not the first one on x."""
        last = branch.steps[-1].op
        return isinstance(last, Conv) and last.groups == 1


def _as_one(branches: Sequence[Branch], summed: bool, flow: Flow) -> Step:
    """The wide branch."""
    x, origins = branches[0].source, list[Origin]()
    count, depth = len(branches), len(branches[0].steps)
    for index, layer in enumerate(zip(*(b.steps for b in branches), strict=True)):
        origins += [origin for step in layer for origin in step.origins]
        op = layer[0].op
        weights: dict[str, Expr] = _side_by_side(layer)
        if summed and index == depth - 1:
            weights = _added_up(layer)
        elif isinstance(op, Conv):
            dense = index == 0 and branches[0].start is None
            op = op.replace(out=op.out * count, groups=op.groups * (1 if dense else count))
        x = flow.add(op, [x], weights, [o for step in layer for o in step.origins])
    return x


def _side_by_side(layer: Sequence[Step]) -> dict[str, Expr]:
    return {key: concat([step.weights[key] for step in layer]) for key in layer[0].weights}


def _added_up(layer: Sequence[Step]) -> dict[str, Expr]:
    weights = {"weight": concat([step.weights["weight"] for step in layer], 1)}
    if "bias" in layer[0].weights:
        bias = bias_of(layer[0])
        for step in layer[1:]:
            bias = bias + bias_of(step)
        weights["bias"] = bias
    return weights
