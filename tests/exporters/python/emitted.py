"""Emitted files as modules, and what they are held to."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import cnndsl
from cnndsl.exporters.python import export_python
from cnndsl.exporters.python.names import class_name
from cnndsl.graph import cost


def run_file(text: str) -> dict[str, Any]:
    """The names of an emitted file; it runs as a module of its own."""
    space: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(text, "emitted.py", "exec"), space)
    return space


def made_from(text: str, net: cnndsl.Compilation) -> nn.Module:
    module: nn.Module = run_file(text)[class_name(net.graph.name)]()
    return module


def shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """The ``state_dict`` in its order."""
    return [(key, tuple(value.shape)) for key, value in module.state_dict().items()]


def same_keys(net: cnndsl.Compilation, text: str) -> None:
    with torch.device("meta"):
        plain, module = net.compile(optimize=0), made_from(text, net)
    assert shapes(module) == shapes(plain), text
    assert [n for n, _ in module.named_parameters()] == [n for n, _ in plain.named_parameters()]


def drawn(net: cnndsl.Compilation, least: int = 17) -> list[torch.Tensor]:
    """A batch of two for each input, at sizes valid in both modes."""
    sizes = net.graph.facts.reference(least)
    types = [cost.concrete(node.type, sizes) for node in net.graph.inputs]
    return [torch.randn(2, *cost.shape(t), dtype=torch.float64) for t in types]


def fill(module: nn.Module) -> None:
    """Numbers under which activations neither die nor grow."""
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            spread = 0.5 if key.endswith(("var", "weight")) else 0.1
            value.copy_((torch.rand_like(value) - 0.3) * spread if value.dim() > 1 else value)
            if value.dim() == 1:
                value.copy_(torch.rand_like(value) * spread + spread)


def outputs(found: Any) -> list[Any]:
    return [found] if torch.is_tensor(found) else list(found)


def same_numbers(net: cnndsl.Compilation, text: str | None = None, least: int = 17) -> None:
    """Equal outputs to the last bit, in evaluation and, with the same draws, in training."""
    text = text or export_python(net)
    torch.manual_seed(0)
    plain, module = net.compile(optimize=0).double(), made_from(text, net).double()
    assert shapes(module) == shapes(plain), text
    fill(plain)
    module.load_state_dict(plain.state_dict())
    inputs = drawn(net, least)
    for training in (False, True):
        results = []
        for each in (plain, module):
            torch.manual_seed(7)
            with torch.no_grad():
                results.append(outputs(each.train(training)(*inputs)))
        for one, two in zip(*results, strict=True):
            same = one is two is None or torch.equal(one.nan_to_num(7), two.nan_to_num(7))
            assert same, text
    for key, value in plain.state_dict().items():  # what training has left in the buffers
        assert torch.equal(value, module.state_dict()[key]), key
