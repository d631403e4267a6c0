"""Tiles of 4x1 with rows apart: the same numbers, put together only for who needs a whole map."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import error
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job
from cnndsl.engines.choose import ENGINES
from cnndsl.engines.derived import derived
from cnndsl.engines.openvino.engine import OpenVinoEngine
from cnndsl.graph.cost import concrete, shape
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA
from cnndsl.passes.winograd import F4X1, F4X4, Tile, Winograd
from tests.networks import random_network
from tests.passes.drawn import Drawn

pytest.importorskip("openvino")
openvino_rows = pytest.importorskip("cnndsl.engines.openvino.rows", exc_type=ImportError)

ENGINE = ENGINES["openvino-winograd"]


def tiled(text: str, batch: int = 1, tile: Tile = F4X1) -> tuple[Job, Flow]:
    """All convolutions by tiles, and the network as it is written."""
    net = cnndsl.loads(text).net()
    torch.manual_seed(0)
    parameters = net.compile(optimize=0).state_dict()
    flow = Flow(net.graph)
    written = flow.copy()
    Winograd((tile,), always=True).run(flow, Trace())
    shapes = tuple((batch, *shape(step.type)) for step in flow.inputs)
    return Job(flow, parameters, shapes), written


def operators(job: Job) -> Counter[str]:
    """Of the model; joined rows are ``Concat/2``."""
    from cnndsl.engines.onnx.graph import attributes

    model = model_of(job)
    openvino_rows.rows_apart(model)
    axes = (attributes(node).get("axis") for node in model.graph.node)
    kinds = [
        f"Concat/{axis}" if node.op_type == "Concat" else node.op_type
        for node, axis in zip(model.graph.node, axes, strict=True)
    ]
    return Counter(kinds)


def assert_equal(job: Job, written: Flow, *inputs: torch.Tensor) -> None:
    draw = torch.Generator().manual_seed(1)
    given = inputs or tuple(torch.randn(size, generator=draw) for size in job.shapes)
    expected = Plain(written, job.parameters, torch.float64)(*(x.double() for x in given))
    for found, true in zip(ENGINE.build(job)(*given), expected, strict=True):
        torch.testing.assert_close(found.double(), true, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("size", ["4, 9", "5, 5", "6, 6", "7, 3", "13, 13", "16, 14", "40, 3"])
@pytest.mark.parametrize(
    "conv",
    [
        "conv(16, 3)",
        "conv(5, 3, padding=(0, 2, 1, 0), bias=no)",
        "conv(5, 3, padding=(6, 0, 2, 0))",
        "conv(4, 3, padding=(3, 7, 0, 1))",
    ],
)
@pytest.mark.parametrize("batch", [1, 2])
def test_sizes_and_paddings(conv: str, size: str, batch: int) -> None:
    job, written = tiled(f"net N: [8, {size}] = {conv} -> relu", batch)
    found = operators(job)
    assert found["ConvTranspose"] == found["Transpose"] == 0
    assert found["Conv"] == 6
    assert_equal(job, written)


@pytest.mark.parametrize("size", ["1, 6", "2, 6", "3, 6"])
def test_low_maps_stay_as_they_are(size: str) -> None:
    job, written = tiled(f"net N: [8, {size}] = conv(4, 3)")
    assert operators(job)["ConvTranspose"] == 1
    assert_equal(job, written)


BLOCK = "(conv(8, 3) -> relu -> conv(8, 3) + id) -> relu"


@pytest.mark.parametrize(
    ("body", "slices", "joined"),
    [
        ("conv(8, 3) -> relu -> conv(8, 3)", 4, 1),
        ("conv(8, 3) -> relu6 -> conv(8, 3) -> sigmoid -> conv(4, 3) -> hardswish", 4, 1),
        (f"conv(8, 1) -> {BLOCK} -> {BLOCK} -> gap", 4, 1),
        ("conv(8, 3) -> (id + conv(8, 1)) -> conv(8, 3)", 8, 2),  # a branch needs the whole
        ("conv(8, 3) -> (relu | conv(4, 3) | maxpool(3, 1, padding=1)) -> conv(8, 1)", 4, 3),
        ("(conv(8, 3) + conv(8, 1)) -> relu -> maxpool(2)", 4, 1),  # nobody wants rows
        ("conv(8, 3) -> (id * (gap -> sigmoid)) -> conv(8, 3)", 8, 2),  # a gate is no map
        ("conv(8, 3) -> leaky_relu(0.2) -> conv(8, 5)", 4, 1),
        ("conv(8, 3) -> relu -> conv(8, 3, padding=0)", 6, 1),  # of 12 rows two are cut off
        ("conv(8, 3) -> crop(1) -> conv(8, 3)", 10, 2),  # and at the top
        ("conv(8, 3) -> crop((1, 1, 0, 0)) -> conv(8, 3)", 10, 2),
        ("conv(8, 3) -> crop((0, 0, 0, 1)) -> conv(8, 3)", 8, 2),
        ("conv(8, 3) -> crop((0, 9, 0, 0)) -> relu", 4, 1),  # no part would have a row
        ("conv(8, 3) + conv(8, 3) -> relu", 4, 1),  # rows are taken apart and moved once for both
        ("conv(8, 3) -> crop((0, 3, 0, 0)) -> conv(8, 3)", 9, 1),
        ("conv(8, 3) -> emit early: relu -> conv(8, 3) -> tanh", 4, 2),
    ],
)
def test_rows_stay_apart(body: str, slices: int, joined: int) -> None:
    """Slices take rows apart, or those off that lie below the map."""
    job, written = tiled(f"net N: [8, 12, 10] = {body}", 2)
    found = operators(job)
    own = found["Slice"] - body.count("crop")
    if body.startswith("conv(8, 3) + conv"):
        assert found["Pad"] == 2
    assert (own, found["Concat/2"], found["ConvTranspose"]) == (slices, joined, 0)
    assert_equal(job, written)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed: int) -> None:
    """Rewritten and by tiles wherever these fit, by onnxruntime: before and after."""
    onnxruntime = pytest.importorskip("onnxruntime")
    net = cnndsl.loads(random_network(seed)).net()
    flow = Flow(net.graph)
    sizes = net.facts.reference(19)
    drawn = Drawn(flow, sizes, seed)
    ALGEBRA.run(flow)
    flow = flow.at(sizes)
    Winograd((F4X1,), always=True).run(flow, Trace())
    shapes = tuple((2, *shape(concrete(step.type, sizes))) for step in flow.inputs)
    job = Job(flow, {key: value.float() for key, value in drawn.parameters.items()}, shapes)
    draw = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(size, generator=draw).numpy() for size in shapes]
    results = []
    for rewrite in (lambda model: None, openvino_rows.rows_apart):
        model = model_of(job)
        rewrite(model)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = [value.name for value in session.get_inputs()]
        results.append(session.run(None, dict(zip(names, inputs, strict=True))))
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(torch.tensor(after), torch.tensor(before), rtol=1e-4, atol=1e-4)


def model_of(job: Job) -> Any:
    from cnndsl.engines.onnx.model import onnx_model

    return onnx_model(job.flow, derived(job), job.sizes, job.shapes[0][0])


def test_a_weight_that_differs_by_row_takes_the_whole_map() -> None:
    from onnx import numpy_helper

    job, _ = tiled("net N: [8, 12, 10] = conv(8, 3) -> scale -> conv(8, 3)")
    for size, joined in (((8, 1, 1), 1), ((8, 12, 1), 2)):
        model = model_of(job)
        (scale,) = (node for node in model.graph.node if node.op_type == "Mul")
        (held,) = (t for t in model.graph.initializer if t.name == scale.input[1])
        held.CopyFrom(numpy_helper.from_array(torch.ones(size).numpy(), held.name))
        openvino_rows.rows_apart(model)
        splits = [node for node in model.graph.node if node.op_type == "Split"]
        assert len(splits) == 4 * joined


POINT = "conv(12, (6, 1), stride=(4, 1), padding=(1, 0), groups=12, bias=no)"
POINTS, MORE = (" | ".join(f"{name}{i}: {POINT}" for i in range(6)) for name in "pq")
TAIL = (
    "product: conv(24, (1, 3), padding=(0, 1), groups=6) -> channel_shuffle(6) -> "
    "end: conv_transpose(4, (4, 1), stride=(4, 1), groups=4, bias=no)"
)
BY_HAND = f"({POINTS}) -> {TAIL}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("stride=(4, 1), padding=(1, 0)", "stride=(2, 1), padding=(1, 0)"),
        ("stride=(4, 1), padding=(1, 0)", "stride=(4, 1), padding=(1, 0), dilation=(2, 1)"),
        ("padding=(1, 0), groups=12, bias=no", "padding=(1, 0), groups=12, bias=yes"),
        ("padding=(1, 0), groups=12", "padding=(1, 0), groups=6"),
        (f"p0: {POINT}", f"p0: {POINT.replace('(1, 0)', '(2, 0, 0, 0)')}"),
        (f"p0: {POINT}", f"p0: relu -> q: {POINT}"),
        ("(p0: ", f"({MORE} | p0: "),  # two for each group
        ("conv(12, (6, 1)", "conv(24, (6, 1)"),
        ("stride=(4, 1), padding=(1, 0)", "stride=(4, 1), padding=(1, 1)"),
        ("groups=6) ->", "groups=3) ->"),
        ("conv(24, (1, 3), padding=(0, 1), groups=6)", "linear(24)"),
        ("channel_shuffle(6)", "channel_shuffle(4)"),
        ("-> channel_shuffle(6) ", ""),
        ("groups=4, bias=no", "groups=4, bias=yes"),
        ("stride=(4, 1), groups=4", "stride=(4, 1), groups=4, padding=(1, 0)"),
    ],
)
@pytest.mark.parametrize("alike", [True, False])
def test_what_is_no_tile(old: str, new: str, alike: bool) -> None:
    """What is nearly one, or one of which the channels differ, is left to the engine."""
    assert old in BY_HAND
    body = BY_HAND.replace(old, new) if old else BY_HAND
    net = cnndsl.loads(f"net N: [12, 9, 6] = {body}").net()
    torch.manual_seed(0)
    parameters = net.compile(optimize=0).state_dict()
    for name, weight in parameters.items():
        if alike and name.endswith("weight") and "product" not in name:
            each = weight[:6] if name == "end.weight" else weight[:1]
            weight.copy_(each.repeat(len(weight) // len(each), 1, 1, 1))
    flow = Flow(net.graph)
    job = Job(flow, parameters, ((2, 12, 9, 6),))
    assert (operators(job)["Slice"] > 0) == (alike and not old)
    assert_equal(job, flow)


@pytest.mark.parametrize("zero", ["p0.weight", "end.weight"])
def test_sums_of_nothing(zero: str) -> None:
    """Of tiles by hand: a point or a row of zeros."""
    net = cnndsl.loads(f"net N: [12, 9, 6] = {BY_HAND}").net()
    parameters = net.compile(optimize=0).state_dict()
    for name, weight in parameters.items():
        if name.endswith("weight") and "product" not in name:
            weight.fill_(0.0 if name == zero else 0.5)
    flow = Flow(net.graph)
    job = Job(flow, parameters, ((1, 12, 9, 6),))
    assert operators(job)["ConvTranspose"] == 1
    assert_equal(job, flow)


def test_a_tile_by_hand_above_the_map() -> None:
    """All that its first rows read are zeros."""
    body = BY_HAND.replace("padding=(1, 0)", "padding=(5, 0, 0, 0)")
    net = cnndsl.loads(f"net N: [12, 4, 6] = {body}").net()
    parameters = net.compile(optimize=0).state_dict()
    for name, weight in parameters.items():
        if name.endswith("weight") and "product" not in name:
            weight.fill_(0.5)
    flow = Flow(net.graph)
    job = Job(flow, parameters, ((1, 12, 4, 6),))
    assert operators(job)["ConvTranspose"] == 1
    assert_equal(job, flow)


def test_a_module_of_that_name() -> None:
    """Its values are not taken for ours."""
    windows = "rows_apart: adaptive_avgpool((4, 3)) -> gap"
    body = f"(conv(8, 3) -> gap) | ({windows}) | (conv(8, 3) -> gap)"
    job, written = tiled(f"net N: [8, 12, 10] = {body}")
    model = model_of(job)
    openvino_rows.rows_apart(model)
    names = [name for node in model.graph.node for name in node.output]
    assert len(names) == len(set(names))
    assert_equal(job, written)


def test_in_bfloat16() -> None:
    """Of noise, whose sums are rounded three times, not once."""
    job, written = tiled("net N: [64, 24, 24] = (conv(64, 3) -> relu)^3")
    x = torch.randn(1, 64, 24, 24, generator=torch.Generator().manual_seed(1)).bfloat16()
    exact = Plain(written, job.parameters, torch.float64)(x.double())[0]
    half = replace(job, dtype=torch.bfloat16)
    found = [run(x)[0] for run in (ENGINE.build(half), Plain(written, job.parameters, half.dtype))]
    ours, usual = (error(y, exact) for y in found)
    assert 0 < ours < 4 * usual


def test_only_ours_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer runs the network as it is written."""
    seen: list[Any] = []
    monkeypatch.setattr(openvino_rows, "rows_apart", seen.append)
    job, _ = tiled("net N: [8, 8, 8] = conv(8, 3)")
    OpenVinoEngine(as_written=True).build(job)
    assert not seen
    ENGINE.build(job)
    assert seen


def test_other_tiles_stay() -> None:
    job, written = tiled("net N: [8, 8, 8] = conv(8, 3)", tile=F4X4)
    assert operators(job)["ConvTranspose"] == 1
    assert_equal(job, written)
