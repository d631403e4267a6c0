"""Tables of layers: figures of the lectures, and sums that hold."""

from __future__ import annotations

import pytest

import cnndsl
from cnndsl.graph import cost
from cnndsl.graph.model import Graph
from cnndsl.views.facts import facts_line, stride
from cnndsl.views.layers import Layers
from cnndsl.views.receptive import receptive_fields, stride_of
from cnndsl.views.summary import Summary
from cnndsl.views.units import memory, scaled
from tests.cli.runner import ROOT

FILES = sorted((ROOT / "examples").glob("*.cnn"))


def graph_of(file: str, net: str, **at: int) -> Graph:
    return cnndsl.load(ROOT / "examples" / f"{file}.cnn").net(net, at=at).graph


def graph(text: str) -> Graph:
    return cnndsl.loads(text, limits=cnndsl.Limits(path=64)).net().graph


def rows(graph: Graph, style: str) -> dict[str, tuple[str, ...]]:
    table = Summary(graph, graph.facts.reference()).table(style, flat=True)
    return {line.cells[0].split(" ")[0]: line.cells for line in table.lines}


def test_eecs498_alexnet() -> None:
    """EECS 498-007 lecture 8, AlexNet: in, filters, window, out, KB, parameters and MAC."""
    table = rows(graph_of("alexnet", "AlexNet", H=227, W=227), "eecs498")
    expected = {
        "features.0": ("3", "227", "64", "11", "4", "2", "64", "56", "784", "23", "73"),
        "features.2": ("64", "56", "", "3", "2", "0", "64", "27", "182", "0", "0"),
        "features.3": ("64", "27", "192", "5", "1", "2", "192", "27", "547", "307", "224"),
        "features.5": ("192", "27", "", "3", "2", "0", "192", "13", "127", "0", "0"),
        "features.6": ("192", "13", "384", "3", "1", "1", "384", "13", "254", "664", "112"),
        "features.12": ("256", "13", "", "3", "2", "0", "256", "6", "36", "0", "0"),
        "classifier.4": ("4096", "", "", "", "", "", "4096", "", "16", "16,781", "17"),
    }
    for name, cells in expected.items():
        assert table[name][1:] == cells


def test_cs231n_vgg16() -> None:
    """CS231n lecture 9, VGG-16 (there without biases)."""
    table = rows(graph_of("vgg", "VGG16"), "cs231n")
    assert table["features.0"][2:4] == ("[224x224x64]", "224*224*64 = 3,211,264")
    assert table["features.0"][4] == "64*3*3*3 + 64 = 1,792"
    assert table["features.28"][2:] == (
        "[14x14x512]", "14*14*512 = 100,352", "512*512*3*3 + 512 = 2,359,808",
    )  # fmt: skip
    assert table["classifier.0"][4] == "4096*25088 + 4096 = 102,764,544"


def test_vgg16_totals() -> None:
    """15.47 GMAC, about 100 MB of float32 activations for each image."""
    graph = graph_of("vgg", "VGG16")
    totals = Summary(graph, {"H": 224, "W": 224}).to_json()["totals"]
    assert totals["parameters"] == 138_357_544
    assert scaled(totals["macs"], "MAC") == "15.47 GMAC"
    assert 100 < totals["activation_bytes"] / 1024**2 < 115


def test_inception_of_the_lecture() -> None:
    """28x28x256: 854 M multiplications; 5x5 on 192 channels 120,422,400, through 16 12,443,648."""
    naive = graph(
        "net A: [256, 28, 28] = a: conv(128, 1) | b: conv(192, 3) | c: conv(96, 5)"
        " | maxpool(3, stride=1, padding=1)\n"
    )
    assert round(cost.macs(naive, {}) / 1e6) == 854
    assert facts_line(naive).count("output [672, 28, 28]") == 1
    assert cost.macs(graph("net A: [192, 28, 28] = conv(32, 5)\n"), {}) == 120_422_400
    assert cost.macs(graph("net A: [192, 28, 28] = conv(16, 1) -> conv(32, 5)\n"), {}) == 12_443_648


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_what_is_shown_adds_up(file: object) -> None:
    """At every depth the top rows together hold what the layers hold; strides agree."""
    program = cnndsl.load(str(file))
    for name in program.nets:
        graph = program.net(name).graph
        sizes = graph.facts.reference()
        layers = Layers(graph, sizes)
        flat = layers.flat()
        for depth in (1, None):
            top = [row for row in layers.folded(depth) if row.depth == 0]
            for what in ("parameters", "macs", "memory"):
                shown = sum(getattr(row, what) for row in top)
                assert shown == sum(getattr(row, what) for row in flat)
        assert sum(row.parameters for row in flat) == cost.parameters(graph)
        running = cost.inference_nodes(graph)
        assert stride(graph, running) == stride_of(receptive_fields(graph), running)


def folded(text: str, depth: int | None = None) -> list[tuple[str, int, int]]:
    found = Layers(graph(text), {"H": 8, "W": 8}).folded(depth)
    return [(row.name, row.depth, row.repeat) for row in found]


UNIT = "block Unit(c) = conv: conv(c, 3) -> relu\n"


def test_only_equal_neighbours_fold() -> None:
    text = UNIT + "net A: [3, H, W] = Unit(8)^3 -> relu -> Unit(8) -> Unit(4)\n"
    names = [row for row in folded(text, 1)]
    assert names == [
        ("in", 0, 1), ("0", 0, 1), ("1..2", 0, 2), ("3", 0, 1), ("4", 0, 1), ("5", 0, 1),
    ]  # fmt: skip


def test_folds_inside_folds() -> None:
    text = UNIT + "def Two = Unit(3) -> Unit(3)\nblock S = Two\nnet A: [3, H, W] = S -> S\n"
    assert folded(text) == [
        ("in", 0, 1), ("0..1", 0, 2), ("0..1", 1, 2), ("conv", 2, 1), ("1", 2, 1),
    ]  # fmt: skip


def test_shared_weights_are_counted_once() -> None:
    rows = Layers(graph("net A: [3, H, W] = a: conv(3, 3) -> again a\n"), {"H": 4, "W": 4}).flat()
    assert [(row.operator, row.parameters, row.macs) for row in rows[1:]] == [
        ("conv(3, 3, bias=yes)", 84, 1296), ("again", 0, 1296),
    ]  # fmt: skip


def test_very_deep_names_are_listed_flat() -> None:
    labels = "".join(f"l{i}: (" for i in range(50))
    text = f"net A: [3, H, W] = {labels}relu{')' * 50}\n"
    name, depth, _ = folded(text)[-1]
    assert depth == 32
    assert name == ".".join(f"l{i}" for i in range(32, 50)) + ".0"


def test_units() -> None:
    assert [scaled(n, "MAC") for n in (0, 999, 1000, 4_089_184_256, 15_470_264_320)] == [
        "0 MAC", "999 MAC", "1.000 KMAC", "4.089 GMAC", "15.47 GMAC",
    ]  # fmt: skip
    assert [memory(n) for n in (40, 64 * 56 * 56 * 4, 3 * 1024**2)] == [
        "40 B", "784.0 KB", "3.0 MB",
    ]  # fmt: skip
