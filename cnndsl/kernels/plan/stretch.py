"""Consecutive steps of a flow: what enters and leaves them, and a name for what is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from cnndsl.kernels.plan.storage import Lies, Storages
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.spelling import spelled
from cnndsl.passes.flow import Flow, Step


class Stretch(NamedTuple):
    """Steps ``first`` to ``last`` of a flow, by position, the latter and inputs left out."""

    steps: Sequence[Step]
    enters: Sequence[Step]
    """What they read from outside, in the order in which they do."""
    leaves: Sequence[Step]
    """Those of them that are read outside, or are results."""

    @staticmethod
    def of(flow: Flow, first: int, last: int) -> Stretch:
        steps = [step for step in flow if step.inputs][first:last]
        inside = {step.id for step in steps}
        read = dict.fromkeys(source for step in steps for source in step.inputs)
        leaves = [s for s in steps if flow.is_result(s) or not s.users.keys() <= inside]
        return Stretch(steps, [s for s in read if s.id not in inside], leaves)

    def alone(self, flow: Flow) -> Flow:
        """A flow of these steps, under the same ids; what enters are its inputs."""
        found = flow.copy()
        ids = [step.id for step in (*self.enters, *self.steps)]
        found.steps = {i: found.steps[i] for i in ids}
        found.inputs = [found.steps[step.id] for step in self.enters]
        found.results = [found.steps[step.id] for step in self.leaves]
        for step in found.inputs:
            step.inputs, step.weights = (), {}
        inside = {step.id for step in self.steps}
        for step in found.steps.values():
            step.users = {i: user for i, user in step.users.items() if i in inside}
        found._order = None
        return found


@dataclass(frozen=True)
class Names:
    """Steps by all that their time depends on but what computes them.

    Equal steps of a network have equal names, and are measured once.
    """

    flow: Flow
    batch: int
    dtype: torch.dtype
    storages: Storages

    def name(self, first: int, last: int) -> str:
        stretch = Stretch.of(self.flow, first, last)
        labels: dict[int, str] = {}
        buffers: dict[int, int] = {}
        lines = [f"{self.batch} {self.dtype}"]
        for number, step in enumerate(stretch.enters):
            labels[step.id] = f"in{number}"
            lines.append(f"{step.type} {self._lies(step, buffers)}")
        for number, step in enumerate(stretch.steps):
            labels[step.id] = f"s{number}"
            reads = [labels[source.id] for source in step.inputs]
            problem = Problem.of(step, self.flow.sizes, self.batch, self.dtype)
            leaves = any(step is one for one in stretch.leaves)
            lines.append(f"{spelled(problem)} {reads} {self._lies(step, buffers)} {leaves}")
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
        return f"{last - first} steps {digest}"

    def _lies(self, step: Step, buffers: dict[int, int]) -> list[tuple[int, ...]]:
        """Where it is read and written: which storage, how wide that is, from which channel on,
        and whether it is the network's own and must not be written over."""
        homes: list[Lies] = [self.storages.homes[step.id], *self.storages.writes[step.id]]
        rows = (
            (buffers.setdefault(id(s), len(buffers)), s.size[0], offset, int(s.lasting))
            for s, offset, _ in homes
        )
        return [*dict.fromkeys(rows)]
