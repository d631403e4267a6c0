"""The families that timm has: same keys, same shapes, and with the same weights same numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from cnndsl.compiler import Compilation
from tests.references import timm_model
from tests.zoo.twins import (
    assert_same,
    assert_same_training,
    example,
    images,
    shapes,
    twin,
    without_weights,
)


class Family(NamedTuple):
    """``file`` and ``net`` are ours; ``gmac`` is the figure at ``size`` pixels."""

    file: str
    net: str
    params: int
    gmac: float
    size: int
    least: int
    ordered: bool = True
    """Whether modules of the published class stand in the order in which they run."""


FAMILIES = {
    "inception_v4": Family("inception_v4", "InceptionV4", 42_679_816, 12.254, 299, 75),
    "inception_resnet_v2": Family(
        "inception_resnet_v2", "InceptionResNetV2", 55_843_464, 13.156, 299, 75
    ),
    "resnetv2_50": Family("resnet_preact", "PreActResNet50", 25_549_352, 4.089, 224, 1, False),
    "seresnet50": Family("se_resnet", "SEResNet50", 28_088_024, 4.092, 224, 1),
    "mobilenetv1_100": Family("mobilenet_v1", "MobileNetV1", 4_231_976, 0.569, 224, 1),
}
RELATIVES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resnetv2_101": ("resnet_preact", "PreActResNet101", {}),
    "resnetv2_152": ("resnet_preact", "PreActResNet152", {}),
    "seresnet101": ("se_resnet", "SEResNet101", {}),
    "seresnet152": ("se_resnet", "SEResNet152", {}),
    "mobilenetv1_125": ("mobilenet_v1", "MobileNetV1", {"alpha": 1.25}),
}
each = pytest.mark.parametrize("name", FAMILIES)


def _net(name: str) -> Compilation:
    return example(FAMILIES[name].file).net(FAMILIES[name].net)


@each
def test_figures(name: str) -> None:
    family, net = FAMILIES[name], _net(name)
    assert net.params == family.params
    assert round(net.macs(H=family.size, W=family.size) / 1e9, 3) == family.gmac
    assert net.output_shapes() == {"out": (1000,)}


@each
def test_keys_and_shapes(name: str) -> None:
    ours, theirs = shapes(without_weights(_net(name))), shapes(timm_model(name, seed=None))
    if not FAMILIES[name].ordered:  # our keys stand in the order in which layers run
        ours, theirs = sorted(ours), sorted(theirs)
    assert ours == theirs


@pytest.mark.parametrize("name", RELATIVES)
def test_relatives(name: str) -> None:
    file, net, parameters = RELATIVES[name]
    ours = without_weights(example(file).net(net, **parameters))
    assert sorted(shapes(ours)) == sorted(shapes(timm_model(name, seed=None)))


@each
def test_smallest_image(name: str) -> None:
    """Theirs runs at our minimum, and not below it."""
    least, theirs = FAMILIES[name].least, timm_model(name, seed=None)
    assert _net(name).min_size == {"H": least, "W": least}
    theirs(torch.empty(1, 3, least, least, device="meta"))
    if least > 1:
        with pytest.raises(RuntimeError, match=r"[Kk]ernel size|too small"):
            theirs(torch.empty(1, 3, least - 1, least, device="meta"))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    """A family's name and theirs; pytest runs the tests of one family together."""
    return request.param, timm_model(request.param).double()


def test_eval_mode(family: tuple[str, nn.Module]) -> None:
    name, theirs = family
    ours = twin(_net(name), theirs.eval())
    least = FAMILIES[name].least
    x = 10 * images(1, 3, least + 24, least + 41)  # enough to reach the upper end of ReLU6
    with torch.no_grad():
        assert_same(ours(x), theirs(x))


def test_train_mode(family: tuple[str, nn.Module]) -> None:
    name, theirs = family
    least = FAMILIES[name].least
    x = images(2, 3, least + 32, least + 33)
    assert_same_training(twin(_net(name), theirs), theirs, x)
