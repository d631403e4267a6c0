"""Every network of the examples, and the variants of them that the tests of the zoo count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

import cnndsl
from tests.references import fill, settle
from tests.zoo.twins import EXAMPLES, example

FILES = sorted(path.stem for path in EXAMPLES.glob("*.cnn"))
VARIANTS: Mapping[str, list[tuple[str, dict[str, Any]]]] = {
    "fractalnet": [("FractalNet", {"columns": 4})],
    "mobilenet_v1": [("MobileNetV1", {"alpha": 1.25})],
    "resnet_cifar": [("ResNet20", {"shortcut": "OptionB"})],
}


def networks(file: str) -> list[cnndsl.Compilation]:
    """All nets of a file; of a search space the network of its first alternatives."""
    program = example(file)
    found = [(name, {}) for name in program.nets] + VARIANTS.get(file, [])
    return [program.net(name, chooser=lambda path, count: 0, **more) for name, more in found]


def with_weights(net: cnndsl.Compilation, x: torch.Tensor) -> Any:
    """Its plain module, with weights under which every layer matters for inputs like ``x``."""
    return settle(fill(net.compile(optimize=0).eval()), x)
