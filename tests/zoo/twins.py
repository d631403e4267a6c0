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
from tests.references import bare

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
    with bare():
        return net.compile(optimize=0)


def twin(net: Compilation, reference: nn.Module) -> nn.Module:
    """Our module with the reference's weights, in its mode and its precision.

    Running statistics are copies, as training changes them.
    """
    return with_weights(without_weights(net), reference).train(reference.training)


def with_weights(module: nn.Module, reference: nn.Module) -> nn.Module:
    """A module of the same keys with the reference's parameters and a copy of its buffers."""
    buffers = {key: value.clone() for key, value in reference.named_buffers()}
    module.load_state_dict({**reference.state_dict(), **buffers}, assign=True)
    return module


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
