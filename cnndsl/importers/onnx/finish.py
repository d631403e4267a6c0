"""From steps to a graph: flatten stands where a person puts it, paths are given, all is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from cnndsl.graph.build import Builder
from cnndsl.graph.model import INPUT, Output
from cnndsl.importers.base import Imported, ImportProblem
from cnndsl.importers.onnx.model import ELEMENTS
from cnndsl.importers.onnx.names import output_names, paths
from cnndsl.importers.onnx.network import Network, Step, Weights, layers, state_of
from cnndsl.limits import Limits
from cnndsl.ops.activation import Softmax
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.reshape import Flatten
from cnndsl.ops.types import FeatureMap, Type, channels_of

_MOVES_UP = ("linear", "bn", "layer_norm", "softmax", "log_softmax", "scale", "dropout", "prelu")


def raise_flattens(network: Network, outputs: Sequence[int]) -> None:
    """``gap -> linear -> flatten`` becomes ``gap -> flatten -> linear``, as people write it.

    On ``[C, 1, 1]`` layers of features mean the same on both sides. Steps of a chain change
    their contents one place on, so every id keeps its value.
    """
    readers = _readers(network, outputs)
    live = network.live(outputs)
    for place in live:
        step = network.steps[place]
        if step.op == Flatten() and _is_pixel(network.steps[step.inputs[0]].type):
            _raise(network, place, readers)


def _readers(network: Network, outputs: Sequence[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for place in network.live(outputs):
        for source in network.steps[place].inputs:
            counts[source] = counts.get(source, 0) + 1
    for place in outputs:
        counts[place] = counts.get(place, 0) + 1
    return counts


def _is_pixel(type: Type) -> bool:
    return isinstance(type, FeatureMap) and (type.height, type.width) == (1, 1)


def _raise(network: Network, place: int, readers: dict[int, int]) -> None:
    steps = network.steps
    chain = [place]
    source = steps[place].inputs[0]
    while readers[source] == 1 and _may_follow(steps[source].op):
        if not _is_pixel(steps[steps[source].inputs[0]].type):
            break
        chain.append(source)
        source = steps[source].inputs[0]
    chain.reverse()
    for before, after in zip(chain[-2::-1], chain[:0:-1], strict=True):
        moved, flatten = steps[before], steps[after]
        steps[after] = Step(
            moved.op, (before,), flatten.type, moved.weights, moved.origin, moved.hint, moved.direct
        )
        steps[before] = Step(Flatten(), moved.inputs, moved.type, origin=flatten.origin)


def _may_follow(op: Op) -> bool:
    return op.name in _MOVES_UP or (type(op).__module__ == Softmax.__module__)


def finished(
    network: Network, name: str, outputs: Sequence[tuple[str, int]], limits: Limits,
    notes: tuple[str, ...],
) -> Imported:  # fmt: skip
    """The graph and its state; ImportProblem where they do not fit together."""
    results = [place for _, place in outputs]
    raise_flattens(network, results)
    found = list(layers(network, results))
    steps = [step for _, step in found if step.op is not INPUT]
    owners = _owners(steps, network)
    names = iter(paths(steps, owners, limits))
    builder = Builder(name, limits)
    ids: dict[int, int] = {}
    state: dict[str, Any] = {}
    numbers = 0
    for place, step in found:
        if step.op is INPUT:
            ids[place] = builder.input(step.type, step.hint)
            continue
        (path, stands), inputs = next(names), [ids[i] for i in step.inputs]
        try:
            ids[place] = builder.add(step.op, inputs, path, stands=stands)
        except RuleError as why:
            raise ImportProblem(f"{step.origin} cannot be expressed: {why.message}") from why
        state.update(state_of(step, path, builder.types(inputs)))
        numbers += sum(value.size for value in step.weights.values())
        if numbers > ELEMENTS:
            raise ImportProblem(f"its layers have more than {ELEMENTS:,} weights")
    called = output_names([output for output, _ in outputs], limits)
    ends = [Output(own, ids[place]) for own, (_, place) in zip(called, outputs, strict=True)]
    try:
        return Imported(builder.graph(ends), state, notes)
    except RuleError as why:
        raise ImportProblem(why.message) from why


def _owners(steps: Sequence[Step], network: Network) -> list[int | None]:
    """For each step an earlier one whose very weights it has: one module, applied again."""
    seen: dict[tuple[object, ...], int] = {}
    found: list[int | None] = []
    for index, step in enumerate(steps):
        owner = None
        if step.direct and step.origin is not None:
            channels = channels_of(network.steps[step.inputs[0]].type)  # type: ignore[arg-type]
            key = (step.op, step.origin.inputs[1:], channels)
            first = seen.setdefault(key, index)
            if first != index and _equal(steps[first].weights, step.weights):
                owner = first
        found.append(owner)
    return found


def _equal(one: Weights, other: Weights) -> bool:
    """What was folded into weights may make them differ."""
    return one.keys() == other.keys() and all(
        one[k] is other[k] or numpy.array_equal(one[k], other[k]) for k in one
    )
