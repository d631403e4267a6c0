"""The figures by which lectures teach these networks, derived from their texts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest

import cnndsl
from cnndsl.compiler import Compilation
from cnndsl.graph import cost
from tests.zoo.twins import example

K, M = 1_000, 1_000_000


def _net(text: str, **parameters: Any) -> Compilation:
    program = cnndsl.loads(text)
    assert not [d for d in program.diagnostics if d.severity == "error"]
    return program.net(**parameters)


class Layer(NamedTuple):
    """A row of a lecture's table: output shape, its size, weights, multiplications."""

    path: str
    op: str
    shape: tuple[int, ...]
    kilobytes: float
    params: int
    macs: int


def _layers(net: Compilation, **sizes: int) -> list[Layer]:
    rows = []
    for node, macs in cost.macs_by_node(net.graph, sizes):
        shape = cost.shape(cost.concrete(node.type, sizes))
        params = sum(math.prod(w.shape) for w in cost.weights_of(net.graph, node) if not w.buffer)
        kilobytes = math.prod(shape) * 4 / 1024
        rows.append(Layer(node.path, node.op.name, shape, kilobytes, params, macs))
    return rows


# --- Inception (CS231n, lecture 9) --------------------------------------------------------------

NAIVE = """
net Naive: [256, 28, 28] =
  (a: conv(128, 1) | b: conv(192, 3) | c: conv(96, 5) | maxpool(3, stride=1, padding=1))
"""
BOTTLENECKS = """
net Bottlenecks: [256, 28, 28] =
    a: conv(128, 1)
  | b: (conv(64, 1) -> conv(192, 3))
  | c: (conv(64, 1) -> conv(96, 5))
  | d: (maxpool(3, stride=1, padding=1) -> conv(64, 1))
"""


def test_naive_inception() -> None:
    net = _net(NAIVE)
    assert net.output_shapes() == {"out": (672, 28, 28)}
    assert net.macs() == 28 * 28 * 256 * (128 + 9 * 192 + 25 * 96) == 854_196_224


def test_inception_with_bottlenecks() -> None:
    """The lecture's six products; its total of 358 M holds the 3x3 convolution's twice."""
    net = _net(BOTTLENECKS)
    assert net.output_shapes() == {"out": (480, 28, 28)}
    products = {row.path: row.macs for row in _layers(net) if row.op == "conv"}
    assert products == {
        "a": 28 * 28 * 128 * 256,
        "b.0": 28 * 28 * 64 * 256,
        "b.1": 28 * 28 * 192 * 9 * 64,
        "c.0": 28 * 28 * 64 * 256,
        "c.1": 28 * 28 * 96 * 25 * 64,
        "d.1": 28 * 28 * 64 * 256,
    }
    assert net.macs() == 271_351_808
    assert round((net.macs() + products["b.1"]) / M) == 358


def test_inception_3a_keeps_28x28_and_has_256_channels() -> None:
    rows = {r.path: r for r in _layers(example("googlenet").net(), H=224, W=224)}
    branches = ["branch1.bn", "branch2.1.bn", "branch3.1.bn", "branch4.1.bn"]
    shapes = [rows[f"inception3a.{branch}"].shape for branch in branches]
    assert shapes == [(64, 28, 28), (128, 28, 28), (32, 28, 28), (32, 28, 28)]
    assert rows["inception3b.branch1.conv"].params == 256 * 128


# --- 1x1 convolutions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direct", "through", "expected"),
    [
        (
            "net N: [192, 28, 28] = conv(32, 5)\n",
            "net N: [192, 28, 28] = conv(16, 1) -> conv(32, 5)\n",
            ([120_422_400], [2_408_448, 10_035_200], 12_443_648),
        ),
        (
            "net N: [480, 14, 14] = conv(48, 5)\n",
            "net N: [480, 14, 14] = conv(16, 1) -> conv(48, 5)\n",
            ([112_896_000], [1_505_280, 3_763_200], 5_268_480),
        ),
    ],
)
def test_a_narrow_layer_before_a_wide_window(
    direct: str, through: str, expected: tuple[list[int], list[int], int]
) -> None:
    assert [row.macs for row in _layers(_net(direct))] == expected[0]
    assert [row.macs for row in _layers(_net(through))] == expected[1]
    assert _net(through).macs() == expected[2]
    assert _net(direct).output_shapes() == _net(through).output_shapes()


