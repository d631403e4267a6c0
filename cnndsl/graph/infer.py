"""The type of one application: joins agree, rules hold, sizes reach 1, limits are kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from cnndsl.graph.cost import inference_nodes
from cnndsl.graph.facts import Derived, Facts
from cnndsl.graph.model import Graph
from cnndsl.limits import DEFAULT_LIMITS, Limits, Stopwatch, unhurried
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.congruence import Agreement, agree
from cnndsl.ops.sizes import Dim, Size, SizeTooComplex, simpler
from cnndsl.ops.types import UNKNOWN, Extent, FeatureMap, Type, Unknown, Vector


class JoinError(RuleError):
    """Two operands of a join disagree on an axis for some size that is claimed."""

    def __init__(
        self, axis: str, operands: tuple[int, int], sizes: tuple[Any, Any], agreement: Agreement
    ) -> None:
        super().__init__("the operands of the join disagree", rule="join")
        self.axis, self.operands, self.sizes, self.agreement = axis, operands, sizes, agreement


def infer(op: Op, xs: Sequence[Type], facts: Facts, limits: Limits, node: int) -> Type:
    """The output type; raises RuleError (JoinError). Grows ``facts``.

    Inputs that an earlier error left UNKNOWN give an UNKNOWN output in silence.
    """
    if Unknown in map(type, xs):
        return UNKNOWN
    op.check_inputs(xs)
    try:
        if op.join and len(xs) > 1:
            xs = unify(op, xs, facts, node)
        result = op.shape(*xs)
        op.check_sizes(xs[0], result)
        for size, floor in op.needs(xs[0]) if xs else ():
            facts.reach(size, floor)
    except SizeTooComplex as problem:
        raise RuleError(str(problem), rule="complex") from None
    settle(result, facts, limits)
    if type(op).weights is not Op.weights:
        _afford(op, xs, limits)
    return result


def evaluation_facts(
    graph: Graph, limits: Limits = DEFAULT_LIMITS, watch: Stopwatch | None = None
) -> Facts:
    """What is known of sizes in eval mode, where heads emitted in training do not run.

    What runs is inferred once more by itself, so that no join leans on a size that only such
    a head asks for; if one did, the facts of training mode hold. May raise OutOfTime.
    """
    if not any(output.train for output in graph.outputs):
        return graph.facts
    running, facts = inference_nodes(graph), graph.facts.stated()
    watch = watch or unhurried()
    for node in graph:
        watch.check()
        if not node.inputs:
            settle(node.type, facts, limits)
        elif node.id in running:
            try:
                infer(node.op, graph.types_into(node), facts, limits, node.id)
            except RuleError:
                return graph.facts
    return facts


def settle(result: Type, facts: Facts, limits: Limits) -> None:
    """What a value of this type asks for: sizes reach 1; RuleError where it is too large."""
    if isinstance(result, FeatureMap):
        facts.reach(result.height)
        facts.reach(result.width)
        sizes: tuple[object, ...] = (result.channels, result.height, result.width)
    else:
        sizes = (result.features,) if isinstance(result, Vector) else ()
    elements = 1
    for size in sizes:
        if isinstance(size, int):
            elements *= max(size, 1)
            if size > limits.dimension:
                raise RuleError(f"a size of {size:,} is past the limit", rule="large")
    if elements > limits.elements:
        raise RuleError(
            f"{result} has {elements:,} elements, past the limit of {limits.elements:,}",
            rule="large",
        )


def _afford(op: Op, xs: Sequence[Type], limits: Limits) -> None:
    """Weights are tensors too, and keep to the same limit."""
    for weight in op.weights(*xs):
        elements = prod(weight.shape)
        if elements > limits.elements:
            raise RuleError(
                f"a weight of {list(weight.shape)} has {elements:,} elements, past the limit of "
                f"{limits.elements:,}",
                rule="large",
            )


def unify(op: Op, xs: Sequence[Type], facts: Facts, node: int) -> list[Type]:
    """The operands with one height and one width, the simplest form; JoinError if they differ.

    A gate's ``[C, 1, 1]`` operands are left alone.
    """
    maps = [(i, x) for i, x in enumerate(xs) if isinstance(x, FeatureMap)]
    if len(maps) != len(xs):
        return list(xs)  # kinds are the operator's own rule
    if op.name == "mul":
        maps = [maps[0]] + [(i, x) for i, x in maps[1:] if (x.height, x.width) != (1, 1)]
    height = _axis("height", [(i, x.height) for i, x in maps], facts, node)
    width = _axis("width", [(i, x.width) for i, x in maps], facts, node)
    joined = {i for i, _ in maps}
    return [
        FeatureMap(x.channels, height, width) if i in joined and isinstance(x, FeatureMap) else x
        for i, x in enumerate(xs)
    ]


def _axis(axis: str, sizes: list[tuple[int, Extent]], facts: Facts, node: int) -> Extent:
    known = [(i, s) for i, s in sizes if not isinstance(s, Unknown)]
    if not known:
        return UNKNOWN
    first, best = known[0]
    for i, size in known[1:]:
        if size == best:
            continue
        best = _agreed(axis, (first, i), best, size, facts, node)
    return best


def _agreed(
    axis: str, operands: tuple[int, int], left: Dim, right: Dim, facts: Facts, node: int
) -> Dim:
    allowed = {s: facts.allowed(s) for s in _symbols(left, right)}
    agreement = agree(left, right, allowed)
    if not agreement.always:
        if agreement.when is None or not agreement.derivable:
            raise JoinError(axis, operands, (left, right), agreement)
        facts.derived.append(Derived(node, axis, left, right, agreement.when))
        facts.restrict(agreement.when)
        if facts.allowed(agreement.when.symbol).is_empty:
            raise JoinError(axis, operands, (left, right), agreement)
    return simpler(left, right)


def _symbols(*sizes: Dim) -> set[str]:
    return {size.symbol for size in sizes if isinstance(size, Size)}
