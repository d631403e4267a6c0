"""The end of tiles of rows as one product: the same numbers, where every channel is alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.engines.onnx_model import onnx_model
from cnndsl.engines.ort_engine import OrtEngine
from cnndsl.engines.ort_tiles import rows_by_one_product
from cnndsl.passes.base import Trace
from cnndsl.passes.flow import Flow
from cnndsl.passes.winograd import ROWS, SQUARES, Tile, Winograd

pytest.importorskip("onnxruntime")


def rewritten(job: Job) -> list[str]:
    model = onnx_model(job.flow, derived(job), job.sizes, job.shapes[0][0])
    rows_by_one_product(model)
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("size", "tile", "found"),
    [
        ("13, 13", ROWS, "MatMul"),
        ("32, 5", ROWS, "MatMul"),
        ("33, 5", ROWS, "ConvTranspose"),  # of 36 rows each would be a sum over too many
        ("13, 13", SQUARES, "ConvTranspose"),
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


@pytest.mark.parametrize(
    "body",
    [
        "conv_transpose(4, (2, 1), stride=(2, 1), groups=4, bias=no)",  # of several matrices
        "conv_transpose(4, (2, 1), stride=(2, 1), groups=4)",
        "conv_transpose(4, (2, 1), stride=(2, 1), bias=no)",
        "conv_transpose(4, (3, 1), stride=(2, 1), groups=4, bias=no)",
        "conv_transpose(4, (2, 2), stride=(2, 2), groups=4, bias=no)",
        "conv_transpose(4, (2, 1), stride=(2, 1), groups=4, bias=no, padding=(1, 0))",
        "conv_transpose(4, (2, 1), stride=(2, 1), groups=4, bias=no, output_padding=(1, 0))",
    ],
)
@pytest.mark.parametrize("alike", [False, True])
def test_others(body: str, alike: bool) -> None:
    """What is no end of tiles stays, or is at least the same."""
    net = cnndsl.loads(f"net N: [8, 5, 6] = {body}").net()
    plain: Any = net.compile(optimize=0).eval()
    if alike:
        for parameter in plain.parameters():
            parameter.data = parameter.data[:1].expand_as(parameter).clone()
    job = Job(Flow(net.graph), plain.state_dict(), ((2, 8, 5, 6),))
    kept = "ConvTranspose" in rewritten(job)
    assert kept or (alike and body.endswith("groups=4, bias=no)"))
    x = torch.randn(2, 8, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = plain.double()(x.double())
    result = OrtEngine().build(job)(x)[0]
    torch.testing.assert_close(result.double(), expected, rtol=1e-4, atol=1e-4)
