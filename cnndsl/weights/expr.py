"""What a rewritten step holds instead of numbers: an expression over original parameters.

``Param("conv1.weight")`` is an entry of the module's ``state_dict``; everything else is an
operation on expressions. Torch-free: shapes are known here, numbers only to ``evaluate``.
So a rewrite never owns a number, ``state_dict`` stays what it is at every level, and a derived
tensor can be made again whenever a parameter changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

Shape = tuple[int, ...]


class Expr:
    """An immutable expression; ``shape`` as PyTorch would say it.

    Equal when built alike, which is how equal derived tensors are made once. The hash is
    taken once, so comparing large expressions that share parts stays cheap.
    """

    __slots__ = ("_hash", "args", "kind", "options", "shape")

    def __init__(
        self, kind: str, shape: Shape, args: tuple[Expr, ...] = (), options: tuple[Any, ...] = ()
    ) -> None:
        self.kind, self.shape, self.args, self.options = kind, shape, args, options
        self._hash = hash((kind, shape, args, options))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Expr)
            and self._hash == other._hash
            and (self.kind, self.shape, self.options) == (other.kind, other.shape, other.options)
            and self.args == other.args
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        from cnndsl.weights.text import show

        return show(self)

    def parts(self) -> Iterator[Expr]:
        """Itself and all that it is made of, each once."""
        waiting, seen = [self], set[int]()  # not recursive: merges of merges nest deep
        while waiting:
            part = waiting.pop()
            if id(part) not in seen:
                seen.add(id(part))
                yield part
                waiting.extend(part.args)

    # --- arithmetic: elementwise, shapes broadcast as in PyTorch -------------------------------

    def __add__(self, other: Expr | float) -> Expr:
        return _binary("add", self, other)

    def __sub__(self, other: Expr | float) -> Expr:
        return _binary("sub", self, other)

    def __mul__(self, other: Expr | float) -> Expr:
        return _binary("mul", self, other)

    def __truediv__(self, other: Expr | float) -> Expr:
        return _binary("div", self, other)

    def sqrt(self) -> Expr:
        return Expr("sqrt", self.shape, (self,))

    def abs(self) -> Expr:
        return Expr("abs", self.shape, (self,))

    # --- form ------------------------------------------------------------------------------------

    def reshape(self, *shape: int) -> Expr:
        """The same numbers in the same order; one size may be -1."""
        known = math.prod(size for size in shape if size != -1)
        total = math.prod(self.shape)
        full = tuple(total // known if size == -1 else size for size in shape)
        if math.prod(full) != total:
            raise ValueError(f"{self.shape} does not reshape to {shape}")
        return self if full == self.shape else Expr("reshape", full, (self,))

    def permute(self, *order: int) -> Expr:
        if sorted(order) != list(range(len(self.shape))):
            raise ValueError(f"{order} is no order of {len(self.shape)} axes")
        shape = tuple(self.shape[axis] for axis in order)
        return Expr("permute", shape, (self,), order)

    def pad(self, *edges: tuple[int, int]) -> Expr:
        """Zeros before and behind, axis by axis."""
        if len(edges) != len(self.shape):
            raise ValueError(f"{len(self.shape)} pairs are needed, got {len(edges)}")
        shape = tuple(a + n + b for n, (a, b) in zip(self.shape, edges, strict=True))
        return self if shape == self.shape else Expr("pad", shape, (self,), edges)

    def slice(self, axis: int, start: int, stop: int) -> Expr:
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        if not 0 <= start < stop <= self.shape[axis]:
            raise ValueError(f"{start}..{stop} is outside axis {axis} of {self.shape}")
        return self if shape == self.shape else Expr("slice", shape, (self,), (axis, start, stop))

    def sum(self, *axes: int) -> Expr:
        shape = tuple(size for axis, size in enumerate(self.shape) if axis not in axes)
        return Expr("sum", shape, (self,), axes)

    def rows(self, rank: int) -> Expr:
        """A vector as a factor of the first axis of a tensor of ``rank`` axes."""
        return self.reshape(-1, *(1 for _ in range(rank - 1)))

    def columns(self, rank: int) -> Expr:
        """A vector as a factor of the second axis of a tensor of ``rank`` axes."""
        return self.reshape(1, -1, *(1 for _ in range(rank - 2)))


def Param(key: str, shape: Shape) -> Expr:
    """The entry ``key`` of the module's ``state_dict``."""
    return Expr("param", tuple(shape), (), (key,))


def full(shape: Shape, value: float) -> Expr:
    """One number, everywhere."""
    return Expr("full", tuple(shape), (), (float(value),))


def numbers(*rows: tuple[float, ...]) -> Expr:
    """A small matrix of constants, row by row."""
    return Expr("numbers", (len(rows), len(rows[0])), (), tuple(tuple(map(float, r)) for r in rows))


def concat(parts: Sequence[Expr], axis: int = 0) -> Expr:
    if len(parts) == 1:
        return parts[0]
    first = parts[0].shape
    for part in parts:
        if (part.shape[:axis], part.shape[axis + 1 :]) != (first[:axis], first[axis + 1 :]):
            raise ValueError(f"{part.shape} and {first} differ beside axis {axis}")
    total = sum(part.shape[axis] for part in parts)
    return Expr("concat", (*first[:axis], total, *first[axis + 1 :]), tuple(parts), (axis,))


def einsum(equation: str, *parts: Expr) -> Expr:
    """Sums of products, as ``torch.einsum`` writes them; explicit form (``->``) only."""
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow or [len(t) for t in terms] != [len(p.shape) for p in parts]:
        raise ValueError(f"`{equation}` does not fit {[p.shape for p in parts]}")
    sizes: dict[str, int] = {}
    for term, part in zip(terms, parts, strict=True):
        for letter, size in zip(term, part.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(f"`{letter}` of `{equation}` is {sizes[letter]} and {size}")
    return Expr("einsum", tuple(sizes[letter] for letter in right), parts, (equation,))


def _binary(kind: str, left: Expr, right: Expr | float) -> Expr:
    other = right if isinstance(right, Expr) else full((), right)
    shape = _broadcast(left.shape, other.shape)
    return _simple(kind, shape, left, other) or Expr(kind, shape, (left, other))


def _simple(kind: str, shape: Shape, left: Expr, right: Expr) -> Expr | None:
    """What sums with 0 and products with 0 and 1 are without computing."""
    for one, other, commutes in ((right, left, True), (left, right, False)):
        if one.kind != "full" or not (commutes or kind in ("add", "mul")):
            continue
        value = one.options[0]
        if kind == "mul" and value == 0:
            return full(shape, 0)
        neutral = value == (0 if kind in ("add", "sub") else 1)
        if neutral and other.shape == shape:
            return other
    return None


def _broadcast(left: Shape, right: Shape) -> Shape:
    rank = max(len(left), len(right))
    sizes = []
    one = (*(1 for _ in range(rank - len(left))), *left)
    two = (*(1 for _ in range(rank - len(right))), *right)
    for a, b in zip(one, two, strict=True):
        if a != b and 1 not in (a, b):
            raise ValueError(f"{left} and {right} do not broadcast")
        sizes.append(b if a == 1 else a)
    return tuple(sizes)
