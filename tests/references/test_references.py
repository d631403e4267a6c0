"""The references must be what the papers' figures describe, or every comparison is void."""

import pytest
import torch
from torch import nn

from tests.references import fill, mtcnn, photograph, timm_model, torchvision_model

TORCHVISION = {
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "wide_resnet50_2": 68_883_240,
    "resnext50_32x4d": 25_028_904,
    "densenet121": 7_978_856,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "mobilenet_v2": 3_504_872,
    "regnet_y_400mf": 4_344_144,
}
TIMM = {
    "inception_v4": 42_679_816,
    "inception_resnet_v2": 55_843_464,
    "resnetv2_50": 25_549_352,
    "seresnet50": 28_088_024,
    "mobilenetv1_100": 4_231_976,
}


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_counts(name: str) -> None:
    module = torchvision_model(name, seed=None)
    assert _parameters(module) == TORCHVISION[name]
    assert all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize("name", TIMM)
def test_timm_counts(name: str) -> None:
    assert _parameters(timm_model(name, seed=None)) == TIMM[name]


@pytest.mark.parametrize("name", ["resnet152", "densenet121", "squeezenet1_0", "regnet_y_400mf"])
def test_outputs_keep_an_ordinary_size(name: str) -> None:
    with torch.inference_mode():
        spread = float(torchvision_model(name)(torch.randn(1, 3, 128, 128)).std())
    assert 0.1 < spread < 10


def test_weights_follow_from_names_and_the_seed_alone() -> None:
    one = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    other = nn.Module()
    other.add_module("1", nn.BatchNorm2d(8))
    other.add_module("0", nn.Conv2d(3, 8, 3))
    ours, theirs = fill(one, 5).state_dict(), fill(other, 5).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(fill(one, 6).state_dict()["0.weight"], theirs["0.weight"])


def test_large_tensors_are_filled_to_the_end() -> None:
    weight = fill(nn.Linear(1500, 1500)).weight.detach()
    assert float(weight.flatten()[-1000:].std()) == pytest.approx((2 / 1500) ** 0.5, rel=0.1)


def test_fill_leaves_constants_alone() -> None:
    module = nn.Module()
    module.register_buffer("anchor", torch.arange(3.0))
    assert fill(module).state_dict()["anchor"].tolist() == [0, 1, 2]


def test_mtcnn_answers_in_probabilities() -> None:
    for net, size in zip(mtcnn(), (12, 24, 48), strict=True):
        with torch.inference_mode():
            probabilities = net(torch.zeros(2, 3, size, size))[-1]
        torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))


def test_photographs_are_in_colour() -> None:
    for name in ("china", "flower"):
        pixels = photograph(name)
        assert pixels.shape == (427, 640, 3)
        assert pixels.std(axis=(0, 1)).min() > 10
