"""What was measured on a device: remembered for this user, or shipped with the package.

Keyed by GPU, versions, the source of kernels and launches, and the problem, so that nothing old
is believed. Steps that were timed as one are kept beside the problems, under a name of their own.
Shipped tables are ``tables/<gpu>.json`` beside this file. There are none yet: no kernel was
timed on a device so far.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from cnndsl.engines import memory
from cnndsl.kernels.plan.cost import Way
from cnndsl.kernels.problem import Problem

TABLES = Path(__file__).parent / "tables"
_KERNELS = Path(__file__).parents[1]
_LAUNCHING = ("launches.py", "memory.py", "storage.py", "vendor.py")
_MICRO = 1e6
WRONG = math.inf
"""The time of a way that gave wrong numbers, or did not run."""


def key(gpu: str) -> dict[str, Any]:
    """What a measurement depends on beside the problem."""
    versions = {name: _version(name) for name in ("torch", "triton")}
    return {"gpu": gpu, "versions": versions, "kernels": sources()}


@cache  # each look takes longer than a plan of a step
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


@cache
def sources() -> str:
    """A hash of the kernels' source, and of what launches them: what was changed was not
    measured."""
    found = hashlib.sha256()
    launching = (path for path in _KERNELS.glob("plan/*.py") if path.name in _LAUNCHING)
    for path in sorted((*_KERNELS.glob("*.py"), *launching)):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


@dataclass
class Store:
    """Times by problem and way, and by steps and variant, in seconds; ``WRONG`` for what must not
    be used."""

    gpu: str
    shipped: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @staticmethod
    def here() -> Store:
        """Of the GPU of this machine; ValueError if there is none."""
        if not torch.cuda.is_available():
            raise ValueError("there is no GPU here")
        return Store.of(torch.cuda.get_device_name())

    @staticmethod
    def of(gpu: str) -> Store:
        """With the table that is shipped for this GPU, if it is of these kernels and versions."""
        return Store(gpu, shipped(gpu))

    def __call__(self, problem: Problem, ways: Sequence[Way]) -> dict[Way, float]:
        """Seconds of those ways that were measured."""
        found = self.known(str(problem))
        return {way: found[str(way)] for way in ways if str(way) in found}

    def known(self, name: str) -> dict[str, float]:
        """Seconds of all that was measured under this name: of a problem, or of several steps."""
        found = {**self.shipped.get(name, {}), **self._remembered(name)}
        return {way: WRONG if time is None else time / _MICRO for way, time in found.items()}

    def _remembered(self, name: str) -> dict[str, float | None]:
        entry = memory.recall(self._key(name)) or {}
        times = entry.get("microseconds")
        if not isinstance(times, dict):
            return {}
        return {k: t for k, t in times.items() if t is None or _is_time(t)}

    def keep(self, asked: object, times: Mapping[Any, float]) -> bool:
        """Adds to what is known of a problem and its ways, or of steps and their variants, both by
        their texts; False if there is no safe place for it."""
        name = str(asked)
        found = self._remembered(name) | {
            str(way): round(_MICRO * time, 3) if math.isfinite(time) else None
            for way, time in times.items()
        }
        return memory.remember(self._key(name), {"microseconds": found})

    def _key(self, name: str) -> dict[str, Any]:
        return {**key(self.gpu), "problem": name}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def shipped(gpu: str) -> dict[str, dict[str, float | None]]:
    """Microseconds by problem and way out of the package's table; nothing if it does not fit."""
    path = TABLES / f"{_slug(gpu)}.json"
    if not path.is_file():
        return {}
    table = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, dict[str, float | None]] = table["problems"]
    return found if table["key"] == key(gpu) else {}


def _slug(gpu: str) -> str:
    return "-".join(gpu.lower().split())
