"""What `auto` chooses by, and what it does where nothing can be chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines import accuracy, choose, memory
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Engine, Job, Runner
from cnndsl.engines.choose import ENGINES
from cnndsl.engines.chunks import sizes_for_batch
from cnndsl.engines.live.link import Choice
from cnndsl.passes.flow import Flow
from cnndsl.passes.ops import Chain
from cnndsl.passes.pipeline import FUSION

TEXT = "net N: [1, H, W] = c: conv(1, 1) -> n: bn(eps=0)"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))


@pytest.mark.parametrize(
    ("weight", "variance", "x"),
    [(1e30, 1e-30, 1e-25), (float("nan"), 1.0, 1.0), (3e38, 1e38, 1e-3), (3e38, 1e-3, 1e3)],
    ids=["folding overflows", "not a number", "large", "the plain module overflows"],
)
def test_numbers_that_no_engine_takes(weight: float, variance: float, x: float) -> None:
    net = cnndsl.loads(TEXT).net()
    fast, plain = net.compile(engine="auto").eval(), net.compile(optimize=0).eval()
    inputs = torch.full((1, 1, 4, 4), x)
    with torch.no_grad():
        fast.c.weight.fill_(weight), fast.n.running_var.fill_(variance)
        plain.load_state_dict(fast.state_dict())
        torch.testing.assert_close(fast(inputs), plain(inputs), equal_nan=True)
        fast.c.weight.fill_(2), fast.n.running_var.fill_(1)  # nothing was decided for good
        plain.load_state_dict(fast.state_dict())
        torch.testing.assert_close(fast(inputs), plain(inputs))
    assert fast._live.refused == ""


def test_a_choice_is_remembered_for_this_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(text: str = TEXT, engines: tuple[str, ...] = ("torch",), **given: Any) -> str:
        flow = Flow(cnndsl.loads(text).net().graph)
        job = replace(Job(flow, {}, ((1, 1, 4, 4),)), **given)
        return memory._digest(choose._key(job, [ENGINES[name] for name in engines]))

    others = [
        key(engines=("torch", "openvino")),
        key(TEXT.replace("eps=0", "eps=1")),
        key(shapes=((2, 1, 4, 4),)),
        key(dtype=torch.bfloat16),
        key(dtype=torch.bfloat16, parameters={"c.weight": torch.ones(1)}),
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    others.append(key())
    torch.set_num_threads(threads)
    with monkeypatch.context() as patched:
        patched.setattr(choose, "RULES", choose.RULES + 1)
        others.append(key())
    assert len({key(), *others}) == 1 + len(others) and key() == key()


def test_only_what_can_be_chosen_is_remembered() -> None:
    there = [ENGINES["torch"]]
    assert choose._known({"engine": "torch", "chunk": 4}, there) is not None
    for entry in ({"engine": "other"}, {"engine": "torch", "chunk": 3}, {"chunk": 4}, None):
        assert choose._known(entry, there) is None


def test_an_operator_within_a_chain_may_look_across_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flow = Flow(cnndsl.loads("net N: [3, H, W] = conv(4, 3) -> relu").net().graph)
    FUSION.run(flow)
    (chain,) = (step.op for step in flow if isinstance(step.op, Chain))
    assert sizes_for_batch(flow, 8) == (1, 4)
    monkeypatch.setattr(type(chain.links[1].op), "__module__", "elsewhere.ops")
    assert sizes_for_batch(flow, 8) == ()


def test_close_choices_are_looked_at_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look liked `a`; behind it `b` is the faster."""
    a, b, slow = (choose.Choice(ENGINES[name]) for name in ("torch", "onnxruntime", "openvino"))
    looks: list[tuple[list[choose.Choice], int, float]] = []

    def interleaved(
        runs: dict[choose.Choice, Any], rounds: int, patience: float = math.inf
    ) -> dict[choose.Choice, list[float]]:
        looks.append((list(runs), rounds, patience))
        first = {a: [1.0] * rounds, b: [1.1] * rounds, slow: [2.0] * rounds}
        longer = {a: [1.2] * rounds, b: [1.0] * rounds}
        return first if len(looks) == 1 else longer

    monkeypatch.setattr(choose, "interleaved", interleaved)
    times = choose._timed(dict.fromkeys((a, b, slow), lambda: None))
    assert looks[0][:2] == ([a, b, slow], choose.ROUNDS)
    assert looks[1] == ([a, b], choose.MORE_ROUNDS, choose.PATIENCE)
    assert min(times, key=lambda choice: times[choice]) == b and times[slow] == 2000


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_what_is_timed_gets_inputs_as_they_come(
    given: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who converts them loses time to who need not."""
    seen = []

    def timed(runs: Any) -> Any:
        seen.extend(x.dtype for run in runs.values() for x in run.args)
        return dict.fromkeys(runs, 1.0)

    monkeypatch.setattr(choose, "_timed", timed)
    monkeypatch.setattr(choose, "QUICK", ("torch", "onnxruntime"))
    fast = cnndsl.loads(TEXT).net().compile(engine="auto", dtype=torch.bfloat16).eval().to(given)
    with torch.no_grad():
        fast(torch.zeros(1, 1, 4, 4, dtype=given))
    assert seen and set(seen) == {given}


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_results_are_judged_as_they_are_given(
    given: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that computes more exactly than that is rounded once more."""
    seen = []

    def error_of(standard: accuracy.Standard, runner: Runner, slack: float) -> float:
        seen.extend(y.dtype for y in runner(*standard.inputs[0]))
        return 1.0

    monkeypatch.setattr(accuracy.Standard, "error_of", error_of)
    monkeypatch.setattr(choose, "QUICK", ("torch", "onnxruntime"))
    fast = cnndsl.loads(TEXT).net().compile(engine="auto", dtype=torch.bfloat16).eval().to(given)
    with torch.no_grad():
        fast(torch.zeros(1, 1, 4, 4, dtype=given))
    assert seen and set(seen) == {given}


def test_ways_through_a_batch_are_tried_for_each_close_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind the fastest for the whole batch, one may gain more by streams."""
    alone = {"torch": 1.3, "onnxruntime": 1.0, "openvino": 1.2}
    tried: list[list[choose.Choice]] = []

    def race(
        job: Job, recipe: Any, choices: list[choose.Choice], standard: Any
    ) -> dict[choose.Choice, float]:
        tried.append(choices)
        by = {"openvino by 4 in streams": 0.7, "onnxruntime by 1": 0.5, "onnxruntime by 4": 0.6}
        if len(tried) == 4:  # the machine is slower now, as it was when openvino was looked at
            by = {"openvino by 4 in streams": 0.8, "onnxruntime by 1": 0.9}
        return {c: by.get(choose.label(c), alone[c.engine.name]) for c in choices}

    monkeypatch.setattr(choose, "_race", race)
    network: Any = cnndsl.loads("net N: [3, H, W] = conv(8, 3)").net().compile(engine="auto")
    with torch.no_grad():
        network.eval()(torch.zeros(8, 3, 8, 8))
    ways = ("", " by 1", " by 1 in streams", " by 4", " by 4 in streams")
    assert [[choose.label(choice) for choice in choices] for choices in tried] == [
        ["torch", "onnxruntime", "openvino"],
        [f"onnxruntime{way}" for way in ways],  # each holds all weights: one engine at a time
        [f"openvino{way}" for way in ways],
        ["onnxruntime by 1", "openvino by 4 in streams"],
    ]
    assert choose.label(network._live.choice) == "openvino by 4 in streams"


def test_slow_choices_are_not_looked_at_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more round of them would take longer than there is patience."""
    looks: list[Any] = []

    def interleaved(runs: Any, rounds: int, **_: Any) -> Any:
        looks.append(runs)
        return {run: [choose.PATIENCE / 3] * rounds for run in runs}

    monkeypatch.setattr(choose, "interleaved", interleaved)
    runs = {choose.Choice(ENGINES[name]): lambda: None for name in ("torch", "openvino")}
    assert len(choose._timed(runs)) == 2 and len(looks) == 1


class _Coarse(Engine):
    """Faster than any other, with some times PyTorch's error."""

    name = "coarse"

    def __init__(self, times: float) -> None:
        self.times = times

    def build(self, job: Job) -> Runner:
        exact = Plain(job.flow, job.parameters, torch.float64)
        plain = Plain(job.flow, job.parameters, job.dtype)

        def run(x: torch.Tensor) -> list[torch.Tensor]:
            true = exact(x.double())[0]
            return [true + self.times * (plain(x.to(job.dtype))[0] - true)]

        return run


@pytest.mark.parametrize(
    ("times", "dtype", "chosen"),
    [
        (1.15, torch.float32, True),
        (1.23, torch.float32, False),
        (0.5, torch.float32, True),
        (1.03, torch.bfloat16, True),
        (1.07, torch.bfloat16, False),
    ],
)
def test_what_is_less_exact_than_pytorch_is_not_chosen(
    times: float, dtype: torch.dtype, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room to spare: on other samples it may be less exact than on those it is judged by."""
    monkeypatch.setitem(ENGINES, "coarse", _Coarse(times))
    monkeypatch.setattr(choose, "QUICK", ("torch", "coarse"))
    monkeypatch.setattr(accuracy, "floor", lambda true: 0.0)
    monkeypatch.setattr(choose, "_timed", lambda runs: {c: -len(c.engine.name) for c in runs})
    # Errors of many roundings: of one, rounding again would leave none to compare.
    text = "net N: [3, H, W] = conv(8, 31) -> relu -> conv(8, 31)"
    network: Any = cnndsl.loads(text).net().compile(engine="auto", dtype=dtype).eval()
    with torch.no_grad():
        network(torch.randn(1, 3, 40, 40))
    assert network._live.choice.engine.name == ("coarse" if chosen else "torch")


@pytest.mark.parametrize(
    ("name", "beside", "takes", "threads", "batch", "is_chosen"),
    [
        ("onnxruntime-winograd", "onnxruntime", 0.86, 2, 1, False),
        ("onnxruntime-winograd", "onnxruntime", 0.83, 2, 1, True),
        ("onnxruntime-winograd", "openvino", 0.81, 2, 1, False),
        ("onnxruntime-winograd", "openvino", 0.99, 1, 1, True),
        ("onnxruntime-winograd", "openvino", 0.99, 2, 2, True),
        ("openvino-winograd", "openvino", 0.96, 2, 1, False),
        ("openvino-winograd", "openvino", 0.94, 2, 1, True),
        ("openvino-winograd", "onnxruntime", 0.99, 2, 1, True),
        ("onnxruntime", "openvino", 0.96, 2, 1, False),
        ("onnxruntime", "openvino", 0.94, 2, 1, True),
        ("onnxruntime", "openvino", 0.99, 2, 2, True),
        ("torch", "openvino", 0.91, 2, 1, False),
        ("torch", "openvino", 0.89, 2, 1, True),
        ("torch", "onnxruntime", 0.96, 2, 1, False),
        ("torch", "onnxruntime", 0.94, 2, 1, True),
    ],
)
def test_who_is_slow_at_times_must_be_ahead(
    name: str, beside: str, takes: float, threads: int, batch: int, is_chosen: bool
) -> None:
    """For one sample: how fast a core reads what another wrote may change."""
    job = Job(
        Flow(cnndsl.loads("net N: [3] = relu").net().graph), {}, ((batch, 3),), threads=threads
    )
    first, other = Choice(ENGINES[beside]), Choice(ENGINES[name])
    times = choose._with_caution({first: 1.0, other: takes}, job)
    assert choose._first(times) == (other if is_chosen else first)


@pytest.mark.parametrize(
    ("dtype", "tiles", "plain", "tried"),
    [
        (torch.bfloat16, 1.02, 0.98, {"torch", "onnxruntime"}),
        (torch.bfloat16, 1.0, 0.98, {"torch", "onnxruntime", "openvino"}),
        (torch.bfloat16, 1.02, 1.04, {"torch", "onnxruntime", "openvino"}),
        (torch.bfloat16, 1.06, 1.04, {"torch", "onnxruntime"}),
        (torch.float32, 1.02, 0.98, {"torch", "onnxruntime", "openvino"}),
    ],
)
def test_in_half_precision_who_is_as_exact_comes_first(
    dtype: torch.dtype, tiles: float, plain: float, tried: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is less exact than PyTorch by less than errors vary is better than nothing."""
    errors = iter((plain, tiles))
    seen: set[str] = set()

    def timed(runs: dict[Choice, Any]) -> dict[Choice, float]:
        seen.update(choice.engine.name for choice in runs)
        return dict.fromkeys(runs, 1.0)

    monkeypatch.setattr(accuracy.Standard, "error_of", lambda *_: next(errors))
    monkeypatch.setattr(choose, "QUICK", ("torch", "onnxruntime", "openvino"))
    monkeypatch.setattr(choose, "_timed", timed)
    fast = cnndsl.loads(TEXT).net().compile(engine="auto", dtype=dtype).eval()
    with torch.no_grad():
        fast(torch.zeros(1, 1, 4, 4))
    assert seen == tried
