"""Every engine computes every operator that it takes, as the plain module does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.accuracy import error as error_of
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import EngineError, Job
from cnndsl.engines.choose import ENGINES, QUICK
from cnndsl.graph.cost import concrete, shape
from cnndsl.passes.flow import Flow
from cnndsl.passes.pipeline import ALGEBRA
from tests.engines.operators import OPERATORS
from tests.networks import random_network
from tests.passes.drawn import Drawn

NAMES = QUICK
"""Inductor is slow, triton is interpreted in a process of its own: both have their own tests."""


def job(net: cnndsl.Compilation, *, rewrite: bool, seed: int = 0) -> tuple[Job, Drawn]:
    flow = Flow(net.graph)
    sizes = net.facts.reference(19)
    drawn = Drawn(flow, sizes, seed)
    if rewrite:
        ALGEBRA.run(flow)
    shapes = tuple((len(drawn.inputs[0]), *shape(concrete(s.type, sizes))) for s in flow.inputs)
    parameters = {k: v.float() for k, v in drawn.parameters.items()}
    return Job(flow, parameters, shapes), drawn


def results(name: str, given: Job, drawn: Drawn) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What the engine makes of it, and the truth."""
    engine = ENGINES[name]
    flow = given.flow.copy()
    if engine.fusion is not None:
        engine.fusion.run(flow)
    runner = engine.build(replace(given, flow=flow))
    inputs = [x.float() for x in drawn.inputs]
    expected = Plain(given.flow, given.parameters, torch.float64)(*(x.double() for x in inputs))
    return list(zip(runner(*inputs), expected, strict=True))


def compare(name: str, given: Job, drawn: Drawn) -> None:
    for found, true in results(name, given, drawn):
        torch.testing.assert_close(found.double(), true, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators(operator: str, engine: str) -> None:
    net = cnndsl.loads(f"net N: {OPERATORS[operator]}").net()
    given, drawn = job(net, rewrite=False)
    try:
        compare(engine, given, drawn)
    except EngineError as error:
        assert engine != "torch" and "ONNX" in str(error)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_in_bfloat16(operator: str, engine: str) -> None:
    """About as exact as PyTorch in it, whether or not this processor has arithmetic for it."""
    net = cnndsl.loads(f"net N: {OPERATORS[operator]}").net()
    given, drawn = job(net, rewrite=False)
    half = replace(given, dtype=torch.bfloat16)
    usual = Plain(half.flow, half.parameters, half.dtype)(*(x.to(half.dtype) for x in drawn.inputs))
    try:
        pairs = results(engine, half, drawn)
    except EngineError as error:
        assert engine != "torch" and "ONNX" in str(error)
        return
    for (found, true), plain in zip(pairs, usual, strict=True):
        assert error_of(found, true) <= 2 * error_of(plain, true)


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed: int, engine: str) -> None:
    net = cnndsl.loads(random_network(seed + 40)).net()
    given, drawn = job(net, rewrite=True, seed=seed)
    try:
        compare(engine, given, drawn)
    except EngineError as error:
        assert engine != "torch" and "ONNX" in str(error)


def test_inductor() -> None:
    text = "net N: [3, H, W] = conv(8, 3) -> bn -> relu -> (id + conv(8, 3)) -> scale -> bn -> gap"
    given, drawn = job(cnndsl.loads(text).net(), rewrite=True)
    compare("inductor", given, drawn)


def test_inductor_compiles_each_network_once() -> None:
    """However many there are, and whichever mode they are called in."""
    once = torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True)
    with once:
        for width in (4, 5):
            given, drawn = job(
                cnndsl.loads(f"net N: [3, H, W] = conv({width}, 3)").net(), rewrite=True
            )
            runner = ENGINES["inductor"].build(given)
            inputs = [x.float().contiguous(memory_format=torch.channels_last) for x in drawn.inputs]
            runner(*inputs)
            with torch.no_grad():
                runner(*(x.clone().requires_grad_() for x in inputs))
            with torch.inference_mode():
                runner(*inputs)
                runner(*(x * 2 for x in inputs))


