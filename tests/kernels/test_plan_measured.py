"""What is known from measurements: kept, believed only where it holds, told apart from guesses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cnndsl.engines.apply import Function
from cnndsl.kernels.plan import measure
from cnndsl.kernels.plan import store as store_module
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.measure import (
    MOST,
    SLACK,
    UNITS,
    Tuner,
    drawn,
    error_of,
    promising,
)
from cnndsl.kernels.plan.store import Store, key, sources
from cnndsl.kernels.plan.vendor import Aten, CublasLt, CudnnFused, Vendor
from cnndsl.kernels.problem import Problem
from tests.kernels.oracle import problem_of
from tests.kernels.planning import H100, flow_from, planned

TEXT = "[16, 8, 8] = conv(32, 1) -> relu"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNNDSL_CACHE", str(tmp_path))
    return tmp_path


def ways(problem: Problem) -> list[Way]:
    return [option.way for option in Chooser(H100).options(problem)]


# --- the store ----------------------------------------------------------------------------------


def test_times_are_kept_and_added_to(cache: Path) -> None:
    problem = problem_of(TEXT, 4, torch.half)
    fast, wrong, *rest = ways(problem)
    store = Store.of("NVIDIA H100")
    assert store(problem, [fast]) == {}
    assert store.keep(problem, {fast: 12.5e-6})
    assert store.keep(problem, {wrong: math.inf})
    assert store(problem, [fast, wrong, *rest]) == {fast: pytest.approx(12.5e-6), wrong: math.inf}


@pytest.mark.parametrize("what", ["gpu", "batch", "sources", "version"])
def test_what_does_not_hold_is_not_believed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    problem, gpu = problem_of(TEXT, 4, torch.half), "NVIDIA H100"
    (way, *_) = ways(problem)
    Store.of(gpu).keep(problem, {way: 1e-6})
    assert Store.of(gpu)(problem, [way])
    if what == "gpu":
        gpu = "NVIDIA H200"
    elif what == "batch":
        problem = problem_of(TEXT, 8, torch.half)
    elif what == "sources":
        monkeypatch.setattr(store_module, "sources", lambda: "changed")
    else:
        monkeypatch.setattr(store_module, "_version", lambda package: "0.0")
    assert Store.of(gpu)(problem, [way]) == {}


def test_damage_is_a_miss(cache: Path) -> None:
    problem = problem_of(TEXT, 4, torch.half)
    (way, *_) = ways(problem)
    store = Store.of("NVIDIA H100")
    store.keep(problem, {way: 1e-6})
    (file,) = (cache / "engines").iterdir()
    file.write_text(file.read_text().replace("1.0", "0.1"))
    assert store(problem, [way]) == {}


def test_shipped_tables(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for these kernels and versions counts, until something was measured here."""
    problem, gpu = problem_of(TEXT, 4, torch.half), "NVIDIA H100 80GB"
    (way, *_) = ways(problem)
    monkeypatch.setattr(store_module, "TABLES", tmp_path)
    table = {"key": key(gpu), "problems": {str(problem): {str(way): 3.0}}}
    (tmp_path / "nvidia-h100-80gb.json").write_text(json.dumps(table))
    assert Store.of(gpu)(problem, [way]) == {way: pytest.approx(3e-6)}
    Store.of(gpu).keep(problem, {way: 2e-6})
    assert Store.of(gpu)(problem, [way]) == {way: pytest.approx(2e-6)}
    other = {**table, "key": {**key(gpu), "kernels": "of last year"}}
    (tmp_path / "nvidia-h100-80gb.json").write_text(json.dumps(other))
    assert Store(gpu, store_module.shipped(gpu)).shipped == {}


def test_a_changed_kernel_was_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conv.py").write_text("one")
    monkeypatch.setattr(store_module, "_KERNELS", tmp_path)
    before = sources.__wrapped__()
    (tmp_path / "conv.py").write_text("two")
    assert sources.__wrapped__() != before


