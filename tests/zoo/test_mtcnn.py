"""A trained face detector: its published weights, its answers, on photographs."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import cnndsl
from tests.references import mtcnn, photograph
from tests.zoo.twins import ROUNDING, example, shapes, twin, without_weights

NETS = {"PNet": 6_632, "RNet": 100_178, "ONet": 389_040}
OUTPUTS = {
    "PNet": ("boxes", "faces"),
    "RNet": ("boxes", "faces"),
    "ONet": ("boxes", "points", "faces"),
}
PHOTOGRAPHS = ("china", "flower")
each = pytest.mark.parametrize("name", NETS)


@functools.cache
def _theirs(name: str) -> nn.Module:
    return mtcnn()[list(NETS).index(name)]


def _ours(name: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    return twin(example("mtcnn").net(name), _theirs(name)).to(dtype)


def _pixels(name: str) -> Tensor:
    """[1, 3, H, W], scaled as the package does."""
    return (torch.from_numpy(photograph(name)).permute(2, 0, 1)[None].float() - 127.5) / 128


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(image, size, mode="area")


@each
def test_keys_and_shapes(name: str) -> None:
    net = example("mtcnn").net(name)
    assert net.params == NETS[name]
    assert shapes(without_weights(net)) == shapes(_theirs(name))


def test_sizes() -> None:
    net = example("mtcnn").net("PNet")
    assert net.min_size == {"H": 11, "W": 11}
    assert net.output_shapes(H=12, W=12) == {"boxes": (4, 1, 1), "faces": (2, 1, 1)}
    assert example("mtcnn").net("RNet").output_shapes() == {"boxes": (4,), "faces": (2,)}
    assert example("mtcnn").net("ONet").output_shapes()["points"] == (10,)


def _scales(image: Tensor) -> Iterator[Tensor]:
    """The package's pyramid: faces of 20 pixels and more become 12 pixels large."""
    scale = 12 / 20
    while min(image.shape[2:]) * scale >= 12:
        height, width = (int(side * scale + 1) for side in image.shape[2:])
        yield _resized(image, (height, width))
        scale *= 0.709


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_proposals_at_every_scale(name: str) -> None:
    ours, theirs = _ours("PNet"), _theirs("PNet")
    sizes = 0
    with torch.inference_mode():
        for image in _scales(_pixels(name)):
            _assert_answers(ours(image), theirs(image), "PNet")
            sizes += 1
    assert sizes > 8


def _crops(name: str, size: int) -> Tensor:
    """The windows of a photograph that look most like a face, and some that do not."""
    image = _pixels(name)
    with torch.inference_mode():
        faces = _theirs("PNet")(_resized(image, (107, 160)))[-1][0, 1]
    order = faces.flatten().argsort(descending=True)
    crops = []
    for place in [*order[:24].tolist(), *order[:: max(1, len(order) // 24)].tolist()]:
        top, left = (int(8 * i) for i in divmod(place, faces.shape[1]))
        crops.append(_resized(image[:, :, top : top + 48, left : left + 48], (size, size)))
    return torch.cat(crops)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize(("net", "size"), [("RNet", 24), ("ONet", 48)])
def test_answers_on_crops(net: str, size: int, name: str) -> None:
    crops = _crops(name, size)
    with torch.inference_mode():
        answers = _theirs(net)(crops)
        _assert_answers(_ours(net)(crops), answers, net)
    assert answers[-1][:, 1].max() > 10 * answers[-1][:, 1].min()  # the crops are not all alike


def _assert_answers(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], net: str) -> None:
    """The package's outputs in its order, under our names."""
    assert type(ours)._fields == OUTPUTS[net]  # type: ignore[attr-defined]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("net", "size"), [("PNet", 61), ("RNet", 24), ("ONet", 48)])
def test_answers_in_double_precision(net: str, size: int) -> None:
    image = _resized(_pixels("china")[:, :, :200, :200], (size, size)).double()
    theirs = mtcnn()[list(NETS).index(net)].double()
    with torch.inference_mode():
        for mine, other in zip(_ours(net, torch.float64)(image), theirs(image), strict=True):
            torch.testing.assert_close(mine, other, **ROUNDING)


def test_values_are_counted_column_by_column() -> None:
    """With the usual order the trained weights would give other answers."""
    text = example("mtcnn").source.text
    assert text.count("flatten(order=whc)") == 2
    usual = cnndsl.loads(text.replace("flatten(order=whc)", "flatten")).net("RNet")
    crops = _crops("china", 24)
    with torch.inference_mode():
        right, wrong = _theirs("RNet")(crops)[0], twin(usual, _theirs("RNet"))(crops)[0]
    assert (right - wrong).abs().max() > 0.1


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_package_s_detector_runs_on_our_networks(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three stages. There is no face to see: only low thresholds let candidates through."""
    theirs = mtcnn()
    detector = importlib.import_module("facenet_pytorch.models.utils.detect_face")
    # torchvision's compiled operator may be missing; the package brings its own for stage 3
    suppress = functools.partial(detector.batched_nms_numpy, method="Union")
    monkeypatch.setattr(detector, "batched_nms", suppress)

    def found(nets: Iterable[nn.Module]) -> tuple[Tensor, ...]:
        options = ((0.3, 0.1, 0.05), 0.709, torch.device("cpu"))
        with torch.inference_mode():
            images = detector.detect_face(photograph(name), 20, *nets, *options)
        return tuple(torch.tensor(of_image[0].astype(float)) for of_image in images)

    expected = found(theirs)
    assert len(expected[0]) >= 3
    for mine, other in zip(found(map(_ours, NETS)), expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-2)  # of pixels
