"""Whole networks on a GPU beside every peer: inference and training, interleaved."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import cnndsl
from benchmarks.cpu import settle
from benchmarks.gpu_tasks import ROUNDS, SIZE, Said, bound, flow_of, measured_device
from benchmarks.networks import FILES, ROOT
from cnndsl.engines.base import Job
from cnndsl.engines.derived import derived
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.device import Device, present
from cnndsl.kernels.plan.launches import Graphed, Launches
from cnndsl.kernels.plan.measure import Tuner
from cnndsl.kernels.plan.planner import plan
from cnndsl.kernels.plan.store import WRONG, Store
from cnndsl.kernels.problem import Problem
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow

Run = Callable[[], Tensor]
TUNING = 5 * 60.0
"""Seconds that the tuning of one network may take; what is not measured goes by the roofline."""


@dataclass
class Runner:
    """Something that computes the network, and what is known of it."""

    run: Run
    build_s: float
    peak_mb: float
    note: str = ""
    times: list[float] = field(default_factory=list)


def nets(task: Mapping[str, Any], said: Said) -> None:
    key = (task["net"], task["batch"], task["dtype"])
    if said.has(*key):
        return
    device, dtype = measured_device(said.table), getattr(torch, task["dtype"])
    with said.item(*key) as row:
        model, x = _network(task["net"], task["batch"])
        exact = _exact(model, x)
        found: dict[str, Runner] = {}
        for name, build in runners(task["net"], model, x.to(dtype), device):
            if name not in task["without"]:
                built = _built(build)
                if isinstance(built, str):
                    row(runner=name, status=built)
                else:
                    found[name] = built
        _time(found)
        least = least_seconds(flow_of(task["net"]), task["batch"], dtype, device)
        for name, values in rows(found, exact, task["batch"], least).items():
            row(runner=name, **values)


def _network(net: str, batch: int) -> tuple[nn.Module, Tensor]:
    """In float32, and numbers to look at."""
    torch.manual_seed(0)
    text = cnndsl.load(ROOT / "examples" / f"{FILES[net]}.cnn").net(net)
    model = settle(text.compile(optimize=0)).eval().cuda().to(memory_format=torch.channels_last)
    x = torch.randn(batch, 3, SIZE, SIZE, device="cuda")
    return model, x.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _exact(model: nn.Module, x: Tensor) -> Tensor:
    """In float32, without TF32."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.cat([model(part) for part in x.split(32)])


def runners(
    net: str, model: nn.Module, x: Tensor, device: Device
) -> Iterator[tuple[str, Callable[[], Run]]]:
    """Each as something that builds it; peers see the network as it is written."""
    torch.backends.cudnn.benchmark = True
    half = copy.deepcopy(model).to(x.dtype)
    yield "eager channels_last", lambda: _called(half, x)
    yield "compile", lambda: _called(torch.compile(half), x)
    yield "max-autotune", lambda: _frozen(half, x)
    flow = flow_of(net)
    job = Job(flow, model.state_dict(), (tuple(x.shape),), x.dtype)
    yield "cudnn-fused", lambda: _planned(job, x, Chooser(present(), _without_ours))
    store = Store.here()
    tuner = Tuner(device, store, lambda text: None, time.monotonic() + TUNING)
    tuner.tune(flow, len(x), x.dtype)
    yield "ours", lambda: _planned(job, x, Chooser(device, store, store.known))


def _called(model: Any, x: Tensor) -> Run:
    def run() -> Tensor:
        with torch.inference_mode():
            found: Tensor = model(x)
            return found

    return run


def _frozen(model: nn.Module, x: Tensor) -> Run:
    """The fairest peer: weights are constants, kernels tuned, graphs replayed."""
    from torch._inductor import config

    config.freezing = True
    return _called(torch.compile(copy.deepcopy(model), mode="max-autotune"), x)


def _without_ours(problem: Problem, ways: Any) -> dict[Way, float]:
    return {way: WRONG for way in ways if way.ours}


def _planned(job: Job, x: Tensor, chooser: Chooser) -> Run:
    found = plan(job.flow, len(x), job.dtype, chooser)
    graphed = Graphed(Launches(found, derived(job), "cuda"))
    return lambda: graphed(x)[0]


