"""Parameters and inputs for comparing flows: awkward ones, as a rewrite must hold for all."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cnndsl.graph.cost import concrete, shape
from cnndsl.passes.flow import Flow

_VARIANCE = "running_var"
_MOST = 1_000_003
"""Numbers drawn; more repeat them. A prime, so that no two rows of a tensor are the same."""


class Drawn:
    """Parameters and a batch of two for one flow, the same for the same seed.

    Normalisations get negative, zero (dead channels) and ordinary scales, variances from far
    below ``eps`` to large, and means away from zero. ``whole``: numbers whose sums and products
    are exact in any order, if normalisations have no ``eps``. ``poisoned``: both samples once
    more behind them, the first with a NaN in its corner and the second with an infinity inside.
    """

    def __init__(
        self,
        flow: Flow,
        sizes: Mapping[str, int],
        seed: int = 0,
        *,
        whole: bool = False,
        poisoned: bool = False,
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.sizes, self.whole = dict(sizes), whole
        shapes = flow.parameter_shapes()
        draw = self._whole if whole else self._awkward
        self.parameters = draw(dict(sorted(shapes.items())))
        self.inputs = [self._input((2, *shape(concrete(step.type, sizes)))) for step in flow.inputs]
        if poisoned:
            self.inputs = [
                torch.cat([value, _poisoned(value, corner=-(index % 2))])
                for index, value in enumerate(self.inputs)
            ]

    def _input(self, size: tuple[int, ...]) -> Tensor:
        if self.whole:
            return torch.randint(-2, 3, size, generator=self.generator).double()
        return torch.randn(size, dtype=torch.float64, generator=self.generator)

    def _normal(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """One call for all: there are many small ones."""
        counts = [math.prod(size) for size in shapes.values()]
        total = sum(counts)
        values = torch.randn(min(total, _MOST), dtype=torch.float64, generator=self.generator)
        values = values.repeat(-(-total // _MOST))[:total]
        parts = values.split(counts) if counts else ()
        return {k: v.view(s) for (k, s), v in zip(shapes.items(), parts, strict=True)}

    def _whole(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """In -2 … 2, most of them zero where many are added: values stay far below 2^53."""
        found = self._normal(shapes)
        for key, value in found.items():
            keep = 1.0 if value.dim() < 2 else min(1.0, 4 / math.prod(value.shape[1:]))
            order = value.abs()
            small = order.mul(1.5).round().clamp(max=2) * value.sign()
            found[key] = torch.where((1000 * order).frac() < keep, small, torch.zeros(()).double())
            if key.endswith(_VARIANCE):
                found[key] = torch.where(value > 0, 1.0, 0.25).double()
        return found

    def _awkward(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        found = self._normal(shapes)
        for key, value in found.items():
            # Signals must neither vanish nor grow with depth, or every tolerance is met, or none.
            if value.dim() > 1:
                found[key] = value * math.sqrt(2 / max(1, math.prod(value.shape[1:])))
            elif key.endswith("bias"):
                found[key] = value / 2 + 0.25  # more filters are active than not
        for key in shapes:
            if key.endswith(_VARIANCE):
                self._normalisation(key.removesuffix(_VARIANCE), found)
        return found

    def _normalisation(self, path: str, found: dict[str, Tensor]) -> None:
        value = found[path + _VARIANCE]
        where = torch.rand(value.shape, generator=self.generator)
        variance = value.exp()
        variance[where < 0.15] = 1e-7
        variance[where > 0.85] = 1e4
        found[path + _VARIANCE] = variance
        deviation = (variance + 1e-5).sqrt()
        found[path + "running_mean"] *= 3 * deviation
        if (weight := found.get(path + "weight")) is not None:
            dead = torch.rand(value.shape, generator=self.generator) < 0.1
            # Against the deviation, as training leaves it: else one channel drowns all others.
            found[path + "weight"] = torch.where(dead, 0, (weight + 0.3) * deviation)
            if weight.shape == variance.shape:
                found[path + "running_mean"] /= deviation.clamp(min=1)


def _poisoned(value: Tensor, corner: int) -> Tensor:
    """Inputs differ in where they are poisoned, lest one hides what happens to another."""
    value = value.clone()
    value[(0, *(corner for _ in value.shape[1:]))] = math.nan
    value[(1, *(size // 2 for size in value.shape[1:]))] = math.inf
    return value
