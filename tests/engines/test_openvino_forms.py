"""Forms for OpenVINO give the same numbers, and are made only where they pay."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines import openvino_forms
from cnndsl.engines.base import Job
from cnndsl.passes.flow import Flow

pytest.importorskip("openvino")
from cnndsl.engines.openvino_engine import OpenVinoEngine

LINEAR = "net N: [4, 3, 3] = flatten -> linear(40{bias}) -> relu -> linear(50) -> linear(10)"
HALF = torch.bfloat16


def operators(job: Job, has_half: bool = True) -> Counter[str]:
    model = OpenVinoEngine()._model(job, has_half)
    return Counter(node.op_type for node in model.graph.node)


def job_for(text: str, batch: int = 1, dtype: torch.dtype = HALF) -> tuple[Job, Any]:
    net = cnndsl.loads(text).net()
    module = net.compile(optimize=0).eval()
    return Job(Flow(net.graph), module.state_dict(), ((batch, 4, 3, 3),), dtype), module


@pytest.mark.parametrize("bias", ["", ", bias=no"])
def test_large_products_are_convolutions(bias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_forms, "_MANY", 36 * 40 + 1)
    job, module = job_for(LINEAR.format(bias=bias))
    assert operators(job)["Conv"] == 1  # the second
    monkeypatch.setattr(openvino_forms, "_MANY", 10)
    assert operators(job)["Conv"] == 2 and operators(job)["Gemm"] == 1  # the last rounds no result
    x = torch.randn(1, 4, 3, 3)
    with torch.no_grad():
        (found,) = OpenVinoEngine().build(job)(x)
        torch.testing.assert_close(found, module(x), rtol=0.03, atol=0.03)


def test_where_they_do_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several samples, in float32, and on a processor that computes bfloat16 in it."""
    text = LINEAR.format(bias="")
    assert not operators(job_for(text)[0])["Conv"]  # small ones
    monkeypatch.setattr(openvino_forms, "_MANY", 10)
    assert operators(job_for(text)[0])["Conv"]
    assert not operators(job_for(text)[0], has_half=False)["Conv"]
    assert not operators(job_for(text, batch=2)[0])["Conv"]
    assert not operators(job_for(text, dtype=torch.float32)[0])["Conv"]
