"""Chunks of a batch side by side: the same numbers, in order, and no mistake is swallowed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import cnndsl
from cnndsl.engines.base import EngineError, Job
from cnndsl.engines.choose import ENGINES
from cnndsl.engines.chunks import _Streams, chunked
from cnndsl.passes.flow import Flow

NET = "net N: [3, 8, 8] = conv(4, 3) -> bn -> relu -> emit map: (conv(2, 1)) -> gap -> flatten\n"


def job(batch: int) -> tuple[Job, torch.nn.Module]:
    net = cnndsl.loads(NET).net()
    plain = net.compile(optimize=0).eval()
    shapes = ((batch, 3, 8, 8),)
    return Job(Flow(net.graph), plain.state_dict(), shapes, threads=2), plain


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [1, 4])
def test_same_numbers_in_order(name: str, size: int) -> None:
    wanted, plain = job(8)
    runner = chunked(ENGINES[name], wanted, size, streams=True)
    for _ in range(3):
        x = torch.randn(8, 3, 8, 8)
        with torch.inference_mode():
            for found, true in zip(runner(x), plain(x), strict=True):
                torch.testing.assert_close(found, true, rtol=1e-4, atol=1e-5)


def test_engines_without_streams_say_so() -> None:
    wanted, _ = job(8)
    with pytest.raises(EngineError, match="torch has no streams here"):
        chunked(ENGINES["torch"], wanted, 4, streams=True)
    with pytest.raises(EngineError, match="onnxruntime has no streams here"):
        chunked(ENGINES["onnxruntime"], replace(wanted, threads=1), 4, streams=True)


def test_a_mistake_is_told_when_nobody_works_on() -> None:
    done: list[int] = []

    def slow(x: Tensor) -> list[Tensor]:
        time.sleep(0.05)
        done.append(int(x[0]))
        return [x]

    def fails(x: Tensor) -> list[Tensor]:
        raise EngineError("at once")

    with pytest.raises(EngineError, match="at once"):
        _Streams([fails, slow], 1)(torch.arange(40.0))
    seen = len(done)
    time.sleep(0.2)
    assert seen == len(done) <= 2  # what was begun is ended, and nothing is begun


def test_a_mistake_of_any_thread_is_raised() -> None:
    def fails(x: Tensor) -> list[Tensor]:
        if float(x[0]) == 5:
            raise EngineError("five")
        return [x]

    runner = _Streams([fails, fails, fails], 1)
    assert runner(torch.arange(5.0))[0].tolist() == [0, 1, 2, 3, 4]
    for _ in range(10):
        with pytest.raises(EngineError, match="five"):
            runner(torch.arange(9.0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_fork_makes_threads_of_its_own() -> None:
    runner = _Streams([lambda x: [x], lambda x: [x]], 1)
    runner(torch.arange(4.0))
    child = os.fork()
    if not child:
        os._exit(int(runner(torch.arange(4.0))[0].tolist() != [0, 1, 2, 3]))
    for _ in range(500):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert done and status == 0
