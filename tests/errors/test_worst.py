"""The heaviest texts that the limits let pass stay far below the bounds on memory and time.

A process of its own for each, for its peak of memory is asked of the system.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
NET = "net N: [3, H, W] = "
MEMORY = 512 << 20  # bytes; the bound is 4 GiB
SECONDS = 20  # of the processor; the bound is 60, and these take about five

LAYERS = "for i in 1..9900 do (conv(3, 3) -> bn -> relu -> silu) -> (relu^9900)^6"
EVALUATION = (
    "def f(n) = if n < 2 then 1 else (f(n - 1) + f(n - 2))\n"
    f"{NET}(conv(f(15), 1) -> relu)^30"
)  # fmt: skip
CHAIN = (NET + "tanh" + " -> sigmoid" * (1 << 17))[: 1 << 20].rpartition(" ->")[0]
TEXTS = {
    "99,000 layers": (NET + LAYERS, 0),
    "evaluation": (EVALUATION, 0),
    "a chain of 1 MiB": (CHAIN, 0),
    "a chain of too many layers": ((NET + "relu -> " * (1 << 17))[: (1 << 20) - 4] + "relu", 1),
}


# The peak is read from /proc: what `getrusage` tells counts the parent's memory before `exec`.
CHILD = """
import atexit, re, sys, time

def tell():
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    with open(used, "w") as stream:
        print(time.process_time(), peak[1], file=stream)

used = sys.argv.pop(1)
atexit.register(tell)
from cnndsl.cli import main
sys.exit(main())
"""


class Spent(NamedTuple):
    code: int
    seconds: float
    memory: int
    said: str


def check(path: Path) -> Spent:
    """What ``cnndsl check`` took: seconds of the processor, bytes at the peak."""
    used = path.with_suffix(".used")
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(used), "check", "-q", str(path)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    seconds, kilobytes = used.read_text().split()
    return Spent(run.returncode, float(seconds), 1024 * int(kilobytes), run.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells what was used")
@pytest.mark.parametrize("what", TEXTS)
def test_the_worst(what: str, tmp_path: Path) -> None:
    text, code = TEXTS[what]
    assert len(text) <= 1 << 20
    path = tmp_path / "worst.cnn"
    path.write_text(text, encoding="utf-8")
    spent = check(path)
    assert spent.code == code, spent.said
    assert spent.said == "" if not code else "E0212" in spent.said
    assert spent.memory < MEMORY
    assert spent.seconds < SECONDS
