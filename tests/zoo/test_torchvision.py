"""The families that torchvision has: the same keys, and with the same weights the same numbers."""

from __future__ import annotations

import functools
import random
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from cnndsl.compiler import Compilation
from tests.references import fill, settle, torchvision_model, torchvision_models
from tests.zoo.listing import Figures, header, lines
from tests.zoo.twins import ROUNDING, example, images, shapes, twin, with_weights, without_weights


class Net(NamedTuple):
    """``file`` and ``name`` are ours; ``training``: the smallest image where heads ask for more."""

    file: str
    name: str
    least: int
    training: int = 0


NETS = {
    "alexnet": Net("alexnet", "AlexNet", 63),
    "vgg11": Net("vgg", "VGG11", 32),
    "vgg13": Net("vgg", "VGG13", 32),
    "vgg16": Net("vgg", "VGG16", 32),
    "vgg19": Net("vgg", "VGG19", 32),
    "vgg11_bn": Net("vgg", "VGG11_BN", 32),
    "vgg13_bn": Net("vgg", "VGG13_BN", 32),
    "vgg16_bn": Net("vgg", "VGG16_BN", 32),
    "vgg19_bn": Net("vgg", "VGG19_BN", 32),
    "googlenet": Net("googlenet", "GoogLeNet", 15),
    "inception_v3": Net("inception_v3", "InceptionV3", 75, training=299),
    "resnet18": Net("resnet", "ResNet18", 1),
    "resnet34": Net("resnet", "ResNet34", 1),
    "resnet50": Net("resnet", "ResNet50", 1),
    "resnet101": Net("resnet", "ResNet101", 1),
    "resnet152": Net("resnet", "ResNet152", 1),
    "wide_resnet50_2": Net("resnet", "WideResNet50_2", 1),
    "resnext50_32x4d": Net("resnet", "ResNeXt50_32x4d", 1),
    "densenet121": Net("densenet", "DenseNet121", 29),
    "densenet161": Net("densenet", "DenseNet161", 29),
    "densenet169": Net("densenet", "DenseNet169", 29),
    "densenet201": Net("densenet", "DenseNet201", 29),
    "squeezenet1_0": Net("squeezenet", "SqueezeNet1_0", 21),
    "squeezenet1_1": Net("squeezenet", "SqueezeNet1_1", 17),
    "mobilenet_v2": Net("mobilenet_v2", "MobileNetV2", 1),
    "shufflenet_v2_x1_0": Net("shufflenet_v2", "ShuffleNetV2_x1_0", 1),
    "efficientnet_b0": Net("efficientnet", "EfficientNetB0", 1),
    "regnet_y_400mf": Net("regnet", "RegNet_Y_400MF", 1),
    "regnet_x_400mf": Net("regnet", "RegNet_X_400MF", 1),
    "convnext_tiny": Net("convnext", "ConvNeXtTiny", 32),
}
FILES = sorted({net.file for net in NETS.values()})
# One text makes the classifier of every VGG; its gigabyte of weights is compared in VGG11.
VGG11_HEAD = {name for name, net in NETS.items() if net.file == "vgg"} - {"vgg11"}
WITH_HEADS = ("googlenet", "inception_v3")
COUNTED_WITH_HEADS = ("inception_v3",)  # torchvision's record of the other leaves them out
OUTPUTS = {"logits": "out", "aux_logits1": "aux1", "aux_logits2": "aux2", "aux_logits": "AuxLogits"}
each = pytest.mark.parametrize("name", NETS)


def _net(name: str) -> Compilation:
    return example(NETS[name].file).net(NETS[name].name)


@functools.cache
def _outline(name: str) -> nn.Module:
    """The reference on ``meta``, with its auxiliary heads as torchvision's default has them."""
    return torchvision_model(name, seed=None)


