"""Running an operator's PyTorch form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.ops import Op
from cnndsl.ops.types import FeatureMap, Vector, number

BATCH = 2


def tensor_like(x: FeatureMap | Vector, **options: Any) -> Tensor:
    return torch.randn(BATCH, *sizes(x), **options)


def sizes(x: Any) -> tuple[int, ...]:
    if isinstance(x, FeatureMap):
        return number(x.channels), number(x.height), number(x.width)
    return (number(x.features),)


class Lowered(nn.Module):
    """The form with its bare weight, if it has one, as a compiled network holds it."""

    def __init__(self, op: Op, *xs: FeatureMap | Vector) -> None:
        super().__init__()
        self.form = op.torch(*xs)
        bare = [weight for weight in op.weights(*xs) if not weight.name]
        self.bare = nn.Parameter(op.initial(*xs)) if bare else None

    def forward(self, *tensors: Tensor) -> Any:
        return self.form(*tensors) if self.bare is None else self.form(*tensors, self.bare)
