"""The kernels' oracle lets a right kernel pass and sees each of these wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cnndsl.kernels.base import Config, Kernel, Launch, Operands
from cnndsl.kernels.problem import Problem
from tests.kernels.oracle import DENSE, PLANAR, SLICE, check, problem_of

Planted = Callable[..., None]


class Function:
    """What is launched: any function of tensors, in place of a kernel."""

    def __init__(self, function: Planted) -> None:
        self.function = function

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda num_warps, num_stages, **arguments: self.function(**arguments)


class Fake(Kernel):
    """A problem by PyTorch, with something wrong."""

    name = "fake"

    def __init__(self, function: Planted) -> None:
        self.function = Function(function)

    def refuses(self, problem: Problem, capability: int) -> str | None:
        return None

    def configs(self, problem: Problem, capability: int) -> Sequence[Config]:
        return [Config.of()]

    def pack(self, problem: Problem, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name[2]: weight for name, weight in weights.items()}

    def launches(self, problem: Problem, config: Config, operands: Operands) -> Sequence[Launch]:
        arguments: dict[str, Any] = {"x": operands.inputs[0], "out": operands.out}
        return [Launch(self.function, (1,), arguments | dict(operands.packed), config)]


def right(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    out.copy_(functional.conv2d(x.float(), w.float(), b, padding=1))


def without_bias(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    right(x, w, torch.zeros_like(b), out)


def with_a_hole(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    kept = out[-1, -1, -1, -1].clone()
    right(x, w, b, out)
    out[-1, -1, -1, -1] = kept


def beside(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    right(x, w, b, out)
    behind = torch.as_strided(out, (1,), (1,), out.storage_offset() + out.numel() + 40)
    behind.zero_()


def before(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    right(x, w, b, out)
    torch.as_strided(out, (1,), (1,), out.storage_offset() - 1).zero_()


def reading_behind(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    right(x, w, b, out)
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    out[0, 0, 0, 0] += torch.as_strided(x, (1,), (1,), x.storage_offset() + last + 1)[0] * 0


def rounded_twice(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    found = functional.conv2d(x.float(), w.float(), padding=1).to(torch.float16)
    out.copy_(found + b.view(-1, 1, 1).to(torch.float16))


def one_tap_less(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    less = w.clone()
    less[-1, -1, -1, -1] = 0
    right(x, less, b, out)


def slightly_off(x: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    right(x, w * (1 + 2.0**-20), b, out)


WRONG = [without_bias, with_a_hole, beside, before, reading_behind, rounded_twice, one_tap_less,
         slightly_off]  # fmt: skip
HALF = {rounded_twice}


def judge(function: Planted, dtype: torch.dtype, layout: str) -> None:
    kernel, problem = Fake(function), problem_of("[3, 4, 5] = conv(6, 3)", 2, dtype)
    check(kernel, problem, Config.of(), layout)


@pytest.mark.parametrize("layout", [DENSE, SLICE, PLANAR])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_right(dtype: torch.dtype, layout: str) -> None:
    judge(right, dtype, layout)


@pytest.mark.parametrize("layout", [DENSE, SLICE, PLANAR])
@pytest.mark.parametrize("function", WRONG, ids=lambda f: f.__name__)
def test_wrong(function: Planted, layout: str) -> None:
    with pytest.raises(AssertionError):
        judge(function, torch.float16 if function in HALF else torch.float32, layout)


def softmax(x: Tensor, out: Tensor) -> None:
    out.copy_(x.softmax(1))


def log_softmax(x: Tensor, out: Tensor) -> None:
    out.copy_(x.log_softmax(1))


def response_norm(x: Tensor, out: Tensor) -> None:
    out.copy_(functional.local_response_norm(x, 3))


EXPONENTIALS = [softmax, log_softmax, response_norm]


@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize("function", EXPONENTIALS, ids=lambda f: f.__name__)
def test_exponentials(function: Planted, size: float) -> None:
    """Of larger numbers they may be further off; not much, though."""

    def off(x: Tensor, out: Tensor) -> None:
        function(x, out)
        out.mul_(1 + size * 2.0**-15)

    text = function.__name__.replace("response_norm", "lrn(3)")
    problem = problem_of(f"[5, 2, 3] = {text}")
    check(Fake(function), problem, Config.of(), size=size)
    with pytest.raises(AssertionError, match="units off"):
        check(Fake(off), problem, Config.of(), size=size)
