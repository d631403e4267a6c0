"""A process group of one, in a process of its own that ends without taking it down.

Taking it down may wait for ever: PyTorch joins gloo's threads while it holds Python's lock, and a
thread that has just finished a reduction wants that lock to let its objects go.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAM = """
import os, sys, torch
from {module} import {function} as run
torch.distributed.init_process_group(
    "gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1
)
run()
print("done", flush=True)
os._exit(0)
"""


def assert_runs_in_a_group(module: str, function: str, folder: Path) -> None:
    """Calls a function of a test module, without arguments, in such a process."""
    program = _PROGRAM.format(module=module, function=function)
    words = [sys.executable, "-c", program, str(folder / "store")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout == "done\n", done.stderr
