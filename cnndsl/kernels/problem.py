"""What a kernel is asked to compute: operators, sizes, dtype; nothing of where the numbers lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch

from cnndsl.graph.cost import concrete, shape
from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Type, Vector, channels_of, number
from cnndsl.passes.flow import Step
from cnndsl.passes.ops import Chain, Link

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One chain of operators on inputs of integer sizes. Hashable: a key for what was measured.

    Weights go by the chain's names, ``0.weight`` for the first link's, whatever they were
    called before.
    """

    chain: Chain
    inputs: tuple[Type, ...]
    batch: int
    dtype: torch.dtype

    @staticmethod
    def of(step: Step, sizes: Mapping[str, int], batch: int, dtype: torch.dtype) -> Problem:
        """What this step computes at these sizes."""
        types = tuple(concrete(source.type, sizes) for source in step.inputs)
        return Problem(as_chain(step.op, len(types)), types, batch, dtype)

    def at(self, shapes: Sequence[Sequence[int]]) -> Problem:
        """The same chain on inputs of these shapes, batch first."""
        inputs = tuple(FeatureMap(*s[1:]) if len(s) == 4 else Vector(*s[1:]) for s in shapes)
        return replace(self, inputs=inputs, batch=shapes[0][0])

    @property
    def links(self) -> tuple[Link, ...]:
        return self.chain.links

    @cached_property
    def operands(self) -> list[list[Type]]:
        """For each link the types of its operands."""
        return self.chain.types(*self.inputs)

    @cached_property
    def results(self) -> list[Type]:
        """For each link the type of its value."""
        pairs = zip(self.links, self.operands, strict=True)
        return [link.op.infer(*types) for link, types in pairs]

    def first(self, *kinds: type[Op]) -> int:
        """The first link whose operator is of these kinds; -1 if there is none."""
        links = enumerate(self.links)
        return next((k for k, link in links if isinstance(link.op, kinds)), -1)

    @property
    def output(self) -> Type:
        return self.results[-1]

    @property
    def area(self) -> int:
        """Pixels of an image of the first input."""
        return math.prod(extents(self.inputs[0])[1:])

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch."""
        return self.batch * self.chain.total_macs(*self.inputs)

    @cached_property
    def bytes(self) -> int:
        """Memory traffic in bytes if every input, weight and result moves once."""
        maps = sum(math.prod(shape(type)) for type in (*self.inputs, self.output))
        weights = sum(math.prod(weight.shape) for weight in self.chain.weights(*self.inputs))
        return (self.batch * maps + weights) * self.dtype.itemsize

    def __str__(self) -> str:
        inputs = ", ".join(str(type) for type in self.inputs)
        return f"{self.chain.text()} on {self.batch} x {inputs} in {str(self.dtype)[6:]}"


def as_chain(op: Op, inputs: int) -> Chain:
    """The operator as a chain of one link, unless it is a chain."""
    return op if isinstance(op, Chain) else Chain((Link(op, tuple(range(inputs))),))


def as_chains(op: Op, weights: Mapping[str, T]) -> dict[str, T]:
    """The operator's weights by the names that ``as_chain`` of it gives them."""
    return dict(weights) if isinstance(op, Chain) else {f"0.{k}": w for k, w in weights.items()}


def as_map(type: Type) -> FeatureMap:
    """A vector as a map of one pixel: what a linear layer is to a kernel of convolutions."""
    if isinstance(type, FeatureMap):
        return type
    assert isinstance(type, Vector)
    return FeatureMap(type.features, 1, 1)


def extents(type: Type) -> tuple[int, int, int]:
    """Channels, height, width as numbers; a vector is a map of one pixel."""
    x = as_map(type)
    return number(channels_of(x)), number(x.height), number(x.width)
