"""How an operator maps one spatial axis: the exact size, and the arithmetic in words."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from cnndsl.ops.sizes import Dim, floordiv, plus, times, transposed, window


class Axis(Protocol):
    """The map from an axis of the input to the same axis of the output."""

    def size(self, x: Dim) -> Dim:
        """The output size; may be below 1."""

    def formula(self, x: Dim) -> str:
        """The same with its numbers written out."""


class Window(NamedTuple):
    """A convolution or pooling window."""

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    ceil: bool = False

    def size(self, x: Dim) -> Dim:
        padding = (self.before, self.after)
        return window(x, self.kernel, self.stride, padding, self.dilation, self.ceil)

    def formula(self, x: Dim) -> str:
        if self.ceil and self.after + self.stride <= self.dilation * (self.kernel - 1) + 1:
            return self._rounded(f"{x} {_both(self.before, self.after)} {self._reach}") + " + 1"
        if self.ceil:  # PyTorch: the last window starts inside the input or its left padding
            return self._rounded(f"{x} + {self.before}")
        return self._rounded(f"{x} {_both(self.before, self.after)} {self._reach}") + " + 1"

    @property
    def _reach(self) -> str:
        return f"- {self.dilation}*({self.kernel}-1) - 1"

    def _rounded(self, numerator: str) -> str:
        if self.stride == 1:
            return f"({numerator})/1"
        return f"{'ceil' if self.ceil else 'floor'}(({numerator})/{self.stride})"


class Transposed(NamedTuple):
    """A transposed convolution's window: the input is spread out by the stride."""

    kernel: int
    stride: int = 1
    padding: int = 0
    output_padding: int = 0
    dilation: int = 1

    def size(self, x: Dim) -> Dim:
        padding = (self.padding, self.padding)
        return transposed(x, self.kernel, self.stride, padding, self.output_padding, self.dilation)

    def formula(self, x: Dim) -> str:
        reach = f"{self.dilation}*({self.kernel}-1) + {self.output_padding} + 1"
        return f"({x} - 1)*{self.stride} - 2*{self.padding} + {reach}"


class Shifted(NamedTuple):
    """``before`` and ``after`` added at the two ends (negative: cut)."""

    before: int
    after: int

    def size(self, x: Dim) -> Dim:
        return plus(x, self.before + self.after)

    def formula(self, x: Dim) -> str:
        return f"{x} {_signed(self.before)} {_signed(self.after)}"


class Scaled(NamedTuple):
    """Each element repeated or interpolated to ``factor`` elements."""

    factor: int

    def size(self, x: Dim) -> Dim:
        return times(x, self.factor)

    def formula(self, x: Dim) -> str:
        return f"({x})*{self.factor}"


def same_upper(x: Dim, kernel: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """TensorFlow's SAME padding (before, after); None when it depends on a symbolic size."""
    reach = dilation * (kernel - 1)
    if stride == 1:
        total = reach
    elif isinstance(x, int):
        rounded_up = floordiv(x, stride, stride - 1)
        assert isinstance(rounded_up, int)
        total = max((rounded_up - 1) * stride + reach + 1 - x, 0)
    else:
        return None
    return total // 2, total - total // 2


def _both(before: int, after: int) -> str:
    return f"+ 2*{before}" if before == after else f"+ {before} + {after}"


def _signed(value: int) -> str:
    return f"- {-value}" if value < 0 else f"+ {value}"