@pytest.mark.parametrize("file", FILES)
def test_every_net_of_a_file_is_compared(file: str) -> None:
    assert set(example(file).nets) == {net.name for net in NETS.values() if net.file == file}


@each
def test_keys_and_shapes(name: str) -> None:
    assert shapes(without_weights(_net(name))) == shapes(_outline(name))


# --- figures ----------------------------------------------------------------------------------


@each
def test_parameters(name: str) -> None:
    net, meta = _net(name), _published(name).meta
    assert net.params == sum(parameter.numel() for parameter in _outline(name).parameters())
    counted = net.params if name in COUNTED_WITH_HEADS else net.inference_params
    assert counted == meta["num_params"]


@each
def test_multiply_accumulates(name: str) -> None:
    size = _size(name)
    assert round(_net(name).macs(H=size, W=size) / 1e9, 3) == _published(name).meta["_ops"]


@each
def test_header(name: str) -> None:
    net = _net(name)
    gmac = f"{net.macs(**dict.fromkeys('HW', _size(name))) / 1e9:.3f}"
    row = Figures(net.inference_params, gmac, NETS[name].least)
    assert header(example(NETS[name].file))[NETS[name].name] == row


@pytest.mark.parametrize(
    ("name", "most"), [("resnet50", 15), ("googlenet", 25), ("densenet121", 12)]
)
def test_as_short_as_the_paper(name: str, most: int) -> None:
    assert lines(example(NETS[name].file), NETS[name].name) <= most


def _size(name: str) -> int:
    size: int = _published(name).transforms.keywords["crop_size"]
    return size


def _published(name: str) -> Any:
    """Torchvision's record of its first weights; nothing is downloaded."""
    return next(iter(torchvision_models().get_model_weights(name))).value


# --- sizes ------------------------------------------------------------------------------------


@each
def test_smallest_image(name: str) -> None:
    """Torchvision's network runs at our minimum, and not below it."""
    least, theirs = NETS[name].least, _outline(name).eval()
    assert _net(name).min_size == {"H": least, "W": least}
    assert _published(name).meta["min_size"] == (least, least)
    _assert_least(theirs, least)


@each
def test_smallest_image_in_training(name: str) -> None:
    least = NETS[name].training or NETS[name].least
    assert _net(name).training_min_size == {"H": least, "W": least}
    if name in WITH_HEADS:
        _assert_least(_outline(name).train(), least)


def _assert_least(theirs: nn.Module, least: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # It changes no size, and takes most of the time on `meta`.
        patch.setattr(nn.BatchNorm2d, "forward", lambda norm, x: x)
        theirs(torch.empty(2, 3, least, 320, device="meta"))
        theirs(torch.empty(2, 3, 320, least, device="meta"))
        if least > 1:
            for height, width in ((least - 1, 320), (320, least - 1)):
                with pytest.raises(RuntimeError, match=r"[Kk]ernel size|too small"):
                    theirs(torch.empty(2, 3, height, width, device="meta"))


@each
def test_joins_agree_at_every_size(name: str) -> None:
    """No join restricts the sizes: what is valid is valid from the minimum on."""
    net = _net(name)
    assert net.facts.derived == []
    assert all(net.facts.allowed(s).modulus == 1 for s in net.facts.symbols)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 1), (2, 5), (7, 8), (33, 34)])
def test_resnet_at_sizes_that_no_stride_divides(size: tuple[int, int]) -> None:
    theirs = _settled("resnet18").eval()
    with torch.no_grad():
        x = images(2, 3, *size)
        torch.testing.assert_close(twin(_net("resnet18"), theirs)(x), theirs(x), **ROUNDING)


# --- numbers ----------------------------------------------------------------------------------


