"""Means in stages: the same numbers, with a smaller error."""

from __future__ import annotations

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import error
from cnndsl.engines.base import Job
from cnndsl.engines.ort_engine import OrtEngine
from cnndsl.passes.flow import Flow

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("size", [(13, 13), (1, 9), (9, 1), (1, 1), (40, 3)])
def test_the_same_mean(size: tuple[int, int]) -> None:
    net = cnndsl.loads(f"net N: [16, {size[0]}, {size[1]}] = relu -> gap").net()
    x = torch.rand(2, 16, *size)
    (found,) = OrtEngine().build(Job(Flow(net.graph), {}, (tuple(x.shape),)))(x)
    torch.testing.assert_close(found, x.mean((2, 3), keepdim=True))


def test_a_smaller_error() -> None:
    net = cnndsl.loads("net N: [64, 56, 56] = conv(64, 1) -> relu -> gap").net()
    job = Job(Flow(net.graph), net.compile(optimize=0).state_dict(), ((1, 64, 56, 56),))
    x = torch.rand(1, 64, 56, 56, generator=torch.Generator().manual_seed(0))
    module = net.compile(optimize=0).double()
    module.load_state_dict(job.parameters)
    with torch.no_grad():
        true = module(x.double())
    ours, written = (
        error(OrtEngine(as_written=form).build(job)(x)[0], true) for form in (False, True)
    )
    assert ours < written / 2
