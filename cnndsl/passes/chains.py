"""How chains grow: what may run in the kernel of the step before it, and the edit itself."""

from __future__ import annotations

from collections.abc import Iterator

from cnndsl.ops.base import Op
from cnndsl.passes.flow import Flow, Step
from cnndsl.passes.kinds import ELEMENTWISE
from cnndsl.passes.ops import RUNNING, Chain, Link
from cnndsl.weights.expr import Expr


def links_of(step: Step) -> tuple[Link, ...]:
    """The step as links, whether it is a chain or not."""
    if isinstance(step.op, Chain):
        return step.op.links
    return (Link(step.op, tuple(range(len(step.inputs)))),)


def holds(step: Step, *kinds: type[Op]) -> int:
    """How many of its operators are of these kinds."""
    if not isinstance(step.op, Chain):
        return int(isinstance(step.op, kinds))
    return sum(isinstance(link.op, kinds) for link in step.op.links)


def is_elementwise(step: Step) -> bool:
    """Whether all of its operators are."""
    if not isinstance(step.op, Chain):
        return isinstance(step.op, ELEMENTWISE)
    return all(isinstance(link.op, ELEMENTWISE) for link in step.op.links)


def keeps_size(value: Step, step: Step) -> bool:
    """Whether the result lies over ``value``, point by point: not if ``value`` is a gate."""
    return value.type == step.type


def feeds_only(flow: Flow, value: Step, step: Step) -> bool:
    """Whether nothing but the first operator of ``step`` reads ``value``.

    A chain has each input once, however many of its links read it.
    """
    readers = [k for k, link in enumerate(links_of(step)) if value in operands(step, link)]
    return readers == [0] and flow.only_user(value) is step


def operands(step: Step, link: Link) -> list[Step]:
    """The steps that this link of ``step`` reads."""
    return [step.inputs[slot] for slot in link.slots if slot != RUNNING]


def fuse(flow: Flow, value: Step, step: Step) -> Step:
    """One chain in place of ``step`` that computes ``value`` itself.

    ``value`` is read by the first link of ``step`` only (``feeds_only``).
    """
    first, then = links_of(value), links_of(step)
    others = [source for source in step.inputs if source is not value]
    inputs = list(dict.fromkeys((*value.inputs, *others)))
    slots = {source: slot for slot, source in enumerate(inputs)} | {value: RUNNING}
    links = (*_moved(first, value, slots), *_moved(then, step, slots))
    weights = {**_weights(value, 0), **_weights(step, len(first))}
    new = flow.add(Chain(links), inputs, weights, (*value.origins, *step.origins))
    flow.replace(step, new)
    return new


def _moved(links: tuple[Link, ...], step: Step, slots: dict[Step, int]) -> Iterator[Link]:
    for link in links:
        moved = (RUNNING if slot == RUNNING else slots[step.inputs[slot]] for slot in link.slots)
        yield Link(link.op, tuple(moved))


def _weights(step: Step, offset: int) -> dict[str, Expr]:
    """The weights under the names that a chain gives them, ``offset`` links later."""
    if not isinstance(step.op, Chain):
        return {f"{offset}.{name}": expr for name, expr in step.weights.items()}
    found = {}
    for key, expr in step.weights.items():
        index, _, name = key.partition(".")
        found[f"{int(index) + offset}.{name}"] = expr
    return found
