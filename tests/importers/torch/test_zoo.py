"""The published families through ``from_torch``: same keys, same numbers, a short text."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cnndsl
from tests.references import mtcnn, timm_model, torchvision_model
from tests.zoo.test_timm import FAMILIES, RELATIVES
from tests.zoo.test_torchvision import NETS
from tests.zoo.twins import ROUNDING, images, shapes

QUICK = {"resnet18": 15, "squeezenet1_1": 12}
LINES = {**QUICK, "resnet50": 40, "densenet121": 60, "vgg19": 20}
"""The most lines that a text may have."""
_TIMM = {*FAMILIES, *RELATIVES}
_TRAINED = {"inception_v3": 299, "inception_v4": 299, "inception_resnet_v2": 299}
_REST = sorted({*NETS, *_TIMM} - QUICK.keys())


def model(name: str) -> Any:
    return timm_model(name) if name in _TIMM else torchvision_model(name)


def assert_imported(module: Any, example: torch.Tensor, most: int = 10_000) -> None:
    """Its text has the module's keys and, at a size of its own, its float64 outputs."""
    program = cnndsl.from_torch(module, example)
    assert program.diagnostics == ()
    assert len(program.source.text.splitlines()) <= most, program.source.text
    net = program.net()
    with torch.device("meta"):
        ours = net.compile(optimize=0)
    assert sorted(shapes(ours)) == sorted(shapes(module))
    ours.load_state_dict(module.double().state_dict(), assign=True)
    free = [net.facts.allowed(symbol).next(99) for symbol in net.facts.symbols]
    x = images(1, 3, *(free or example.shape[2:]))
    with torch.no_grad():
        got, wanted = ours.eval()(x), module(x)
    leaves = [value for value in torch.utils._pytree.tree_leaves(got) if value is not None]
    for a, b in zip(leaves, torch.utils._pytree.tree_leaves(wanted), strict=True):
        scale = float(b.std())
        torch.testing.assert_close(a / scale, b / scale, **ROUNDING)


@pytest.mark.parametrize("name", QUICK)
def test_quick_ones(name: str) -> None:
    assert_imported(model(name), torch.zeros(1, 3, 64, 64), QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", _REST)
def test_every_family(name: str) -> None:
    size = _TRAINED.get(name, 224)
    assert_imported(model(name), torch.zeros(1, 3, size, size), LINES.get(name, 10_000))


@pytest.mark.parametrize(("index", "size"), list(enumerate((12, 24, 48))), ids=["p", "r", "o"])
def test_face_detector(index: int, size: int) -> None:
    """The trained P-net takes pictures of any size, the others of one."""
    assert_imported(mtcnn()[index], torch.zeros(1, 3, size, size))
