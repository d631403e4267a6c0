"""How long checking and compiling take, beside named peers, in one interleaved run.

    python -m benchmarks.frontend [--rounds 7] [--quick]

Whole processes are timed from outside. Only ratios and medians mean anything: the machine
may be busy. The peers of `check` are the bare imports of lark and click; of `compile`,
torchvision's own constructor of the same network, torch's import apart.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
Row = tuple[str, str, str, str, str]

_CHECK = [sys.executable, "-m", "cnndsl", "check"]
_COMPILE = """
import sys, time, torch
sys.path.insert(0, ".")
import tests.references as peers, cnndsl
peer = peers.torchvision_models().resnet50
for _ in range({rounds}):
    start = time.perf_counter(); cnndsl.compile("examples/resnet.cnn", "ResNet50")
    middle = time.perf_counter(); peer(weights=None)
    print(middle - start, time.perf_counter() - middle)
"""
_GRAPH = """
import resource, sys, time
import cnndsl
text = sys.stdin.read()
start = time.process_time()
net = cnndsl.loads(text).net()
assert net.ok, net.diagnostics
net.params
print(len(net.graph), time.process_time() - start)
"""


def interleaved(rounds: int, *runs: Callable[[], None]) -> list[list[float]]:
    """Seconds of each run, in turn, after one uncounted round."""
    times: list[list[float]] = [[] for _ in runs]
    for number in range(rounds + 1):
        for run, found in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if number:
                found.append(time.perf_counter() - start)
    return times


def process(*command: str) -> Callable[[], None]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)

    return run


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def check_rows(rounds: int) -> Iterator[Row]:
    bare = process(sys.executable, "-c", "import lark, click")
    cases = [
        ("check ResNet-50", "examples/resnet.cnn", "ResNet50", "<= 0.35 s, <= 3x"),
        ("check ResNet-1202", "examples/resnet_cifar.cnn", "ResNet1202", "<= 1.5 s"),
    ]
    for name, file, net, bar in cases:
        ours, theirs = interleaved(rounds, process(*_CHECK, file, "--net", net), bare)
        seconds = f"{statistics.median(ours):.3f} s"
        yield name, seconds, "bare import of lark, click", f"{ratio(ours, theirs):.2f}x", bar


def compile_row(rounds: int) -> Row:
    run = subprocess.run(
        [sys.executable, "-c", _COMPILE.format(rounds=rounds + 1)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    pairs = [tuple(map(float, line.split())) for line in run.stdout.splitlines()[1:]]
    ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
    return (
        "compile ResNet-50", f"{statistics.median(ours):.3f} s", "torchvision's constructor",
        f"{ratio(ours, theirs):.2f}x", "<= 1.5x",
    )  # fmt: skip


def chain(nodes: int) -> str:
    return f"net N: [4, H, W] = (relu^{nodes // 100})^100\n"


def wide(nodes: int) -> str:
    fan = 4000
    term = f"add(for i in 1..{fan} do relu)"
    return f"net N: [4, H, W] = ({term})^{max(nodes // (fan + 1), 1)}\n"


def diamonds(nodes: int) -> str:
    return f"net N: [4, H, W] = ((relu + sigmoid)^{nodes // 300})^100\n"


def graph_rows(small: int, large: int) -> Iterator[Row]:
    for shape in (chain, wide, diamonds):
        (few, short, _), (many, long, memory) = (_expand(shape(n)) for n in (small, large))
        exponent = math.log(long / short) / math.log(many / few)
        measured = f"{long:.2f} s CPU, {memory:.2f} GiB"
        yield (
            f"check {shape.__name__}, {many:,} nodes", measured, f"itself at {few:,}",
            f"exponent {exponent:.2f}", "<= 60 s, 2 GiB, 1.15",
        )  # fmt: skip


def _expand(text: str) -> tuple[int, float, float]:
    """Nodes, CPU seconds (the best of three) and peak memory in GiB of a process of its own."""
    best = math.inf
    nodes = 0
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", _GRAPH], cwd=ROOT, input=text, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        count, seconds = run.stdout.split()
        nodes, best = int(count), min(best, float(seconds))
    return nodes, best, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20


def versions() -> str:
    from importlib.metadata import version

    names = ("torch", "torchvision", "lark", "click", "networkx")
    return ", ".join(f"{name} {version(name)}" for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each pair")
    parser.add_argument("--quick", action="store_true", help="three rounds, smaller graphs")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    large = 20_000 if options.quick else 99_000
    rows: list[Row] = [("what", "median", "peer", "ratio", "bar")]
    # graphs first: the peak memory of children is a maximum over all of them so far
    rows += [*graph_rows(large // 10, large), *check_rows(rounds), compile_row(rounds)]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}; {versions()}")
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / "frontend.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*rows, (machine, versions(), "", "", "")])


if __name__ == "__main__":
    main()
