"""What is known about a network's symbols (H, W, …): which values are valid, and why.

Three sources: the text's ``where``, joins that hold only on a congruence, and every size
that has to reach 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Dim, Size
from cnndsl.ops.types import Extent


class Derived(NamedTuple):
    """A restriction that a join brought in: ``left == right`` only for ``valid``."""

    node: int
    axis: str
    left: Dim
    right: Dim
    valid: Valid


@dataclass
class Facts:
    """Grows while the graph is built; nothing else about a network is mutable."""

    symbols: list[str] = field(default_factory=list)
    declared: dict[str, Valid] = field(default_factory=dict)
    valid: dict[str, Valid] = field(default_factory=dict)
    minimum: dict[str, int] = field(default_factory=dict)
    derived: list[Derived] = field(default_factory=list)

    def introduce(self, symbol: str) -> None:
        if symbol not in self.valid:
            self.symbols.append(symbol)
            self.valid[symbol] = Valid.all(symbol)
            self.minimum[symbol] = 1

    def stated(self) -> Facts:
        """What the text itself says, before the first step: symbols and restrictions."""
        facts = Facts()
        for symbol in self.symbols:
            facts.introduce(symbol)
        for valid in self.declared.values():
            facts.declare(valid)
        return facts

    def restrict(self, valid: Valid) -> None:
        self.valid[valid.symbol] = self.valid[valid.symbol].intersect(valid)

    def declare(self, valid: Valid) -> None:
        known = self.declared.get(valid.symbol, Valid.all(valid.symbol))
        self.declared[valid.symbol] = known.intersect(valid)
        self.restrict(valid)

    def reach(self, size: Extent, floor: int = 1) -> None:
        """The size must be at least ``floor``: raises the symbol's minimum as needed."""
        if isinstance(size, Size):
            least = size.least(floor)
            if least > self.minimum.get(size.symbol, 1):
                self.minimum[size.symbol] = least

    def allowed(self, symbol: str) -> Valid:
        """Everything known together: congruence and minimum."""
        return self.valid[symbol].intersect(Valid.at_least(symbol, self.minimum[symbol]))

    def smallest(self) -> dict[str, int]:
        """The smallest valid value of every symbol."""
        return {s: self.allowed(s).next() for s in self.symbols}

    def reference(self, wish: int = 224) -> dict[str, int]:
        """The values that reports use: ``wish`` or the next valid one above it."""
        return {s: self.allowed(s).next(wish) for s in self.symbols}

    def accepts(self, values: dict[str, int]) -> bool:
        return all(self.allowed(s).contains(values[s]) for s in self.symbols)

    def signature(self) -> tuple[object, ...]:
        return (
            tuple(self.symbols),
            tuple(sorted((s, str(v)) for s, v in self.declared.items())),
            tuple(sorted((s, str(self.allowed(s))) for s in self.symbols)),
        )
