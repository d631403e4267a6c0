"""Smallest inputs and strides of known networks, from their windows alone."""

from __future__ import annotations

import pytest

from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Dim, window
from tests.properties.test_sizes import H, size

Window = tuple[int, int, int, bool]


def floors(*layers: tuple[int, int, int]) -> list[Window]:
    return [(*layer, False) for layer in layers]


POOL = (3, 2, 0, True)  # SqueezeNet's and GoogLeNet's ceil-mode pool
NETWORKS: dict[str, tuple[int, int, list[Window]]] = {
    "alexnet": (63, 32, floors((11, 4, 2), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 2, 0))),
    "vgg": (32, 32, floors(*[(3, 1, 1), (2, 2, 0)] * 5)),
    "squeezenet1_0": (21, 16, [(7, 2, 0, False), POOL, POOL, POOL]),
    "googlenet": (
        15,
        32,
        [(7, 2, 3, False), POOL, (3, 1, 1, False), POOL, POOL, (2, 2, 0, True)],
    ),
    "densenet": (29, 32, floors((7, 2, 3), (3, 2, 1), *[(2, 2, 0)] * 3)),
    "inception_v3": (
        75,
        32,
        floors((3, 2, 0), (3, 1, 0), (3, 1, 1), (3, 2, 0), (3, 1, 0), *[(3, 2, 0)] * 3),
    ),
    "resnet": (1, 32, floors((7, 2, 3), *[(3, 2, 1)] * 4)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_smallest_input_and_stride_of_known_networks(name: str) -> None:
    smallest, stride, layers = NETWORKS[name]
    x: Dim = H
    valid = Valid.all("H")
    for kernel, step, padding, ceil in layers:
        x = window(x, kernel, step, (padding, padding), 1, ceil)
        valid = valid.intersect(Valid.at_least("H", size(x).least()))
    assert valid.first() == (smallest,)
    assert size(x).stride == stride