def _built(build: Callable[[], Run]) -> Runner | str:
    """With its first runs behind it; or why there is none."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, started = torch.cuda.memory_allocated(), time.perf_counter()
    try:
        run = build()
        for _ in range(3):
            run()
        torch.cuda.synchronize()
    except Exception as problem:  # of a compiler that is a peer: its row says so
        if "CUDA error" in str(problem):
            raise
        return " ".join(str(problem).split())[:200] or type(problem).__name__
    peak = (torch.cuda.max_memory_allocated() - before) / 1e6
    return Runner(run, time.perf_counter() - started, peak)


def _time(found: Mapping[str, Runner], rounds: int = ROUNDS) -> None:
    """Interleaved, each round several runs, by events: the CPU's share counts where it is slow."""
    for number in range(rounds + 1):
        for runner in found.values():
            seconds = _seconds(runner.run)
            if number:
                runner.times.append(seconds)


def _seconds(run: Run, repeats: int = 10) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def rows(
    found: Mapping[str, Runner], exact: Tensor, batch: int, least: float
) -> dict[str, dict[str, object]]:
    """The columns of each runner."""
    peers = [name for name in found if name != "ours"]
    told: dict[str, dict[str, object]] = {}
    for name, runner in found.items():
        seconds = statistics.median(runner.times)
        y = runner.run().float()
        told[name] = {
            "ms": f"{1e3 * seconds:.4f}",
            "images_per_s": f"{batch / seconds:.0f}",
            "ratio_to_best_peer": _ratio(runner, [found[n] for n in peers if n != name]),
            "share_of_roofline": f"{least / seconds:.3f}",
            "kernels": kernels(runner.run),
            "peak_mb": f"{runner.peak_mb:.0f}",
            "error": f"{_error(y, exact):.2e}",
            "top1_agreement": f"{_agreement(y, exact):.4f}",
            "build_s": f"{runner.build_s:.1f}",
            "note": runner.note,
        }
    return told


def _ratio(runner: Runner, peers: list[Runner]) -> str:
    """How many times as fast as the fastest peer, pair by pair; "" without one."""
    if not peers:
        return ""
    best = min(peers, key=lambda peer: statistics.median(peer.times))
    pairs = zip(runner.times, best.times, strict=True)
    return f"{statistics.median(theirs / own for own, theirs in pairs):.3f}"


def _error(found: Tensor, exact: Tensor) -> float:
    """The root of the mean squared difference, as a share of the values' own."""
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def _agreement(found: Tensor, exact: Tensor) -> float:
    return float((found.argmax(1) == exact.argmax(1)).float().mean())


def kernels(run: Run) -> int:
    """How many kernels one run launches on the device."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    events = (e for e in profiler.events() if e.device_type.name == "CUDA")
    return sum("Memcpy" not in e.name and "Memset" not in e.name for e in events)


def least_seconds(flow: Flow, batch: int, dtype: torch.dtype, device: Device) -> float:
    """The roofline of the network with every step one kernel: no launch, nothing moved twice."""
    views = Buffers.of(flow).views
    steps = (step for step in flow if step.inputs and step.id not in views)
    return sum(bound(Problem.of(step, flow.sizes, batch, dtype), device) for step in steps)


# --- training -----------------------------------------------------------------------------------


def training(task: Mapping[str, Any], said: Said) -> None:
    """Steps of SGD under autocast. No kernel of ours trains yet: the plain module is compiled."""
    key = (task["net"], task["batch"], task["dtype"])
    if said.has(*key):
        return
    with said.item(*key) as row:
        found: dict[str, Runner] = {}
        for name, mode in (("eager channels_last", None), ("compile", "default"),
                           ("max-autotune", "max-autotune-no-cudagraphs")):  # fmt: skip
            if name not in task["without"]:
                built = _built(lambda mode=mode: _step(task, mode))  # type: ignore[misc]
                if isinstance(built, str):
                    row(runner=name, status=built)
                else:
                    found[name] = built
        _time(found)
        for name, runner in found.items():
            seconds = statistics.median(runner.times)
            row(
                runner=name, ms=f"{1e3 * seconds:.3f}",
                images_per_s=f"{task['batch'] / seconds:.0f}",
                peak_mb=f"{runner.peak_mb:.0f}", build_s=f"{runner.build_s:.1f}",
                note="the module that cnndsl makes",
            )  # fmt: skip


def _step(task: Mapping[str, Any], mode: str | None) -> Run:
    model, x = _network(task["net"], task["batch"])
    model.train()
    labels = torch.randint(1000, (len(x),), device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    forward = model if mode is None else torch.compile(model, mode=mode)

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=getattr(torch, task["dtype"])):
            loss = nn.functional.cross_entropy(forward(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
