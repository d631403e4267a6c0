"""Threads at one module: each gets its own answer, and none leaves old numbers behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

import cnndsl
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.engines.torch_engine import TorchEngine

TEXT = "net N: [3, 16, 16] = conv(16, 3) -> relu -> conv(16, 3) -> relu -> conv(4, 3)"


def pair(engine: str, text: str = TEXT) -> tuple[Any, Any]:
    net = cnndsl.loads(text).net()
    fast, plain = net.compile(engine=engine).eval(), net.compile(optimize=0).eval()
    plain.load_state_dict(fast.state_dict())
    return fast, plain


def picture(seed: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def run(module: Any, x: Tensor) -> Tensor:
    found: Tensor = module(x)
    return found


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_each_gets_its_own_answer(engine: str) -> None:
    fast, plain = pair(engine)
    expected = [run(plain, picture(seed)) for seed in range(4)]

    def work(seed: int) -> None:
        for _ in range(40):
            found = run(fast, picture(seed))
            torch.testing.assert_close(found, expected[seed], rtol=1e-4, atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert fast._live.refused == ""


def test_an_engine_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built, begun, go = [], threading.Event(), threading.Event()
    build = TorchEngine.build

    def slow(self: Any, job: Any) -> Any:
        built.append(1)
        begun.set()
        go.wait(0.1)
        return build(self, job)

    monkeypatch.setattr(TorchEngine, "build", slow)
    fast, _ = pair("torch")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, fast, picture(0))
        assert begun.wait(10)
        second = pool.submit(run, fast, picture(1))
        first.result(), second.result()
    assert len(built) == 1


def test_numbers_that_change_while_an_engine_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its builder goes on with old ones; whoever comes later must not get them."""
    fast, plain = pair("onnxruntime")
    run(fast, picture(0))
    begun, go, build = threading.Event(), threading.Event(), OrtEngine.build

    def slow(self: Any, job: Any) -> Any:
        found = build(self, job)
        begun.set()
        assert go.wait(10)
        return found

    monkeypatch.setattr(OrtEngine, "build", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, fast, picture(0, 2))
        assert begun.wait(10)
        monkeypatch.setattr(OrtEngine, "build", build)
        with torch.no_grad():
            next(fast.parameters()).mul_(2)
        plain.load_state_dict(fast.state_dict())
        second = pool.submit(run, fast, picture(0, 2))
        threading.Timer(0.05, go.set).start()
        first.result(), second.result()
    for _ in range(2):
        found, expected = (run(module, picture(0, 2)) for module in (fast, plain))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