# --- small windows in a stack (VGG) -------------------------------------------------------------


@pytest.mark.parametrize(("layers", "window"), [(2, 5), (3, 7)])
@pytest.mark.parametrize("c", [64, 256])
def test_stacked_3x3_see_as_far_with_fewer_weights(layers: int, window: int, c: int) -> None:
    stack = _net(f"net N: [{c}, H, W] = conv({c}, 3, padding=0, bias=no)^{layers}\n")
    single = _net(f"net N: [{c}, H, W] = conv({c}, {window}, padding=0, bias=no)\n")
    assert stack.min_size == single.min_size == {"H": window, "W": window}
    assert stack.output_shapes(H=100, W=90) == single.output_shapes(H=100, W=90)
    assert (stack.params, single.params) == (9 * layers * c * c, window**2 * c * c)


def test_global_average_pooling_replaces_a_large_matrix() -> None:
    full = _net("net N: [1024, 7, 7] = flatten -> linear(1024, bias=no)\n")
    pooled = _net("net N: [1024, 7, 7] = gap -> flatten\n")
    assert (full.params, pooled.params) == (51_380_224, 0)
    assert full.output_shapes() == pooled.output_shapes() == {"out": (1024,)}


# --- residual blocks (EECS 498, lecture 8) ------------------------------------------------------

BASIC = "net N(C): [C, H, W] = (a: conv(C, 3) -> relu -> b: conv(C, 3) + id) -> relu\n"
BOTTLENECK = """
net N(C): [4*C, H, W] =
  (a: conv(C, 1) -> relu -> b: conv(C, 3) -> relu -> c: conv(4*C, 1) + id) -> relu
"""
# G parallel bottlenecks of width c: a block of ResNeXt.
PARALLEL = """
net N(C, G, c): [4*C, H, W] =
  ( add(for i in 1..G do path{i}: (conv(c, 1) -> relu -> conv(c, 3) -> relu -> conv(4*C, 1)))
  + id) -> relu
"""


@pytest.mark.parametrize(("c", "size"), [(64, 56), (128, 28), (512, 7)])
def test_a_bottleneck_is_cheaper_and_four_times_as_wide(c: int, size: int) -> None:
    at = {"H": size, "W": size}
    assert cnndsl.loads(BASIC).net(C=c).macs(**at) == 18 * size**2 * c**2
    assert cnndsl.loads(BOTTLENECK).net(C=c).macs(**at) == 17 * size**2 * c**2


@pytest.mark.parametrize(("groups", "width"), [(4, 24), (32, 4)])
def test_parallel_paths_as_costly_as_one_bottleneck(groups: int, width: int) -> None:
    """9Gc^2 + 8GCc - 17C^2 = 0 with C = 64: no other whole width comes as near."""
    one = cnndsl.loads(BOTTLENECK).net(C=64).macs(H=56, W=56)
    program = cnndsl.loads(PARALLEL)
    paths = {c: program.net(C=64, G=groups, c=c).macs(H=56, W=56) for c in range(1, 33)}
    assert min(paths, key=lambda c: abs(paths[c] - one)) == width
    assert paths[width] == 56**2 * groups * (9 * width**2 + 8 * 64 * width)


# --- AlexNet, layer by layer (EECS 498, lecture 8) ----------------------------------------------

