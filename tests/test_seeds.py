"""What is written is the same bytes for any seed of Python's hashes, in any folder and locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artefacts import lay_out

ROOT = Path(__file__).parents[1]
SEEDS = 20
CHILD = "from tests.artefacts import main; main()"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same files in two places."""
    made = [tmp_path_factory.mktemp(name) for name in ("here", "a longer name elsewhere")]
    for folder in made:
        lay_out(ROOT / "examples", folder)
    return made


def _start(seed: int, folder: Path) -> subprocess.Popen[str]:
    locale = {"LC_ALL": ("C", "C.UTF-8")[seed // 2 % 2], "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        cwd=folder, env=os.environ | locale | {"PYTHONHASHSEED": str(seed)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_twenty_hash_seeds_in_two_folders(folders: list[Path]) -> None:
    found: list[dict[str, str]] = []
    for seed in range(0, SEEDS, 2):
        pair = [_start(seed + i, folder) for i, folder in enumerate(folders)]
        for child in pair:
            output, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors
            found.append(json.loads(output))
    assert len(found) == SEEDS and len(found[0]) > 70
    for name, digest in found[0].items():
        assert all(other[name] == digest for other in found), name
