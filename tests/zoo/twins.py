"""Our form of a published network beside the published one: same weights, same numbers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import cnndsl
from cnndsl.compiler import Compilation, Program

EXAMPLES = Path(__file__).parents[2] / "examples"

# Sums of up to some thousand products may be taken in another order, never other products.
ROUNDING: Mapping[str, float] = {"rtol": 1e-9, "atol": 1e-9}


@functools.cache
def example(name: str) -> Program:
    """A file of the examples, which must have nothing to complain about."""
    program = cnndsl.load(EXAMPLES / f"{name}.cnn")
    assert program.diagnostics == ()
    return program


def shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Keys and shapes of the ``state_dict`` in its order, buffers included."""
    return [(key, tuple(value.shape)) for key, value in module.state_dict().items()]


def without_weights(net: Compilation) -> nn.Module:
    """The module on ``meta``: right in everything but numbers, and made in no time."""
    with torch.device("meta"):
        return net.compile(optimize=0)


def twin(net: Compilation, reference: nn.Module) -> nn.Module:
    """Our module with a copy of the reference's weights, in its mode and its precision."""
    module = without_weights(net)
    copies = {key: value.clone() for key, value in reference.state_dict().items()}
    module.load_state_dict(copies, assign=True)
    return module.train(reference.training)


def images(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed pixels in float64."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal values up to the order of sums, and of an ordinary size: zeros would prove nothing."""
    torch.testing.assert_close(ours, theirs, **ROUNDING)
    assert float(theirs.std()) > 1e-3


def assert_same_training(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """One forward in train mode: equal outputs, and equal running statistics after it."""
    before = {key: value.clone() for key, value in theirs.named_buffers()}
    with torch.no_grad():
        assert_same(ours.train()(x), theirs.train()(x))
    statistics = dict(ours.named_buffers())
    for key, value in theirs.named_buffers():
        torch.testing.assert_close(statistics[key], value, **ROUNDING, msg=key)
        assert not torch.equal(value, before[key]), f"{key} did not move"
