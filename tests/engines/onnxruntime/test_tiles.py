"""The output transform of tiles of 4x1 as one product: the same, where every channel is alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.engines.onnx.model import onnx_model
from cnndsl.engines.onnxruntime import tiles as ort_tiles
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.engines.onnxruntime.tiles import rows_by_one_product
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.winograd import F4X1, F4X4, Tile, Winograd

pytest.importorskip("onnxruntime")


def rewritten(job: Job) -> list[str]:
    model = onnx_model(job.flow, derived(job), job.sizes, job.shapes[0][0])
    rows_by_one_product(model)
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("size", "tile", "found"),
    [
        ("13, 13", F4X1, "MatMul"),
        ("32, 5", F4X1, "MatMul"),
        ("33, 5", F4X1, "ConvTranspose"),  # of 36 rows each would be a sum over too many
        ("13, 13", F4X4, "ConvTranspose"),
    ],
)
def test_tiles(size: str, tile: Tile, found: str) -> None:
    net = cnndsl.loads(f"net N: [8, {size}] = conv(8, 3) -> relu").net()
    plain = net.compile(optimize=0).eval()
    flow = Flow(net.graph)
    Winograd((tile,), always=True).run(flow, Trace())
    shape = (2, 8, *map(int, size.split(", ")))
    job = Job(flow, plain.state_dict(), (shape,))
    kinds = rewritten(job)
    assert {"MatMul", "ConvTranspose"}.intersection(kinds) == {found}
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = plain.double()(x.double())
    result = OrtEngine().build(job)(x)[0]
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-4)


TILE = "conv_transpose(2, (4, 1), stride=(4, 1), groups=2, bias=no"


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (f"{TILE})", True),
        (f"{TILE}, padding=(1, 0))", False),
        (f"{TILE}, output_padding=(1, 0))", False),
        (f"{TILE}, dilation=(2, 1))", False),
        (TILE.replace("bias=no", "bias=yes") + ")", False),
        (TILE.replace("groups=2", "groups=1") + ")", False),
        (TILE.replace("stride=(4, 1)", "stride=(3, 1)") + ")", False),
        (TILE.replace("stride=(4, 1)", "stride=(4, 2)") + ")", False),
        (TILE.replace("(4, 1)", "(4, 4)") + ")", False),
        (TILE.replace("(4, 1)", "(2, 1)") + ")", False),
    ],
)
@pytest.mark.parametrize("alike", [False, True])
def test_others(body: str, taken: bool, alike: bool) -> None:
    """What is no such transform stays; that of another's is the same."""
    net = cnndsl.loads(f"net N: [12, 5, 6] = {body}").net()
    plain: Any = net.compile(optimize=0).eval()
    if alike:
        weight = plain.state_dict()["0.weight"]
        weight.copy_(weight[:6].repeat(2, 1, 1, 1))
    job = Job(Flow(net.graph), plain.state_dict(), ((2, 12, 5, 6),))
    assert ("MatMul" in rewritten(job)) == (taken and alike)
    x = torch.randn(2, 12, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = plain.double()(x.double())
    result = OrtEngine().build(job)(x)[0]
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-4)


def test_only_ours_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer runs the network as it is written."""
    seen: list[Any] = []
    monkeypatch.setattr(ort_tiles, "rows_by_one_product", seen.append)
    net = cnndsl.loads("net N: [1, 4, 4] = relu").net()
    job = Job(Flow(net.graph), {}, ((1, 1, 4, 4),))
    OrtEngine(as_written=True).build(job)
    assert not seen
    OrtEngine().build(job)
    assert seen
