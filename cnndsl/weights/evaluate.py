"""Numbers for expressions: float64 inside, rounded once by whoever asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from cnndsl.weights.expr import Expr


class Evaluator:
    """Values of expressions over one set of parameters; equal expressions are computed once.

    ``lookup`` maps ``state_dict`` keys to tensors. Results are float64 and on the parameters'
    device; a bare parameter comes back in float64 too.
    """

    def __init__(self, lookup: Mapping[str, Tensor]) -> None:
        self.lookup = lookup
        self._known: dict[Expr, Tensor] = {}

    def __call__(self, expr: Expr) -> Tensor:
        with torch.no_grad():
            return self._value(expr)

    def _value(self, expr: Expr) -> Tensor:
        # Not recursive: merges of merges may nest deeper than Python's stack.
        waiting = [expr]
        while waiting:
            top = waiting[-1]
            missing = [arg for arg in top.args if arg not in self._known]
            if top in self._known or not missing:
                waiting.pop()
                if top not in self._known:
                    self._known[top] = self._apply(top)
            else:
                waiting.extend(missing)
        return self._known[expr]

    def _apply(self, expr: Expr) -> Tensor:
        if expr.kind == "param":
            return self.lookup[expr.options[0]].detach().to(torch.float64)
        if expr.kind in _CONSTANT:
            device = next((t.device for t in self.lookup.values()), None)
            return _CONSTANT[expr.kind](expr).to(device)
        values = [self._known[arg] for arg in expr.args]
        return _APPLY[expr.kind](values, expr)


def _pad(values: list[Tensor], expr: Expr) -> Tensor:
    flat = [amount for edges in reversed(expr.options) for amount in edges]
    return functional.pad(values[0], flat)


def _slice(values: list[Tensor], expr: Expr) -> Tensor:
    axis, start, stop = expr.options
    return values[0].narrow(axis, start, stop - start)


_CONSTANT: dict[str, Callable[[Expr], Tensor]] = {
    "full": lambda e: torch.full(e.shape, e.options[0], dtype=torch.float64),
    "numbers": lambda e: torch.tensor(e.options, dtype=torch.float64),
}

_APPLY: dict[str, Callable[[list[Tensor], Expr], Tensor]] = {
    "add": lambda v, _: v[0] + v[1],
    "sub": lambda v, _: v[0] - v[1],
    "mul": lambda v, _: v[0] * v[1],
    "div": lambda v, _: v[0] / v[1],
    "sqrt": lambda v, _: v[0].sqrt(),
    "abs": lambda v, _: v[0].abs(),
    "reshape": lambda v, e: v[0].reshape(e.shape),
    "permute": lambda v, e: v[0].permute(e.options),
    "pad": _pad,
    "slice": _slice,
    "sum": lambda v, e: v[0].sum(e.options),
    "concat": lambda v, e: torch.cat(v, e.options[0]),
    "einsum": lambda v, e: torch.einsum(e.options[0], *v),
}
