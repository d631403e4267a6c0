"""The kernels in Triton's interpreter: the files of ``interpreted``, in a process of their own.

Triton decides when it is imported whether it interprets, for the whole process: beside these
tests others compile kernels. ``TRITON_INTERPRET=1 python -m pytest <file> -o python_files='*'``
runs one of them alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest


def _release(package: str) -> tuple[int, int]:
    major, minor, *_ = version(package).split(".")
    return int(major), int(minor)


pytestmark = pytest.mark.skipif(
    _release("triton") <= (3, 6) and _release("numpy") >= (2, 4),
    reason="the interpreter of Triton 3.6 fails under NumPy 2.4",
)
HERE = Path(__file__).parent
FILES = sorted((HERE / "interpreted").glob("check_*.py"))


def interpret(files: Path, marker: str) -> None:
    given = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment = given | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", marker, "-o", "python_files=check_*.py"]
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(files)],
        capture_output=True, text=True, env=environment, cwd=HERE.parents[1],
    )  # fmt: skip
    nothing = run.returncode == 5 and marker == "slow"  # no long form of this file
    assert run.returncode == 0 or nothing, run.stdout[-8000:] + run.stderr[-2000:]


def test_quick() -> None:
    """All in one process: importing PyTorch and Triton takes as long as one file."""
    interpret(HERE / "interpreted", "not slow")


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_long(file: Path) -> None:
    interpret(file, "slow")
