"""Packages of operators as installing leaves them, and processes that can see them.

A package is a folder on the path with hand-written metadata; installing needs no network then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "plugin"


def install(folder: Path, entries: Mapping[str, str], **modules: str) -> None:
    """Puts modules there, and entry points of the group ``cnndsl.ops``."""
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    metadata = folder / "cnndsl_test_ops-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: cnndsl-test-ops\nVersion: 1.0\n"
    )
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join(["[cnndsl.ops]", *lines, ""]))


def install_example(folder: Path, entries: Mapping[str, str] | None = None, **modules: str) -> None:
    """The package in ``tests/plugin`` under its own entry points, and further ones."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code = (EXAMPLE / "cnndsl_test_ops.py").read_text(encoding="utf-8")
    points = {**project["entry-points"]["cnndsl.ops"], **(entries or {})}
    install(folder, points, cnndsl_test_ops=code, **modules)


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a process that has the folder's packages installed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
