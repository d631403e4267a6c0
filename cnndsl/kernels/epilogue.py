"""What runs on values in registers before they are stored: the one place for all kernels.

A chain's links behind its convolution become a text such as ``shift 0|add|relu``, a constant
of the kernel that is unrolled when it is compiled:

    shift R, scale R, prelu R    by row R of ``rows``: float32, one number per channel
    times F                      by a number
    add, mul                     with the residual, with a gate as large as the map
    gate                         with a gate of one number per image and channel
    relu, leaky_relu 0.1, ...    any activation of ``ops/activation.py`` but softmax
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels.problem import Problem, extents
from cnndsl.ops.activation import PReLU
from cnndsl.ops.base import Op
from cnndsl.ops.merge import Add, Mul
from cnndsl.ops.regular import LEARNED, Scale
from cnndsl.passes.kinds import ACTIVATIONS
from cnndsl.passes.ops import RUNNING, Affine

# --- from links to a text ---------------------------------------------------------------------

_NUMBERS: dict[str, Callable[[Any], float]] = {
    "leaky_relu": lambda op: op.negative_slope,
    "elu": lambda op: op.alpha,
}


@dataclass(frozen=True)
class Epilogue:
    """``text`` as above; ``sources``: the weight that fills each row; ``residual``, ``gate``:
    the problem's inputs that are read, by number."""

    text: str
    sources: tuple[str, ...] = ()
    residual: int | None = None
    gate: int | None = None

    @staticmethod
    def of(problem: Problem, first: int) -> Epilogue | str:
        """The links from ``first`` on, and the bias of the one before; or why they do not fit."""
        made = _Writer(problem)
        bias = f"{first - 1}.bias"
        if any(weight.name == bias for weight in problem.chain.weights(*problem.inputs)):
            made.by_row("shift", bias)
        for index in range(first, len(problem.links)):
            made.link(index)
        return made.done

    @staticmethod
    def before(problem: Problem, last: int) -> Epilogue | str:
        """The links before ``last``, as what happens to input 0 while it is read: a prologue."""
        made = _Writer(problem)
        for index in range(last):
            made.point(index)
        return made.done

    @staticmethod
    def over(problem: Problem) -> Epilogue | str:
        """All links, of a running value that begins as input 0."""
        made = _Writer(problem)
        for index in range(len(problem.links)):
            made.link(index)
        return made.done

    def rows(self, weights: Mapping[str, Tensor], channels: int) -> Tensor | None:
        """``[rows, channels]`` in float32; None if there are none."""
        found = [weights[name].float().reshape(-1).expand(channels) for name in self.sources]
        if not found:
            return None
        if found[0].is_meta:  # where torch.stack would import torch._dynamo, for seconds
            return torch.empty((len(found), channels), device="meta")
        return torch.stack(found)


@dataclass
class _Writer:
    """The running value is input 0 before the first link."""

    problem: Problem
    words: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    residual: int | None = None
    gate: int | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def done(self) -> Epilogue | str:
        """What was written; or the first reason why it is no epilogue."""
        if self.problems:
            return self.problems[0]
        return Epilogue("|".join(self.words), tuple(self.sources), self.residual, self.gate)

    def link(self, index: int) -> None:
        problem, op = self.problem, self.problem.links[index].op
        before = problem.results[index - 1] if index else problem.inputs[0]
        if problem.results[index] != before:
            self.problems.append(f"`{op.name}` changes the size")
        elif isinstance(op, Add | Mul):
            self._join(op, self._slots(index))
        else:
            self.point(index)

    def _slots(self, index: int) -> tuple[int, ...]:
        """What the link reads; the first one the input that the value begins as."""
        slots = list(self.problem.links[index].slots)
        if index == 0 and 0 in slots:
            slots[slots.index(0)] = RUNNING
        return tuple(slots)

    def by_row(self, word: str, source: str) -> None:
        self.words.append(f"{word} {len(self.sources)}")
        self.sources.append(source)

    def point(self, index: int) -> None:
        """A link that looks at one value at a time."""
        op = self.problem.links[index].op
        if self._slots(index) != (RUNNING,):
            self.problems.append(f"`{op.name}` reads more than the kernel does")
        elif isinstance(op, Affine):
            self.by_row("scale", f"{index}.weight")
            self.by_row("shift", f"{index}.bias")
        elif isinstance(op, PReLU):
            self.by_row("prelu", f"{index}.weight")
        elif isinstance(op, Scale) and op.by == LEARNED:
            self.by_row("scale", f"{index}.")
        elif isinstance(op, Scale):
            self.words.append(f"times {op.by!r}")
        elif isinstance(op, ACTIVATIONS):
            self.words.append(activation_text(op))
        else:
            self.problems.append(f"`{op.name}` does not look at one value at a time")

    def _join(self, op: Op, slots: tuple[int, ...]) -> None:
        others = [slot for slot in slots if slot != RUNNING]
        if len(slots) != 2 or len(others) != 1:
            self.problems.append(f"`{op.name}` of {len(others)} other values")
        elif isinstance(op, Add):
            self._residual(others[0])
        else:
            self._gate(others[0])

    def _residual(self, slot: int) -> None:
        if self.residual is not None:
            self.problems.append("there is a second residual")
        self.residual = slot
        self.words.append("add")

    def _gate(self, slot: int) -> None:
        if self.gate is not None:
            self.problems.append("there is a second gate")
        self.gate = slot
        whole = extents(self.problem.inputs[slot]) == extents(self.problem.output)
        self.words.append("mul" if whole else "gate")


