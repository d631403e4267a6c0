"""Everything that only a GPU can say, in one command that may be cut off and goes on.

    python -m benchmarks.gpu [--minutes 25] [--only roofs correct layers nets training]
                             [--nets ResNet50 …] [--batch 1 8 …] [--dtype bfloat16 …]
                             [--without max-autotune …] [-o FOLDER]

In this order: versions and measured roofs; correctness of every configuration, with 4 and 8
warps; the race of every layer of ResNet-50 and DenseNet-121 against the vendor's libraries; whole
networks against eager PyTorch, torch.compile and cuDNN's fused convolutions; training. One csv
per kind, one row at a time. Finished items are skipped; each group of items runs in a process of
its own, so that a kernel that breaks the device breaks one row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_rows import KINDS, OK, STATUS, Table
from benchmarks.networks import RESULTS, ROOT

NETS = ("ResNet50", "DenseNet121", "MobileNetV2", "VGG16", "GoogLeNet", "ResNeXt50_32x4d")
LAYERS = ("ResNet50", "DenseNet121")
TRAINED = ("ResNet50",)
BATCHES, TRAINING_BATCHES = (1, 8, 32, 128, 256), (64, 256)
DTYPES = ("bfloat16", "float16")
CHECKED = 8
"""Samples on which kernels are checked."""
ITEM = 20 * 60.0
"""Seconds after which one item is given up: max-autotune compiles long."""


@dataclass(frozen=True)
class Task:
    """Items of one kind that share a process."""

    kind: str
    net: str = ""
    batch: int = 0
    dtype: str = ""

    def __str__(self) -> str:
        parts = (self.kind, self.net, str(self.batch or ""), self.dtype)
        return " ".join(part for part in parts if part)


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """What tells most comes first: correctness decides what may be timed."""
    nets, dtypes = options.nets, options.dtype
    exact = dict.fromkeys((*dtypes, "float32"))
    large_first = sorted(options.batch, reverse=True)
    groups: Mapping[str, Iterable[tuple[str, int, str]]] = {
        "roofs": [("", 0, "")],
        "correct": ((net, CHECKED, dtype) for dtype in exact for net in nets),
        "layers": ((net, batch, dtypes[0]) for batch in (256, 1) for net in LAYERS),
        "nets": ((net, batch, dtype) for dtype in dtypes for batch in large_first for net in nets),
        "training": ((n, batch, dtypes[0]) for batch in options.training_batch for n in TRAINED),
    }
    for kind, group in groups.items():
        for net, batch, dtype in group:
            if kind in options.only and (not net or net in nets):
                yield Task(kind, net, batch, dtype)


# --- driving ------------------------------------------------------------------------------------


@dataclass
class Driver:
    """Runs tasks in processes of their own and keeps what they say.

    A process prints a line of JSON for each item that it begins, ``{"begin": {…}}``, for each of
    its rows, ``{"row": {…}}``, and ``{"end": {}}`` when the item is finished.
    """

    folder: Path
    machine: Mapping[str, str]
    until: float
    command: Sequence[str] = (sys.executable, "-m", "benchmarks.gpu_tasks")
    item_seconds: float = ITEM

    def run(self, task: Task, extra: Sequence[str] = ()) -> bool:
        """Whether the task is finished; False if the time was up first."""
        table = Table(KINDS[task.kind], self.folder, self.machine)
        while time.monotonic() < self.until:
            found = self._once(task, table, extra)
            if found is not None:
                return found
        return False

    def _once(self, task: Task, table: Table, extra: Sequence[str]) -> bool | None:
        """One process; None if it died over an item, which is then noted, so that the rest runs."""
        words = [*self.command, json.dumps({**vars(task), "folder": str(self.folder)}), *extra]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        watch = _Watch(process, self.until, self.item_seconds)
        item: dict[str, Any] | None = None
        assert process.stdout is not None
        with watch:
            for line in process.stdout:
                said = _parsed(line)
                if "begin" in said:
                    item = said["begin"]
                    watch.begin()
                elif "row" in said:
                    table.add(said["row"])
                    _show(task, said["row"])
                elif "end" in said:
                    item = None
            code = process.wait()
        if code == 0:
            return True
        if watch.why == "time":
            return False
        if item is None:
            table.add({**dict.fromkeys(table.kind.item, "*"), STATUS: f"{task}: exit {code}"})
            return True  # nothing can be said of an item: it would fail again
        table.add({**item, STATUS: watch.why or f"crashed, exit {code}"})
        return None


class _Watch:
    """Ends a process when all the time is up, or that of an item."""

    def __init__(self, process: subprocess.Popen[str], until: float, item: float) -> None:
        self.process, self.until, self.item = process, until, item
        self.why, self._timer = "", threading.Timer(0, lambda: None)

    def __enter__(self) -> None:
        self.begin()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def begin(self) -> None:
        """An item begins."""
        self._timer.cancel()
        left = self.until - time.monotonic()
        why = "time" if left < self.item else "took too long"
        self._timer = threading.Timer(max(min(left, self.item), 0), self._end, (why,))
        self._timer.daemon = True
        self._timer.start()

    def _end(self, why: str) -> None:
        self.why = why
        self.process.kill()


def _parsed(line: str) -> dict[str, Any]:
    """A line of the protocol; libraries print other things, which are passed on."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    print(line, end="", file=sys.stderr, flush=True)
    return {}


def _show(task: Task, row: Mapping[str, object]) -> None:
    told = {k: v for k, v in row.items() if v not in ("", None) and k not in vars(task)}
    if row.get(STATUS) == OK:
        told.pop(STATUS)
    print(task, *(f"{k}={v}" for k, v in told.items()), sep="  ", flush=True)


# --- the command line ---------------------------------------------------------------------------


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--minutes", type=float, default=25.0, help="stops after so many")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--batch", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--training-batch", nargs="+", type=int, default=list(TRAINING_BATCHES))
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--without", nargs="*", default=[], help="runners that are left out")
    parser.add_argument(
        "-o", "--output", type=Path, default=RESULTS, help="folder of the csv files"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    reason = missing()
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    from benchmarks.gpu_tasks import machine

    driver = Driver(options.output, machine(), time.monotonic() + 60 * options.minutes)
    for task in tasks(options):
        if not driver.run(task, options.without):
            print("the time is up: the same command goes on from here")
            break
    return 0


def missing() -> str | None:
    """Why nothing can be measured here, as a sentence."""
    try:
        import torch
        import triton  # noqa: F401
    except ImportError as problem:
        return f"{problem.name} is not installed, and the benchmarks need it"
    if not torch.cuda.is_available():
        return "there is no GPU here, and these benchmarks measure one"
    return None


if __name__ == "__main__":
    sys.exit(main())
