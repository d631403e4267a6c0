"""Published networks as other people wrote them, to compare ours with. Nothing is downloaded.

Torchvision and timm are installed without their dependencies (see requirements-references.txt):
only their Python model definitions are used, on whatever torch build is present.
"""

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from tests.references.weights import bare, fill, settle

# The size at which tests run most networks: on smaller maps zero padding biases the statistics.
_SETTLE_SIZE = 224


def torchvision_models() -> ModuleType:
    """The module `torchvision.models`, whether or not its compiled operators can be loaded."""
    _declare_torchvision_operators()
    return importlib.import_module("torchvision.models")


def torchvision_model(name: str, *, seed: int | None = 0, **options: Any) -> nn.Module:
    """A torchvision network in eval mode; with `seed=None` it stays without weights, on `meta`."""
    constructor = getattr(torchvision_models(), name)
    return _build(functools.partial(constructor, weights=None, **options), seed)


def timm_model(name: str, *, seed: int | None = 0, **options: Any) -> nn.Module:
    """A timm network in eval mode; with `seed=None` it stays without weights, on `meta`."""
    _declare_torchvision_operators()
    constructor = importlib.import_module("timm").create_model
    return _build(functools.partial(constructor, name, pretrained=False, **options), seed)


def mtcnn() -> tuple[nn.Module, nn.Module, nn.Module]:
    """The trained face detector's P-, R- and O-net; they take 12, 24 and 48 pixels square.

    Each returns boxes first and face probabilities last; R- and O-net flatten column by column.
    """
    _declare_torchvision_operators()
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    return PNet().eval(), RNet().eval(), ONet().eval()


def _build(constructor: Callable[[], nn.Module], seed: int | None) -> nn.Module:
    module = _construct(constructor)
    if seed is None:
        return module
    _refuse_constants(module)
    fill(module.to_empty(device="cpu"), seed)
    channels = next(m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d))
    generator = torch.Generator().manual_seed(seed)
    size = (1, channels, _SETTLE_SIZE, _SETTLE_SIZE)
    return settle(module, torch.randn(size, generator=generator))


def _construct(constructor: Callable[[], nn.Module]) -> nn.Module:
    """Without numbers: `fill` overwrites them anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about initialisation, which does not matter here
        try:
            with bare():
                module = constructor()
        except NotImplementedError:  # RegNet reads values of tensors while it is built
            with bare("cpu"):
                module = constructor().to("meta")
    return module.eval()


def _refuse_constants(module: nn.Module) -> None:
    """`to_empty` would turn buffers computed by a constructor into noise."""
    known = ("running_mean", "running_var", "num_batches_tracked")
    constants = [name for name, _ in module.named_buffers() if not name.endswith(known)]
    if constants:
        raise NotImplementedError(f"this model computes buffers while it is built: {constants}")


@functools.cache
def _declare_torchvision_operators() -> torch.library.Library | None:
    """Make `import torchvision` work where its compiled part does not match the torch build.

    Its Python files refer to two operators at import; a declaration without code is enough. The
    library object is cached because its declarations vanish with it.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("install tests/requirements-references.txt")
    for binary in Path(package.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(binary))
        except OSError:
            break
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
