"""Reports are the same bytes whatever seed Python hashes strings with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.errors import reports

ROOT = Path(__file__).parents[2]
SEEDS, EACH = 20, 5
CHILD = "from tests.errors.test_determinism import digest; print(digest())"


def digest() -> str:
    """One number for everything that is reported: words, places, order, fixes."""
    text = "\0".join(reports.rendered(case) for case in _some())
    return hashlib.sha256(text.encode()).hexdigest()


def _some() -> Iterator[reports.Case]:
    """A few cases of every topic, those with several files and several errors among them."""
    topics: dict[str, list[reports.Case]] = {}
    for name, (_, case) in reports.cases().items():
        topics.setdefault(name.split("/")[0], []).append(case)
    for topic in topics.values():
        yield from topic[:: max(1, len(topic) // EACH)]


def test_twenty_hash_seeds() -> None:
    wanted = digest()
    for seed in range(0, SEEDS, 2):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD],
                cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": str(number)},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for number in (seed + 1, seed + 2)
        ]  # fmt: skip
        for child in children:
            output, errors = child.communicate(timeout=120)
            assert output.strip() == wanted, errors
