"""An operator from another package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnndsl.ops.base import Op, param


class Square(Op, name="square"):
    """x to the power of two, times a factor. ``[C, H, W] -> [C, H, W]``."""

    factor: float = param(default=1.0, doc="multiplies the square")

    def torch(self, *xs: Any) -> Callable[..., Any]:
        from functools import partial

        return partial(square, factor=self.factor)


def square(x: Any, factor: float) -> Any:
    return x * x * factor