# Output, KB, thousands of parameters, millions of multiplications, all rounded as on the slide.
TABLE = [
    ("conv", (64, 56, 56), 784, 23, 73),
    ("maxpool", (64, 27, 27), 182, 0, 0),
    ("conv", (192, 27, 27), 547, 307, 224),
    ("maxpool", (192, 13, 13), 127, 0, 0),
    ("conv", (384, 13, 13), 254, 664, 112),
    ("conv", (256, 13, 13), 169, 885, 150),
    ("conv", (256, 13, 13), 169, 590, 100),
    ("maxpool", (256, 6, 6), 36, 0, 0),
    ("flatten", (9216,), 36, 0, 0),
    ("linear", (4096,), 16, 37_753, 38),
    ("linear", (4096,), 16, 16_781, 17),
    ("linear", (1000,), 4, 4_097, 4),
]


def _alexnet() -> list[Layer]:
    kinds = {row[0] for row in TABLE}
    return [r for r in _layers(example("alexnet").net(), H=227, W=227) if r.op in kinds]


def test_alexnet_s_table() -> None:
    rows = [
        (r.op, r.shape, _half_up(r.kilobytes), _half_up(r.params / K), _half_up(r.macs / M))
        for r in _alexnet()
    ]
    assert rows == TABLE
    first = _alexnet()[0]
    assert (first.kilobytes, first.params, first.macs) == (784, 23_296, 72_855_552)
    assert example("alexnet").net().params == 61_100_840


def _half_up(value: float) -> int:
    """253.5 is 254 on the slide; Python's ``round`` goes to the even neighbour."""
    return math.floor(value + 0.5)


def test_where_the_cost_lies() -> None:
    """Memory in the early convolutions, parameters in the linear layers, work in convolutions."""
    rows = _alexnet()
    memory = sum(r.kilobytes for r in rows)
    assert sum(r.kilobytes for r in rows[:4]) / memory > 0.65
    assert sum(r.params for r in rows if r.op == "linear") / sum(r.params for r in rows) > 0.95
    assert sum(r.macs for r in rows if r.op == "conv") / sum(r.macs for r in rows) > 0.9


@pytest.mark.parametrize(
    ("text", "size", "formula"),
    [
        ("conv(64, 11, stride=4, padding=2)", 227, "floor((227 + 2*2 - 1*(11-1) - 1)/4) + 1 = 56"),
        ("conv(64, 11, stride=4, padding=2)", 224, "floor((224 + 2*2 - 1*(11-1) - 1)/4) + 1 = 55"),
        ("conv(96, 11, stride=4, padding=0)", 227, "floor((227 + 2*0 - 1*(11-1) - 1)/4) + 1 = 55"),
        ("maxpool(3, stride=2)", 55, "floor((55 + 2*0 - 1*(3-1) - 1)/2) + 1 = 27"),
        ("conv(6, 5, padding=0)", 32, "(32 + 2*0 - 1*(5-1) - 1)/1 + 1 = 28"),
    ],
)
def test_the_output_size_with_its_numbers(text: str, size: int, formula: str) -> None:
    """(W - F + 2P)/S + 1."""
    graph = _net(f"net N: [3, {size}, {size}] = {text}\n").graph
    (node,) = [n for n in graph if n.inputs]
    x: Any = graph.types_into(node)[0]
    assert node.op.formula(x) == formula


# --- networks side by side ------------------------------------------------------------------------


def test_vgg_16_holds_about_100_megabytes_per_image() -> None:
    net = example("vgg").net("VGG16")
    held = 1024 * sum(row.kilobytes for row in _layers(net, H=224, W=224))
    assert held / M == pytest.approx(100, rel=0.2)
    assert (net.params, round(net.macs(H=224, W=224) / 1e9, 2)) == (138_357_544, 15.47)


def test_fewer_parameters_than_alexnet() -> None:
    alexnet = example("alexnet_original").net().params
    assert round(alexnet / example("squeezenet").net("SqueezeNet1_0").params, -1) == 50
    googlenet = example("googlenet").net().inference_params  # 5 M without norms and classifier
    assert 9 < alexnet / googlenet < 12
