"""Operators that rewrites need and the language does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type, Vector, Weight, channels_of, number


class Affine(Op):
    """A factor and a summand per channel: what batch normalisation is in eval mode.

    ``[C, H, W] -> [C, H, W]``, ``[C] -> [C]``; weights ``weight`` and ``bias``, both ``[C]``.
    """

    name = "affine"

    def weights(self, x: FeatureMap | Vector) -> tuple[Weight, ...]:
        channels = (number(channels_of(x)),)
        return Weight("weight", channels), Weight("bias", channels)


class Link(NamedTuple):
    """One operator of a chain. ``slots``: operand by operand, the number of the chain's input
    that goes there, or ``RUNNING`` for the value of the link before."""

    op: Op
    slots: tuple[int, ...]


RUNNING = -1


class Chain(Op):
    """Operators that run as one kernel: each reads the value of the one before it.

    The first link reads inputs of the chain only. Link ``k``'s weight ``name`` is the chain's
    weight ``k.name``. By definition it means what its links mean one after another, so a
    fusion can only be wrong in what it fuses, never in what the result means.
    """

    name = "chain"
    arity = None

    def __init__(self, links: tuple[Link, ...]) -> None:
        object.__setattr__(self, "links", links)
        object.__setattr__(self, "_key", (Chain, links))

    links: tuple[Link, ...]

    def text(self, *, explicit: bool = False) -> str:
        """``conv(64, 3, bias=yes) -> add(_, 1) -> relu``: ``_`` is the value so far."""
        return " -> ".join(_link_text(k, link) for k, link in enumerate(self.links))

    def operands(self, index: int, running: Type | None, xs: tuple[Type, ...]) -> list[Any]:
        """What the link of this index reads, out of the chain's inputs and the running value."""
        return [running if slot == RUNNING else xs[slot] for slot in self.links[index].slots]

    def infer(self, *xs: Type) -> Type:
        running: Type | None = None
        for index, link in enumerate(self.links):
            running = link.op.infer(*self.operands(index, running, xs))
        assert running is not None
        return running

    def types(self, *xs: Type) -> list[list[Type]]:
        """For each link the types of its operands."""
        found, running = [], None
        for index, link in enumerate(self.links):
            found.append(self.operands(index, running, xs))
            running = link.op.infer(*found[-1])
        return found

    def weights(self, *xs: Any, **_: Any) -> tuple[Weight, ...]:
        return tuple(
            Weight(f"{index}.{weight.name}", weight.shape, weight.buffer)
            for index, (link, types) in enumerate(zip(self.links, self.types(*xs), strict=True))
            for weight in link.op.weights(*types)
        )

    def total_macs(self, *xs: Type) -> int:
        """Multiply-accumulates of all links; inputs of integer sizes."""
        total, running = 0, None
        for index, link in enumerate(self.links):
            types = self.operands(index, running, xs)
            running = link.op.infer(*types)
            total += link.op.macs(types[0], running)
        return total

    def torch(self, *xs: Any, **_: Any) -> Callable[..., Any]:
        raise NotImplementedError("a chain is run link by link, or by a kernel")


def weights_of_link(weights: Mapping[str, Any], index: int) -> dict[str, Any]:
    """What link ``index`` holds, under its own names, out of what the chain holds."""
    prefix = f"{index}."
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _link_text(index: int, link: Link) -> str:
    if (index == 0 and link.slots == (0,)) or link.slots == (RUNNING,):
        return link.op.text()
    slots = ", ".join("_" if slot == RUNNING else str(slot) for slot in link.slots)
    return f"{link.op.text()}[{slots}]"