NESTED = """
block Crossed =
  let a = (in -> a: conv(3, 3))
  let b = (in -> b: conv(2, 3))
  let c = (in -> c: conv(4, 3))
  let d = (in -> d: conv(5, 3))
  let bc = (b | c)
  let bcd = (bc | d)
  let y = (a | bc)
  let z = (y | d)
  (bcd -> p: conv(3, 3)) + (y -> q: conv(3, 3)) + (z -> r: conv(3, 3)) + (bc -> s: conv(3, 1))

net N: [3, 8, 8] = crossed: Crossed
"""


@pytest.mark.parametrize("engine", NAMES)
def test_a_concatenation_that_is_part_of_another(engine: str) -> None:
    """``bc`` begins one buffer and is copied into the middle of the other."""
    given, drawn = job(cnndsl.loads(NESTED).net(), rewrite=True)
    compare(engine, given, drawn)


def model(**options: Any) -> Any:
    text = "net N: [3, H, W] = conv(8, 3) -> bn -> relu -> gap -> flatten -> linear(4)"
    return cnndsl.loads(text).net().compile(**options).eval()


@pytest.mark.parametrize("engine", ["auto", "torch", "onnxruntime", "openvino"])
def test_an_engine_is_forced(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    network = model(engine=engine)
    with torch.no_grad():
        network(torch.randn(1, 3, 8, 8))
    assert network._live.refused == ""
    assert engine in ("auto", network._live.engine.name)


def test_auto_measures_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from cnndsl.engines import choose

    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    races = []
    race = choose._race
    monkeypatch.setattr(choose, "_race", lambda *args: races.append(1) or race(*args))
    for _ in range(2):
        network = model(engine="auto")
        with torch.no_grad():
            network(torch.randn(1, 3, 8, 8))
    assert len(races) == 1


@pytest.mark.parametrize("streams", [False, True])
def test_a_batch_is_cut_where_that_pays(
    streams: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    """Same numbers, and only for operators of which it is known that samples are independent."""
    from cnndsl.engines import choose, chunks

    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    race = choose._race
    raced = []

    def liking_four(job: Any, recipe: Any, choices: Any, standard: Any) -> Any:
        raced.append([(choice.chunk, choice.streams) for choice in choices])
        found = race(job, recipe, choices, standard)
        return {c: 0.0 if (c.chunk, c.streams) == (4, streams) else t for c, t in found.items()}

    monkeypatch.setattr(choose, "_race", liking_four)
    network, plain = model(engine="auto"), model(optimize=0)
    plain.load_state_dict(network.state_dict())
    monkeypatch.setattr(choose, "QUICK", ("onnxruntime",) if streams else ("torch",))
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(2)
    x = torch.randn(8, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-5)
        choice = network._live.choice
        assert (choice.chunk, choice.streams) == (4, streams)
        ways = [(1, False), (1, True), (4, False), (4, True)]
        assert raced[1] == [(None, False), *ways]
        for batch in (1, 3, 2, 4, 16):
            x = torch.randn(batch, 3, 8, 8)
            torch.testing.assert_close(network(x), plain(x), rtol=1e-4, atol=1e-5)
    again = model(engine="auto")
    with torch.no_grad():
        again(torch.randn(8, 3, 8, 8))
    assert again._live.choice == network._live.choice and len(raced) == 2
    flow = network._live.recipe.flow
    monkeypatch.setattr(type(flow.results[0].op), "__module__", "elsewhere.ops")
    assert chunks.sizes_for_batch(flow, 8) == ()


def test_an_engine_that_is_wrong_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from cnndsl.engines.onnxruntime.engine import OrtEngine

    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    monkeypatch.setattr(
        OrtEngine, "build", lambda self, job: lambda x: [torch.zeros(1, 4)]
    )  # quick, and nonsense
    network = model(engine="auto")
    with torch.no_grad():
        network(torch.randn(1, 3, 8, 8))
    assert network._live.engine.name != "onnxruntime"


def test_absence_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnndsl.engines import found

    monkeypatch.setattr(found, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'cnndsl\[openvino\]'"):
        model(engine="openvino")
    with pytest.raises(ValueError, match="there are auto, torch, inductor, onnxruntime, "):
        model(engine="tensorflow")
    with pytest.raises(ValueError, match="the levels are 0 and 1"):
        model(optimize=2)
