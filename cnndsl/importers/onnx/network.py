"""The network as it is found: steps with weights, inferred one by one as a graph's builder does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from cnndsl.graph.build import Builder
from cnndsl.graph.infer import JoinError
from cnndsl.graph.model import INPUT, reached
from cnndsl.importers.base import ImportProblem
from cnndsl.importers.onnx.model import Operation
from cnndsl.limits import Limits
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.types import FeatureMap, Type, Vector

Weights = dict[str, Any]
"""Arrays by their names in the layer: weight, bias, running_mean, …; "" is a bare parameter."""


@dataclass
class Step:
    """One layer. ``hint``: where its weights' names say that it lives.

    ``direct``: its weights are those that its operation reads, and not made for it.
    """

    op: Op
    inputs: tuple[int, ...]
    type: Type
    weights: Weights = field(default_factory=dict)
    origin: Operation | None = None
    hint: str = ""
    direct: bool = False


class Part(Op):
    """A part of a layer that ONNX writes in several operations; none may be left at the end.

    ``unknown``: what the user is told of one that is.
    """

    name = "part"
    unknown = ""


class Phi(Part):
    """(1 + erf(x / sqrt 2)) / 2: x times it is gelu."""

    unknown = "`Erf` other than in a gelu"


class ChannelMean(Part):
    """The mean over the channels at each position."""

    unknown = "a mean over channels other than in a layer normalisation"


class Centred(Part):
    """x minus its mean over the channels."""

    unknown = ChannelMean.unknown


class Squared(Part):
    """The square of what is centred."""

    unknown = "`Pow` other than in a layer normalisation"


class Variance(Part):
    """The mean over the channels of what is squared."""

    unknown = ChannelMean.unknown


class Network:
    """Steps in order; a step's id is its place."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.builder = Builder("Found", limits)
        self.steps: list[Step] = []

    def input(self, type: Type, name: str) -> int:
        self.steps.append(Step(INPUT, (), type, hint=name))
        return self.builder.input(type, name)

    def add(
        self,
        op: Op,
        inputs: Sequence[int],
        origin: Operation,
        weights: Weights | None = None,
        hint: str | None = None,
    ) -> int:
        """A step, by its id; ImportProblem when a rule of the operator does not hold."""
        try:
            place = self.builder.add(op, inputs)
        except RuleError as problem:
            raise ImportProblem(f"{origin} cannot be expressed: {_told(problem)}") from problem
        made = Step(op, tuple(inputs), self.builder.nodes[place].type, weights or {}, origin)
        made.hint, made.direct = hint or "", hint is not None
        _check(made, [self.steps[i].type for i in inputs])
        self.steps.append(made)
        return place

    def type(self, place: int) -> FeatureMap | Vector:
        found = self.steps[place].type
        assert isinstance(found, FeatureMap | Vector)
        return found

    def live(self, outputs: Sequence[int]) -> list[int]:
        """The inputs, and what the outputs are computed from."""
        needed = reached(outputs, lambda place: self.steps[place].inputs)
        return [k for k, step in enumerate(self.steps) if k in needed or step.op is INPUT]


def _told(problem: RuleError) -> str:
    if isinstance(problem, JoinError):
        left, right = problem.sizes
        return f"operands of different {problem.axis}, {left} and {right}, are joined"
    return problem.message


def _check(step: Step, types: Sequence[Type]) -> None:
    """Weights fit the operator. Learned factors stand per channel until the end."""
    for weight in step.op.weights(*types):
        found = step.weights.get(weight.name)
        if found is None and weight.name == "num_batches_tracked":
            continue
        if found is None or numpy.size(found) != numpy.prod(weight.shape, dtype=object):
            shape = "nothing" if found is None else list(numpy.shape(found))
            raise ImportProblem(
                f"{step.origin}: its {weight.name or 'factor'} is {shape}, "
                f"where {list(weight.shape)} is needed"
            )


def layers(network: Network, outputs: Sequence[int]) -> Iterator[tuple[int, Step]]:
    """The steps that count, with their ids; ImportProblem for a part that became no layer."""
    for place in network.live(outputs):
        step = network.steps[place]
        if isinstance(step.op, Part):
            raise ImportProblem(f"{step.origin} cannot be expressed: {step.op.unknown}")
        yield place, step


def state_of(step: Step, path: str, types: Sequence[Type]) -> Mapping[str, Any]:
    """The entries of ``state_dict`` of a step at a path, in the shapes that PyTorch wants."""
    found: dict[str, Any] = {}
    for weight in step.op.weights(*types):
        key = f"{path}.{weight.name}" if weight.name else path
        if weight.name == "num_batches_tracked":
            found[key] = numpy.array(0, dtype=numpy.int64)
        else:
            found[key] = numpy.asarray(step.weights[weight.name], numpy.float32).reshape(
                weight.shape
            )
    return found