@each
def test_same_numbers(name: str) -> None:
    """In eval mode, in train mode without noise, and in eval mode with the new statistics."""
    ours, theirs = map(_quiet, _convolutions(name) if name in VGG11_HEAD else _both(name))
    _assert_same(ours.eval(), theirs.eval(), _images(NETS[name].least, name))
    before = {key: value.clone() for key, value in theirs.named_buffers()}
    least = NETS[name].training or NETS[name].least
    _assert_same(ours.train(), theirs.train(), _images(least, name, batch=2))
    for key, value in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(key), value, **ROUNDING, msg=key)
        assert not torch.equal(value, before[key]), f"{key} did not move"
    if before:
        _assert_same(ours.eval(), theirs.eval(), _images(NETS[name].least, name, seed=1))


@pytest.mark.parametrize("name", WITH_HEADS)
def test_heads_are_absent_in_eval_mode(name: str) -> None:
    ours = twin(_net(name), _settled(name)).eval()
    with torch.no_grad():
        out, *heads = ours(_images(NETS[name].least, name))
    assert out.shape[1] == 1000
    assert heads and all(head is None for head in heads)


@each
def test_dropout(name: str) -> None:
    ours, theirs = (
        [m.p for m in module.modules() if isinstance(m, nn.Dropout)]
        for module in (without_weights(_net(name)), _outline(name))
    )
    assert ours == theirs


@pytest.mark.parametrize("name", ["efficientnet_b0", "convnext_tiny"])
def test_stochastic_depth(name: str) -> None:
    """Blocks with a skip are dropped as often as theirs; others never, whatever theirs say."""
    ours = {_parent(key): float(m.p) for key, m in _drop_paths(without_weights(_net(name)))}
    theirs = {
        _parent(key): m.p
        for key, m in _drop_paths(_outline(name))
        if getattr(_outline(name).get_submodule(_parent(key)), "use_res_connect", True)
    }
    assert ours == pytest.approx(theirs)


def _both(name: str) -> tuple[nn.Module, nn.Module]:
    theirs = _settled(name)
    return twin(_net(name), theirs), theirs


def _convolutions(name: str) -> tuple[nn.Module, nn.Module]:
    """The two networks without their classifiers."""
    theirs = torchvision_model(name, seed=None).features.to_empty(device="cpu")
    settle(fill(theirs), images(1, 3, 64, 64).float()).double()
    return with_weights(without_weights(_net(name)).features, theirs), theirs


@functools.lru_cache(maxsize=1)
def _settled(name: str) -> nn.Module:
    return torchvision_model(name).double()


def _quiet(module: nn.Module) -> nn.Module:
    """Dropout and stochastic depth that never drop."""
    for inner in module.modules():
        if hasattr(inner, "p"):
            inner.p = 0.0
    return module


def _images(least: int, name: str, batch: int = 1, seed: int = 0) -> Tensor:
    """At an odd height and an odd width of their own, up to 48 above the minimum."""
    chance = random.Random(f"{name} {seed}")
    height, width = (least + (least + 1) % 2 + 2 * chance.randint(0, 23) for _ in "HW")
    return images(batch, 3, height, width, seed=seed)


def _assert_same(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Equal outputs by name; of an ordinary size, or equality would prove nothing."""
    with torch.no_grad():
        got, wanted = _by_name(ours(x)), _by_name(theirs(x))
    assert got.keys() == wanted.keys()
    for output, value in wanted.items():
        scale = float(value.std())
        assert scale > 1e-3
        torch.testing.assert_close(got[output] / scale, value / scale, **ROUNDING)


def _by_name(result: Any) -> dict[str, Tensor]:
    """What a network returned, under our names; absent heads left out."""
    if isinstance(result, Tensor):
        return {"out": result}
    named = result._asdict()
    return {OUTPUTS.get(key, key): value for key, value in named.items() if value is not None}


def _drop_paths(module: nn.Module) -> list[tuple[str, Any]]:
    kinds = ("DropPath", "StochasticDepth")
    return [(key, m) for key, m in module.named_modules() if type(m).__name__ in kinds]


def _parent(key: str) -> str:
    return key.rpartition(".")[0]
