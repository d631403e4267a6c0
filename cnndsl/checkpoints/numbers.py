"""What the numbers of a file are worth: weights that are not finite make a network of nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.diagnostics.display import escape

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def not_finite(sources: Mapping[str, str], tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many numbers are NaN or infinite, by key, where there are any."""
    counts = {key: _not_finite(tensors[name]) for key, name in sources.items()}
    return {key: count for key, count in counts.items() if count}


def narrowed(key: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers as ``dtype``; WeightsError where a finite one becomes infinite by it."""
    found = value.to(dtype)
    if found.dtype != value.dtype and _not_finite(found) > _not_finite(value):
        kind = str(dtype).removeprefix("torch.")
        raise WeightsError(f"`{escape(key)}` does not fit into {kind}: too large")
    return found


def _not_finite(value: Tensor) -> int:
    return value.numel() - int(value.isfinite().sum())
