"""One task of ``benchmarks.gpu`` in a process of its own; says what it finds in lines of JSON."""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import cnndsl
from benchmarks.gpu_rows import KINDS, OK, STATUS, Table
from benchmarks.networks import FILES, ROOT
from cnndsl.engines.timing import in_rounds
from cnndsl.kernels.base import Kernel
from cnndsl.kernels.plan.choice import Chooser
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.plan.device import Device, present
from cnndsl.kernels.plan.launches import recorded
from cnndsl.kernels.plan.measure import drawn, error_of, promising, replayed, runs
from cnndsl.kernels.plan.planner import problems, rewritten
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.table import FRAMED, KERNELS, taking
from cnndsl.passes.buffers import Buffers
from cnndsl.passes.flow import Flow

SIZE = 224
WARPS = (4, 8)
ROUNDS = 7


def machine() -> dict[str, str]:
    """What every row is of."""
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": _driver(),
        "torch": torch.__version__,
        "triton": version("triton"),
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
        "cnndsl": cnndsl.__version__,
    }


def _driver() -> str:
    """The driver's version; "" where nobody says."""
    try:
        import subprocess

        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.splitlines()[0].strip() if found else ""


@dataclass
class Said:
    """What this process has to do still, and how it tells what it found."""

    table: Table
    done: set[tuple[str, ...]]

    @contextmanager
    def item(self, *key: object) -> Iterator[Callable[..., None]]:
        """Tells the rows of one item; what goes wrong inside is a row too."""
        names = dict(zip(self.table.kind.item, map(str, key), strict=True))
        _say({"begin": names})

        def row(**values: object) -> None:
            _say({"row": {**names, STATUS: OK, **values}})

        try:
            yield row
        except RuntimeError as problem:
            if _is_fatal(problem):
                raise
            row(**{STATUS: _words(problem)})
        _say({"end": {}})
        self.done.add(tuple(names.values()))

    def has(self, *key: object) -> bool:
        return tuple(map(str, key)) in self.done