def test_a_changed_launch_was_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor were steps in another order of memory; a report may change."""
    (tmp_path / "plan").mkdir()
    monkeypatch.setattr(store_module, "_KERNELS", tmp_path)
    hashes = [sources.__wrapped__()]
    for name in ("launches.py", "memory.py", "report.py"):
        (tmp_path / "plan" / name).write_text("new")
        hashes.append(sources.__wrapped__())
    assert len(set(hashes)) == 3 and hashes[2] == hashes[3]


# --- measuring, as far as it needs no GPU ---------------------------------------------------------


def test_only_what_may_win_is_timed() -> None:
    options = Chooser(H100).options(
        problem_of("[64, 56, 56] = conv(64, 3) -> relu", 64, torch.half)
    )
    worth = promising(options, H100)
    best = min(option.seconds(H100) for option in options)
    times = {option.way: option.seconds(H100) for option in options}
    assert 0 < len(worth) <= MOST and times[worth[0]] == best
    makers = {option.way.maker for option in options}
    assert {way.maker for way in worth[: len(makers)]} == makers
    assert all(times[way] <= SLACK * best for way in worth[len(makers) :])


def test_a_framed_image_is_measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the others, alone: else it would never be chosen once these are known."""
    monkeypatch.setattr(measure, "error_of", lambda *_: 0.0)
    monkeypatch.setattr(measure, "runs", lambda way, *_: way)
    monkeypatch.setattr(measure, "drawn", lambda *_: None)
    store = Store("NVIDIA H100")
    tuner = Tuner(
        H100, store, print, on="cpu", record=lambda way: way,
        seconds=lambda way: 1e-6 if way.maker.name == "framed_stem" else 1e-3,
    )  # fmt: skip
    flow = flow_from("[3, 32, 32] = conv(64, 7, stride=2) -> relu")
    assert tuner.tune(flow, 8, torch.half)
    (step,) = planned(flow, 8, torch.half, measured=store).steps
    assert step.frame is not None and step.pieces[0].option.measured is not None


class Broken(CublasLt):
    """Right but for one number."""

    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        right = super().function(problem, weights)

        def wrong(x: Tensor) -> Tensor:
            y = right(x)
            y[-1, -1] += 0.1
            return y

        return wrong


class Raising(CublasLt):
    def function(self, problem: Problem, weights: Mapping[str, Tensor]) -> Function:
        raise RuntimeError("no algorithm\nfound")


def test_numbers_are_checked_before_anything_is_timed() -> None:
    problem, said = problem_of(TEXT, 2), []
    right, wrong, raises = (Way(vendor()) for vendor in (CublasLt, Broken, Raising))
    assert error_of(right, problem, "cpu") <= UNITS < error_of(wrong, problem, "cpu")
    tuner = Tuner(H100, Store("nobody's"), said.append, on="cpu")
    assert tuner._is_right(right, problem) and not tuner._is_right(raises, problem)
    assert "no algorithm" in said[-1] and "found" not in said[-1]


def test_no_time_is_no_work() -> None:
    from tests.kernels.planning import flow_from

    tuner = Tuner(H100, Store("nobody's"), lambda text: None, until=-1.0)
    assert not tuner.tune(flow_from(TEXT), 2, torch.half)


# --- vendors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["[16, 5, 7] = conv(24, 1)", TEXT, "[12] = linear(7)", "[16, 5, 7] = conv(24, 1, bias=no)"],
)
def test_products_are_right(text: str) -> None:
    problem = problem_of(text, 3)
    assert CublasLt().refuses(problem) is None
    assert error_of(Way(CublasLt()), problem, "cpu") <= UNITS
    assert drawn(problem, device="cpu").inputs[0].dtype == torch.float32


REFUSED: Sequence[tuple[type[Vendor], str]] = (
    (CublasLt, "[16, 5, 7] = conv(24, 3)"),
    (CublasLt, "[16, 6, 6] = conv(24, 1, stride=2)"),
    (CublasLt, "[16, 5, 7] = conv(24, 1) -> silu"),
    (CublasLt, "[16, 5, 7] = conv(16, 1, groups=2)"),
    (CudnnFused, "[16, 6, 6] = conv(24, 3, stride=2, padding=same_upper) -> relu"),
    (CudnnFused, "[16, 6, 6] = conv(24, 3)"),
    (CudnnFused, "[16, 6, 6] = conv(24, 3) -> relu6"),
    (CudnnFused, "[16, 6, 6] = maxpool(2)"),
    (CudnnFused, "[16, 6, 6] = (conv(16, 3) * id) -> relu"),
)


@pytest.mark.parametrize(("vendor", "text"), REFUSED)
def test_what_a_vendor_does_not_take(vendor: type[Vendor], text: str) -> None:
    assert vendor().refuses(problem_of(text)) is not None


@pytest.mark.parametrize(
    "text", ["[16, 6, 6] = conv(16, 3) -> relu", "[16, 6, 6] = (conv(16, 3) + id) -> relu"]
)
def test_what_cudnn_fuses(text: str) -> None:
    problem = problem_of(text)
    assert CudnnFused().refuses(problem) is None
    assert len(CudnnFused().loads(problem)) == 1 < len(Aten().loads(problem))


def test_kernels_of_pytorch() -> None:
    """Two for a convolution with bias, one for each step after it; a view is none."""
    count = {
        "[16, 6, 6] = conv(16, 3)": 2,
        "[16, 6, 6] = conv(16, 3, bias=no) -> relu": 2,
        "[16, 1, 1] = flatten": 0,
        "[16, 2, 2] = flatten": 1,
        "[16] = linear(4)": 1,
    }
    for text, kernels in count.items():
        assert len(Aten().loads(problem_of(text))) == kernels, text
