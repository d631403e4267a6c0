"""Convolutions that read one input become one convolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnndsl.ops.base import Op
from cnndsl.ops.conv import Conv
from cnndsl.ops.merge import Concat
from cnndsl.ops.reshape import Slice
from cnndsl.passes.base import Fired, Missed, Rewrite
from cnndsl.passes.convolutions import edges_of, is_one_size
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.fold_affine import bias_of
from cnndsl.passes.kinds import ACTIVATIONS
from cnndsl.passes.windows import Window, common_window, laid_into
from cnndsl.weights.expr import concat


class Branch(NamedTuple):
    """One of the siblings, up to the step behind which its slice is read."""

    conv: Step
    end: Step


@dataclass(frozen=True)
class MergeSiblings(Rewrite):
    """Siblings become one convolution and slices of it; no slices where it can do without.

    Inception's 1x1 convolutions::

        x -> conv(a, 1) -> relu -> f                 x -> conv(a + b, 1) -> relu
        x -> conv(b, 1) -> relu -> g      becomes      -> slice(0, a) -> f
                                                       -> slice(a, a + b) -> g

    Outputs that a ``concat`` puts side by side again are not sliced::

        concat(conv1(x), conv2(x))        becomes    conv(x)

    Filters are independent of each other, so their weights are put one after another. With
    ``enlarge`` smaller windows are first laid into the largest, at the place where both look
    at the same pixel, with zeros around them (a residual block's 3x3 and its 1x1 shortcut).
    An activation that follows every sibling is computed once, before the slices.

    Pays when the reads of x and the kernel starts that are saved outweigh the slices (what
    reads a slice reads with a stride, which most kernels do by a copy; a ``concat`` copies
    anyway) and the products with zeros of enlarged windows. The constants were fitted to
    channels_last convolutions of PyTorch with oneDNN's fused activation, one core: blocks of
    GoogLeNet and Inception come out at 0.99x to 1.05x, or 1.04x to 1.19x where every kernel is
    started from Python; two 256-channel slices of a 64-channel input at 0.98x, so refused.
    Engines that keep channels in blocks (onnxruntime 0.88x to 0.98x, OpenVINO 0.86x to 1.00x
    on GoogLeNet's blocks) lose at every slice: for them ``slices=False``.
    ``enlarge`` is off: on a CPU the zoo's cases lose (SqueezeNet's fire module 0.69x to 0.91x),
    and products with zeros turn an infinity or NaN into NaN in all of the enlarged window.

    Guards: equal stride and dilation, groups of 1, windows that can be laid over each other,
    and then the same padding.
    """

    launch: int = 100_000
    """What the start of a kernel costs, in values passed through memory."""
    read: float = 0.25
    """What another read of a value costs, in the same unit."""
    copy: float = 1.0
    """What reading or writing a value costs where a slice is copied."""
    macs: float = 20.0
    """Multiply-accumulates that cost as much as one value."""
    slices: bool = True
    """Whether slices may be left over, which an engine that keeps channels in blocks has to
    take apart."""
    enlarge: bool = False
    """Whether smaller windows may be laid into larger ones."""

    name = "merge-siblings"
    after = ("fold-affine", "average-exchange")

    @property
    def spreads(self) -> bool:
        return self.enlarge

    def visit(self, step: Step, flow: Flow) -> Fired | Missed | None:
        if not isinstance(step.op, Conv):
            return None
        (x,) = step.inputs
        siblings = (user for user in x.users.values() if isinstance(user.op, Conv))
        if next(siblings) is not step:
            return None
        convs = [step, *siblings]
        missed = None
        for group in self._groups(convs):
            found = self._try(group, x, flow)
            if isinstance(found, Fired):
                return found
            missed = missed or found
        return missed

    def _groups(self, convs: Sequence[Step]) -> Iterator[list[Step]]:
        """Candidates, those without products with zeros first."""
        by_window: dict[object, list[Step]] = {}
        by_grid: dict[object, list[Step]] = {}
        for conv in convs:
            grid = self.grid(conv)
            by_window.setdefault((grid, _op(conv).kernel, edges_of(conv)), []).append(conv)
            by_grid.setdefault(grid, []).append(conv)
        yield from by_window.values()
        if self.enlarge and len(by_window) > len(by_grid):
            yield from by_grid.values()

    def grid(self, conv: Step) -> object:
        """What must be equal: where windows are placed and what a filter reads there."""
        op = _op(conv)
        return op.stride, op.dilation, op.groups

    def _try(self, convs: list[Step], x: Step, flow: Flow) -> Fired | Missed | None:
        if len(convs) < 2 or not self.is_dense(convs[0]):
            return None
        window = self.window(convs)
        if window is None:
            return Missed("the windows of the convolutions on this input do not fit together")
        choices = list(_choices(convs, flow))
        gains = [self._gain(branches, window, x, flow) for branches in choices]
        best = max(range(len(choices)), key=gains.__getitem__)
        if gains[best] <= 0:
            return Missed(f"merging {len(convs)} convolutions on one input does not pay")
        _merge(choices[best], window, x, flow)
        return Fired(f"{len(choices[best])} convolutions on one input as one")

    def is_dense(self, conv: Step) -> bool:
        """Every filter reads every channel; in groups the merged filters would read others."""
        return _op(conv).groups == 1

    def window(self, convs: Sequence[Step]) -> Window | None:
        """The window of the merged convolution; None if there is none."""
        return common_window(convs)

    def _gain(self, branches: list[Branch], window: Window, x: Step, flow: Flow) -> float:
        """What merging saves, in values passed through memory."""
        saved = (len(branches) - 1) * (self.launch + self.read * flow.values(x))
        sliced = sum(flow.values(b.end) for b in branches if not _is_copied_anyway(b, flow))
        if not self.slices and not _becomes_operand(branches, flow):
            return -math.inf
        return saved - 2 * self.copy * sliced - _zeros(branches, window, flow) / self.macs


def _op(conv: Step) -> Conv:
    assert isinstance(conv.op, Conv)
    return conv.op


def _choices(convs: Sequence[Step], flow: Flow) -> Iterator[list[Branch]]:
    """All of them, sharing an activation or not; and those that share one, by themselves."""
    by_activation: dict[Op | None, list[Branch]] = {}
    for conv in convs:
        user = flow.only_user(conv)
        shared = user if user is not None and isinstance(user.op, ACTIVATIONS) else None
        key = shared.op if shared is not None else None
        by_activation.setdefault(key, []).append(Branch(conv, shared or conv))
    if len(by_activation) > 1:
        yield [Branch(conv, conv) for conv in convs]
    yield from (branches for branches in by_activation.values() if len(branches) > 1)


def _is_copied_anyway(branch: Branch, flow: Flow) -> bool:
    user = flow.only_user(branch.end)
    return user is not None and isinstance(user.op, Concat)


def _becomes_operand(branches: Sequence[Branch], flow: Flow) -> bool:
    """Whether all of them, and nothing between them, are operands of one concatenation."""
    users = [flow.only_user(branch.end) for branch in branches]
    first = users[0]
    if first is None or not isinstance(first.op, Concat) or any(u is not first for u in users):
        return False
    places = [first.inputs.index(branch.end) for branch in branches]
    return max(places) - min(places) == len(places) - 1 and is_one_size(first)


def _zeros(branches: Sequence[Branch], window: Window, flow: Flow) -> float:
    """Multiply-accumulates with the zeros of enlarged windows."""
    area = math.prod(window.kernel)
    return sum(flow.macs(b.conv) * (area / math.prod(_op(b.conv).kernel) - 1) for b in branches)


def _merge(branches: Sequence[Branch], window: Window, x: Step, flow: Flow) -> None:
    ordered = sorted(branches, key=_place)
    convs = [branch.conv for branch in ordered]
    origins = [origin for conv in convs for origin in conv.origins]
    weights = {"weight": concat([laid_into(window, conv) for conv in convs])}
    bias = any("bias" in conv.weights for conv in convs)
    if bias:
        weights["bias"] = concat([bias_of(conv) for conv in convs])
    out = sum(_op(conv).out for conv in convs)
    op = convs[0].op.replace(out=out, kernel=window.kernel, padding=window.edges, bias=bias)
    merged = flow.add(op, [x], weights, origins)
    if ordered[0].end is not convs[0]:
        origins += [origin for branch in ordered for origin in branch.end.origins]
        merged = flow.add(ordered[0].end.op, [merged], origins=origins)
    _hand_out(merged, ordered, flow)


def _place(branch: Branch) -> tuple[int, int, int]:
    """Where it is read: what is concatenated is best computed side by side."""
    for user in branch.end.users.values():
        if isinstance(user.op, Concat):
            return 0, user.id, user.inputs.index(branch.end)
    return 1, branch.conv.id, 0


def _hand_out(merged: Step, branches: Sequence[Branch], flow: Flow) -> None:
    """Each reader gets its slice; concatenations of neighbours get one slice, or everything."""
    start, concats = 0, dict[int, Step]()
    for branch in branches:
        stop = start + branch.end.channels
        part = flow.add(Slice(start, stop), [merged], origins=branch.end.origins)
        flow.replace(branch.end, part)
        concats |= {user.id: user for user in part.users.values() if isinstance(user.op, Concat)}
        start = stop
    for step in concats.values():
        _rejoin(step, merged, flow)


def _rejoin(step: Step, merged: Step, flow: Flow) -> None:
    if not is_one_size(step):
        return
    runs: list[list[Step]] = []
    for part in step.inputs:
        if runs and _are_neighbours(runs[-1][-1], part, merged):
            runs[-1].append(part)
        else:
            runs.append([part])
    if len(runs) == len(step.inputs):
        return
    operands = [run[0] if len(run) == 1 else _span(run, merged, flow) for run in runs]
    new = flow.add(step.op, operands, origins=step.origins) if len(operands) > 1 else operands[0]
    flow.replace(step, new)


def _are_neighbours(left: Step, right: Step, merged: Step) -> bool:
    """Whether they are slices that lie side by side in ``merged``."""
    one, other = left.op, right.op
    return (
        isinstance(one, Slice)
        and isinstance(other, Slice)
        and left.inputs == right.inputs == (merged,)
        and one.stop == other.start
    )


def _span(run: Sequence[Step], merged: Step, flow: Flow) -> Step:
    """One slice for neighbours; all of it if they are all."""
    first, last = run[0].op, run[-1].op
    assert isinstance(first, Slice) and isinstance(last, Slice)
    if last.stop - first.start == merged.channels:
        return merged
    origins = [origin for part in run for origin in part.origins]
    return flow.add(Slice(first.start, last.stop), [merged], origins=origins)