def _say(value: Mapping[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _is_fatal(problem: RuntimeError) -> bool:
    """Whether the device answers nothing any more."""
    return "CUDA error" in str(problem) and "out of memory" not in str(problem)


def _words(problem: Exception) -> str:
    return " ".join((str(problem) or type(problem).__name__).split())[:200]


def flow_of(net: str) -> Flow:
    """Rewritten and fused for a GPU, at the size of ImageNet."""
    found = cnndsl.load(ROOT / "examples" / f"{FILES[net]}.cnn").net(net)
    return rewritten(Flow(found.graph), found.facts.reference(SIZE))


# --- roofs --------------------------------------------------------------------------------------


def roofs(task: Mapping[str, Any], said: Said) -> None:
    measured = {
        "copy": ("TB/s", _copy),
        "float16 product": ("TFLOP/s", lambda: _product(torch.float16)),
        "bfloat16 product": ("TFLOP/s", lambda: _product(torch.bfloat16)),
        "float32 product": ("TFLOP/s", lambda: _product(torch.float32)),
        "interval": ("us", _interval),
    }
    for name, (unit, measure) in measured.items():
        if not said.has(name):
            with said.item(name) as row:
                row(value=f"{measure():.4g}", unit=unit)


def _best(run: Callable[[], object], rounds: int = 10) -> float:
    """Seconds."""
    return min(in_rounds({"": recorded(run)}, rounds, replayed)[""])


def _copy() -> float:
    x = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    return 2 * x.numel() / _best(lambda: y.copy_(x)) / 1e12


def _product(dtype: torch.dtype) -> float:
    a, b = (torch.randn(8192, 8192, device="cuda").to(dtype) for _ in range(2))
    return 2 * 8192**3 / _best(lambda: a @ b) / 1e12


def _interval() -> float:
    """Between kernels of a graph that do next to nothing."""
    x = torch.zeros(1, device="cuda")
    return _best(lambda: [x.add_(1) for _ in range(1000)]) * 1e6 / 1000


def measured_device(table: Table) -> Device:
    """The GPU with the roofs that were measured on it, where they were."""
    device, found = present(), {}
    for row in Table(KINDS["roofs"], table.folder, table.machine).rows():
        if row[STATUS] == OK and row["gpu"] == table.machine["gpu"]:
            found[row["roof"]] = float(row["value"])
    flops = {
        dtype: found.get(f"{str(dtype)[6:]} product", flops / 1e12) * 1e12
        for dtype, flops in device.flops.items()
    }
    bandwidth = found.get("copy", device.bandwidth / 1e12) * 1e12
    interval = found.get("interval", device.interval * 1e6) / 1e6
    return replace(device, flops=flops, bandwidth=bandwidth, interval=interval)


# --- kernels ------------------------------------------------------------------------------------


def correct(task: Mapping[str, Any], said: Said) -> None:
    dtype, capability = getattr(torch, task["dtype"]), present().capability
    for problem in problems(flow_of(task["net"]), task["batch"], dtype):
        for kernel in taking(problem, capability, (*KERNELS, *FRAMED)):
            for way in with_warps(kernel, problem, capability):
                if not said.has(problem, way):
                    with said.item(problem, way) as row:
                        off = error_of(way, problem)
                        assert way.config is not None
                        row(units_off=f"{off:.2f}", warps=way.config.warps)


def with_warps(kernel: Kernel, problem: Problem, capability: int) -> list[Way]:
    """Every configuration, with each number of warps that is to be shown right."""
    configs = kernel.configs(problem, capability)
    return [
        Way(kernel, config)
        for config in dict.fromkeys(replace(c, warps=warps) for c in configs for warps in WARPS)
    ]


def layers(task: Mapping[str, Any], said: Said) -> None:
    device, dtype = measured_device(said.table), getattr(torch, task["dtype"])
    flow, batch = flow_of(task["net"]), task["batch"]
    chooser, views = Chooser(device), Buffers.of(flow).views
    wholes = [
        Problem.of(step, flow.sizes, batch, dtype)
        for step in flow
        if step.inputs and step.id not in views
    ]
    for problem in dict.fromkeys(wholes):
        if not said.has(task["net"], problem):
            with said.item(task["net"], problem) as row:
                _race(problem, chooser, row, wholes.count(problem))


def _race(problem: Problem, chooser: Chooser, row: Callable[..., None], count: int) -> None:
    device = chooser.device
    sets = [drawn(problem, seed) for seed in range(min(8, 1 + 2 * device.l2 // problem.bytes))]
    graphs = {}
    for way in promising(chooser.options(problem), device):
        try:
            if not way.ours or error_of(way, problem) <= 8:
                graphs[way] = recorded(runs(way, problem, sets))
        except Exception as reason:
            row(way=str(way), status=_words(reason))
    least = bound(problem, device)
    for way, times in in_rounds(graphs, ROUNDS, replayed).items():
        seconds = statistics.median(times) / len(sets)
        row(
            way=str(way), ours=way.ours, us=f"{1e6 * seconds:.2f}", least_us=f"{1e6 * least:.2f}",
            share_of_roofline=f"{least / seconds:.3f}", count=count,
        )  # fmt: skip


def bound(problem: Problem, device: Device) -> float:
    """Seconds below which nothing can be that moves every operand once."""
    moved, computed = problem.bytes / device.bandwidth, 2 * problem.macs
    return max(moved, computed / device.flops[problem.dtype])


# --- the process --------------------------------------------------------------------------------


def main(words: Sequence[str]) -> None:
    from benchmarks.gpu_nets import nets, training

    task, *without = words
    given = json.loads(task) | {"without": without}
    table = Table(KINDS[given["kind"]], Path(given["folder"]), machine())
    kinds = {f.__name__: f for f in (roofs, correct, layers, nets, training)}
    kinds[given["kind"]](given, Said(table, table.done()))


if __name__ == "__main__":
    main(sys.argv[1:])
