"""Winograd's tiles in onnxruntime: the same numbers, as exact, and only where they pay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import agrees, error, samples
from cnndsl.engines.base import Job
from cnndsl.engines.choose import ENGINES
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.graph.cost import shape
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.toom_cook import line
from cnndsl.passes.winograd import F4X1, F4X4, Tile, Winograd
from cnndsl.weights.evaluate import Evaluator

LARGE = "net N: [3, H, W] = conv(256, 3, stride=4) -> relu -> conv(256, 3) -> bn -> relu -> gap"

ENGINE = pytest.mark.parametrize("engine", ["onnxruntime-winograd", "openvino-winograd"])


@pytest.mark.parametrize("tile", [F4X4, F4X1], ids=lambda tile: tile.size)
@pytest.mark.parametrize("size", ["1, 1", "4, 9", "13, 13", "16, 14", "40, 3"])
@pytest.mark.parametrize("conv", ["conv(16, 3)", "conv(5, 3, padding=(0, 2, 1, 0), bias=no)"])
def test_tiles(conv: str, size: str, tile: Tile) -> None:
    """Any size and padding; a session takes several samples."""
    net = cnndsl.loads(f"net N: [8, {size}] = pad((1, 1, 1, 1)) -> {conv} -> relu").net()
    plain = net.compile(optimize=0)
    flow = Flow(net.graph)
    shape = (2, 8, *map(int, size.split(", ")))
    job = Job(flow, plain.state_dict(), (shape,))
    tiled = flow.copy()
    Winograd((tile,), always=True).run(tiled, trace := Trace())
    assert trace.fired
    runner = OrtEngine().build(Job(tiled, job.parameters, job.shapes))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    expected = plain.double()(x.double())
    torch.testing.assert_close(runner(x)[0].double(), expected, rtol=1e-4, atol=1e-4)


@ENGINE
def test_a_module_by_tiles(engine: str) -> None:
    net = cnndsl.loads(LARGE).net()
    module = net.compile(engine=engine).eval()
    plain = net.compile(optimize=0).eval()
    plain.load_state_dict(module.state_dict())
    for size in (112, 120):  # a size is compiled for when it comes
        x = torch.randn(1, 3, size, size)
        with torch.inference_mode():
            found, expected = module(x), plain.double()(x.double())
        assert module._live.refused == ""
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@ENGINE
def test_a_network_that_does_not_gain_runs_plainly(engine: str) -> None:
    module = cnndsl.loads(LARGE).net().compile(engine=engine).eval()
    with torch.inference_mode():
        module(torch.randn(1, 3, 16, 16))
    told = "no convolution of this network and size gains from Winograd's tiles of 4x1"
    assert module._live.refused == told


def test_auto_tries_them_where_they_pay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cnndsl.engines import choose

    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    tried: list[list[str]] = []
    race = choose._race

    def noted(job: Job, recipe: Any, choices: list[Any], standard: Any) -> Any:
        tried.append([choice.engine.name for choice in choices])
        return race(job, recipe, choices, standard)

    monkeypatch.setattr(choose, "_race", noted)
    for size in (112, 16):
        module = cnndsl.loads(LARGE).net().compile(engine="auto").eval()
        with torch.inference_mode():
            module(torch.randn(1, 3, size, size))
    for engine in ("onnxruntime-winograd", "openvino-winograd"):
        assert [engine in names for names in tried] == [True, False]


def test_they_are_judged_by_their_error() -> None:
    """What is less exact than PyTorch by more than the slack is refused, tiles or not."""
    net = cnndsl.loads("net N: [64, 24, 24] = conv(64, 3, bias=no)").net()
    flow = Flow(net.graph)
    tiled = flow.copy()
    Winograd((F4X4,), always=True).run(tiled, Trace())
    shapes = ((1, 64, 24, 24),)
    weight = torch.randn(64, 64, 3, 3, generator=torch.Generator().manual_seed(0))
    job = Job(flow, {"0.weight": weight}, shapes)
    (inputs, *_) = samples(shapes, torch.float32)
    assert agrees(ENGINES["onnxruntime"].build(job), job, inputs)
    coarse = OrtEngine().build(Job(tiled, job.parameters, shapes))
    assert not agrees(coarse, job, inputs)


CUSTOMARY = line(0, 1, -1, 2, -2)


@pytest.mark.parametrize(
    ("tile", "customary", "ratio"),
    [
        (F4X4, F4X4._replace(rows=CUSTOMARY, columns=CUSTOMARY), 1.7),
        (F4X1, F4X1._replace(rows=CUSTOMARY), 1.3),
    ],
)
def test_points_keep_sums_exact(tile: Tile, customary: Tile, ratio: float) -> None:
    """By the customary points (0, 1, -1, 2, -2) they are farther from float64."""
    text = "net N: [128, 24, 24] = conv(64, 3, bias=no)"
    assert error_by(text, customary) > ratio * error_by(text, tile)


def test_lines_are_more_exact_than_squares() -> None:
    """On noise, at most twice as far off as direct sums."""
    text = "net N: [64, 16, 16] = (conv(64, 3) -> relu)^6"
    direct, lines, squares = error_by(text), error_by(text, F4X1), error_by(text, F4X4)
    assert lines < 2 * direct
    assert squares > 1.3 * lines


def error_by(text: str, *tiles: Tile) -> float:
    """Of onnxruntime on noise, by these tiles or directly."""
    net = cnndsl.loads(text).net()
    plain = net.compile(optimize=0)
    draw = torch.Generator().manual_seed(0)
    for weight in plain.parameters():
        torch.nn.init.normal_(weight, std=1 / 17, generator=draw)
    flow = Flow(net.graph)
    x = torch.randn(1, *shape(flow.inputs[0].type), generator=draw)
    parameters = {key: value.clone() for key, value in plain.state_dict().items()}
    expected = plain.double()(x.double()).detach()
    if tiles:
        Winograd(tiles, always=True).run(flow, Trace())
    return error(OrtEngine().build(Job(flow, parameters, (tuple(x.shape),)))(x)[0], expected)


def test_a_bias_counts_once_in_each_output() -> None:
    """It goes through the transforms, as what a map of ones becomes."""
    for points in ((0, 5 / 8, -5 / 8, 3 / 2, -3 / 2), (0, 1, -1), (3 / 8, -3 / 8, 5 / 4, -5 / 4)):
        found = line(*points)
        value = Evaluator({})
        ones = value(found.output_transform) @ value(found.ones)[0]
        torch.testing.assert_close(ones, torch.ones(found.outputs, dtype=torch.float64))


def test_squares_are_an_engine_where_they_gain() -> None:
    """Tiles of 4x1 alone are what 14x14 pixels gain from."""
    for size, gains in (("28, 28", True), ("14, 14", False)):
        net = cnndsl.loads(f"net N: [512, {size}] = conv(512, 3)").net()
        job = Job(Flow(net.graph), {}, ((1, 512, *map(int, size.split(", "))),))
        assert ENGINES["onnxruntime-winograd"].refuses(job) is None
        assert (ENGINES["onnxruntime-winograd-squares"].refuses(job) is None) == gains