def activation_text(op: Op) -> str:
    """How ``activate`` knows this activation: its word, and its number if it has one."""
    if op.name == "gelu":
        return "gelu_tanh" if op.approximate == "tanh" else "gelu"  # type: ignore[attr-defined]
    number = _NUMBERS.get(op.name)
    return op.name if number is None else f"{op.name} {float(number(op))!r}"


# --- the text as constants of a kernel ----------------------------------------------------------


@triton.constexpr_function
def words_in(text: str) -> int:
    return len(text.split("|")) if text else 0


@triton.constexpr_function
def word_of(text: str, index: int) -> str:
    return text.split("|")[index].partition(" ")[0]


@triton.constexpr_function
def number_of(text: str, index: int) -> float:
    return float(text.split("|")[index].partition(" ")[2] or 0)


@triton.constexpr_function
def row_of(text: str, index: int) -> int:
    return int(text.split("|")[index].partition(" ")[2])


# --- in registers -------------------------------------------------------------------------------


@triton.jit
def finish(
    value,
    TEXT: tl.constexpr,
    rows,
    width,
    channel,
    channel_ok,
    residual,
    residual_at,
    gate,
    gate_at,
    ok,
):
    """``value`` (float32) after every word of ``TEXT``.

    ``channel``, ``channel_ok`` broadcast to ``value``, so that it may lie either way round;
    ``rows`` has ``width`` channels. ``residual_at``, ``gate_at`` are offsets of every value,
    ``ok`` says which exist; what does not exist is neither read nor of consequence.
    """
    for i in tl.static_range(words_in(TEXT)):
        if word_of(TEXT, i) == "shift":
            value += _row(rows, row_of(TEXT, i), width, channel, channel_ok)
        elif word_of(TEXT, i) == "scale":
            value *= _row(rows, row_of(TEXT, i), width, channel, channel_ok)
        elif word_of(TEXT, i) == "prelu":
            slope = _row(rows, row_of(TEXT, i), width, channel, channel_ok)
            value = tl.where(value < 0, value * slope, value)
        elif word_of(TEXT, i) == "times":
            value *= number_of(TEXT, i)
        elif word_of(TEXT, i) == "add":
            value += tl.load(residual + residual_at, mask=ok, other=0.0).to(tl.float32)
        elif word_of(TEXT, i) == "mul" or word_of(TEXT, i) == "gate":
            value *= tl.load(gate + gate_at, mask=ok, other=0.0).to(tl.float32)
        else:
            value = activate(value, word_of(TEXT, i), number_of(TEXT, i))
    return value


@triton.jit
def _row(rows, ROW: tl.constexpr, width, channel, channel_ok):
    return tl.load(rows + ROW * width + channel, mask=channel_ok, other=0.0)


@triton.jit
def activate(x, WORD: tl.constexpr, NUMBER: tl.constexpr):
    """The activation ``WORD`` of ``x`` (float32). NaN stays NaN: a plain maximum would drop it."""
    if WORD == "relu":
        return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    elif WORD == "relu6":
        return _clamp6(x)
    elif WORD == "leaky_relu":
        return tl.where(x < 0, x * NUMBER, x)
    elif WORD == "elu":
        return tl.where(x > 0, x, NUMBER * expm1(x))
    elif WORD == "hardsigmoid":
        return _clamp6(x + 3.0) / 6.0
    elif WORD == "hardswish":
        return x * _clamp6(x + 3.0) / 6.0
    else:
        return _smooth(x, WORD)


@triton.jit
def _smooth(x, WORD: tl.constexpr):
    if WORD == "sigmoid":
        return tl.sigmoid(x)
    elif WORD == "silu":
        return x * tl.sigmoid(x)
    elif WORD == "tanh":
        return tanh(x)
    elif WORD == "gelu":
        return 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif WORD == "gelu_tanh":
        return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
    else:
        tl.static_assert(False, "no such activation")
        return x


@triton.jit
def _clamp6(x):
    low = tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(low, 6.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def expm1(x):
    """exp(x) - 1; near 0, where the difference would cancel, by its series."""
    s = 1.0 + x * (1.0 / 8.0)
    s = 1.0 + x * (1.0 / 7.0) * s
    s = 1.0 + x * (1.0 / 6.0) * s
    s = 1.0 + x * (1.0 / 5.0) * s
    s = 1.0 + x * (1.0 / 4.0) * s
    s = 1.0 + x * (1.0 / 3.0) * s
    s = 1.0 + x * (1.0 / 2.0) * s
    return tl.where(tl.abs(x) < 0.5, x * s, tl.exp(x) - 1.0)


@triton.jit
def tanh(x):
    """By exp of a negative number, which cannot overflow; libdevice's is not interpreted."""
    e = expm1(-2.0 * tl.abs(x))
    size = -e / (2.0 + e)
    return tl.where(x < 0, -size, size)
