"""Every activation of the catalogue as an epilogue, on every kind of number."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

from cnndsl.kernels.epilogue import activate, activation_text
from cnndsl.ops.activation import ELU, GELU, LeakyReLU
from cnndsl.passes.kinds import ACTIVATIONS

COUNT = 4096
OPS = [
    *(kind() for kind in ACTIVATIONS),
    LeakyReLU(-0.3),
    ELU(2.5),
    GELU("tanh"),
]


@triton.jit
def each(x, y, WORD: tl.constexpr, NUMBER: tl.constexpr, COUNT: tl.constexpr):
    at = tl.arange(0, COUNT)
    tl.store(y + at, activate(tl.load(x + at), WORD, NUMBER))


def applied(x: torch.Tensor, text: str) -> torch.Tensor:
    y, (word, _, number) = torch.empty_like(x), text.partition(" ")
    each[(1,)](x, y, word, float(number or 0), len(x))
    return y


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.text())
def test_activations(op) -> None:  # type: ignore[no-untyped-def]
    """Within a few roundings of the larger of value and argument, small arguments too."""
    steps = torch.arange(1, COUNT // 2 + 1) / (COUNT // 2)
    for largest in (1e-6, 1e-2, 1.0, 4.0, 30.0):
        x = torch.cat([-steps, steps]).mul(largest)
        true = op.torch(None)(x.double())
        error = (applied(x, activation_text(op)).double() - true).abs()
        unit = torch.maximum(true.abs(), x.double().abs()) * 2**-24
        assert float((error / unit).max()) <= 6, largest


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.text())
def test_what_is_not_finite(op) -> None:  # type: ignore[no-untyped-def]
    """PyTorch is asked one by one: its vectors make NaN of an infinity in gelu, not its scalars."""
    x = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e38, -1e38, 1e-45])
    found, true = applied(x, activation_text(op)), torch.stack(list(map(op.torch(None), x)))
    torch.testing.assert_close(found, true, equal_nan=True)
