"""An engine must be as exact as PyTorch: usually, and on the border too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import cnndsl
from cnndsl.engines import accuracy
from cnndsl.engines.accuracy import SAMPLES, Standard, agrees, samples
from cnndsl.engines.apply import Plain
from cnndsl.engines.base import Job
from cnndsl.passes.flow import Flow

Change = Callable[[Tensor, Tensor, int], Tensor]
"""From PyTorch's result, the true one and the number of the sample."""


def job(batch: int = 1) -> Job:
    net = cnndsl.loads("net N: [3, H, W] = conv(8, 3) -> relu -> conv(8, 3) -> softmax").net()
    parameters = net.compile(optimize=0).state_dict()
    return Job(Flow(net.graph), parameters, ((batch, 3, 24, 24),))


def judged(change: Change, batch: int = 1) -> bool:
    given = job(batch)
    exact = Plain(given.flow, given.parameters, torch.float64)
    plain = Plain(given.flow, given.parameters)
    asked = -1

    def runner(x: Tensor) -> Sequence[Tensor]:
        nonlocal asked
        asked += 1
        return [change(plain(x)[0], exact(x.double())[0], asked)]

    return Standard(given, samples(given.shapes, given.dtype)).is_met_by(runner)


def worse(plain: Tensor, true: Tensor, times: float) -> Tensor:
    return true + times * (plain - true)


def border_worse(plain: Tensor, true: Tensor, number: int) -> Tensor:
    found = worse(plain, true, 5)
    found[:, :, 1:-1, 1:-1] = worse(plain, true, 0.5)[:, :, 1:-1, 1:-1]
    return found


CHANGES: dict[str, tuple[Change, bool]] = {
    "the same": (lambda plain, true, number: plain, True),
    "exact": (lambda plain, true, number: true, True),
    "hardly worse": (lambda plain, true, number: worse(plain, true, 1.2), True),
    "worse": (lambda plain, true, number: worse(plain, true, 5), False),
    "unlucky once": (lambda plain, true, number: worse(plain, true, 1 if number else 2), True),
    "lucky once": (lambda plain, true, number: worse(plain, true, 5 if number else 1), False),
    "worse on the border": (border_worse, False),
    "nonsense": (lambda plain, true, number: torch.zeros_like(plain), False),
    "not a number": (lambda plain, true, number: plain * float("nan"), False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_judgement(name: str) -> None:
    change, good = CHANGES[name]
    assert judged(change) is good


@pytest.mark.parametrize(("samples_worse", "good"), [(1, True), (7, False), (8, False)])
def test_every_sample_of_a_batch_counts_alike(samples_worse: int, good: bool) -> None:
    """However large one's error is beside the others'."""

    def change(plain: Tensor, true: Tensor, number: int) -> Tensor:
        found = plain.clone()
        found[:samples_worse] = worse(plain, true, 5)[:samples_worse]
        return found

    assert judged(change, batch=8) is good
    assert judged(lambda *given: worse(*given[:2], 1.2), batch=8)


def test_of_a_large_batch_the_first_samples_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And all of one in which samples may depend on each other."""
    taken = []

    class Counting(Plain):
        def __call__(self, *inputs: Tensor, **options: Any) -> list[Tensor]:
            taken.append(len(inputs[0]))
            return super().__call__(*inputs, **options)

    given = job(40)
    runner = Plain(given.flow, given.parameters)
    inputs = samples(given.shapes, given.dtype)
    monkeypatch.setattr(accuracy, "Plain", Counting)
    assert Standard(given, inputs).is_met_by(runner) and taken == [SAMPLES] * 2
    monkeypatch.setattr(accuracy, "independent", lambda flow: False)
    assert Standard(given, inputs).is_met_by(runner) and taken[2:] == [40] * 2


def test_samples_are_of_all_parts_of_a_batch() -> None:
    """A chunk that is wrong is seen, also the last."""
    for wrong in (0, -1):

        def change(plain: Tensor, true: Tensor, number: int, at: int = wrong) -> Tensor:
            found = plain.clone()
            found[at] = 0
            return found

        assert not judged(change, batch=40)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_a_large_sample_hides_no_others(scale: float) -> None:
    """They are judged as if each came alone."""
    text = "net N: [3, H, W] = conv(8, 3) -> relu -> conv(8, 3)"
    net = cnndsl.loads(text).net()
    given = Job(Flow(net.graph), net.compile(optimize=0).state_dict(), ((8, 3, 24, 24),))
    x = samples(given.shapes, given.dtype)[0][0]
    x[3] *= scale
    exact = Plain(given.flow, given.parameters, torch.float64)(x.double())[0]
    plain = Plain(given.flow, given.parameters)(x)[0]
    found = worse(plain, exact, 5)
    found[3] = plain[3]
    assert not Standard(given, [[x]]).is_met_by(lambda x: [found])


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before a few samples."""
    given = job()
    inputs = samples(given.shapes, given.dtype)
    assert len(Standard(given, inputs).cases) == SAMPLES
    monkeypatch.setattr(accuracy, "PATIENCE", 0.0)
    standard = Standard(given, inputs)
    assert len(standard.cases) == accuracy.FEW
    assert standard.is_met_by(Plain(given.flow, given.parameters))
    assert not standard.is_met_by(lambda x: [torch.zeros(1, 8, 24, 24)])


def test_what_is_worse_than_rounding_counts_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error as large as the rounding of the result is no licence for another one."""
    given = job()
    (x,) = samples(given.shapes, given.dtype)[0]
    exact = Plain(given.flow, given.parameters, torch.float64)(x.double())[0]
    usual = accuracy.error(Plain(given.flow, given.parameters)(x)[0], exact)
    monkeypatch.setattr(accuracy, "floor", lambda true: usual)
    assert not judged(lambda plain, true, number: worse(plain, true, 1.5))
    assert judged(lambda plain, true, number: worse(plain, true, 1.1))


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_samples(batch: int) -> None:
    found = samples([(batch, 3, 5, 5), (batch, 2)], torch.bfloat16)
    assert all(x.dtype == torch.bfloat16 and len(x) == batch for inputs in found for x in inputs)
    assert SAMPLES <= batch * len(found) < SAMPLES + batch
    assert len({float(inputs[0].float().sum()) for inputs in found}) == len(found)


def test_results_that_are_zero() -> None:
    net = cnndsl.loads("net N: [3, H, W] = c: conv(2, 1, bias=no)").net()
    parameters = {k: torch.zeros_like(v) for k, v in net.compile().state_dict().items()}
    given = Job(Flow(net.graph), parameters, ((1, 3, 4, 4),))
    inputs = [torch.randn(1, 3, 4, 4)]
    assert agrees(lambda x: [torch.zeros(1, 2, 4, 4)], given, inputs)
    assert not agrees(lambda x: [torch.full((1, 2, 4, 4), 1e-20)], given, inputs)


def test_a_second_result_that_is_not_a_number() -> None:
    """However exact the first is."""
    net = cnndsl.loads("net N: [2, 4, 4] = relu -> emit early: id -> sigmoid").net()
    given = Job(Flow(net.graph), {}, ((1, 2, 4, 4),))
    plain = Plain(given.flow, given.parameters)
    standard = Standard(given, samples(given.shapes, given.dtype))

    def spoilt(x: Tensor) -> Sequence[Tensor]:
        first, second = plain(x)
        return [first, second * float("nan")]

    assert standard.is_met_by(plain) and not standard.is_met_by(spoilt)
