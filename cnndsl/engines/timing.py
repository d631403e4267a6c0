"""Times of several runs beside each other, so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, TypeVar

Name = TypeVar("Name")
Run = TypeVar("Run")

REST = 0.02
"""Seconds between two runs. Threads of a library that has just run go on looking for work for some
milliseconds; whoever ran next without a rest lost a core to them (measured: 1.5 times as slow)."""


LONG = 0.4
"""Seconds beside which the waking of threads is nothing."""


def interleaved(
    runs: Mapping[Name, Callable[[], Any]],
    rounds: int,
    *,
    best_of: int = 2,
    patience: float = inf,
) -> dict[Name, list[float]]:
    """Seconds of each run, one figure per round, in rounds A B C A B C; no round begins after
    ``patience`` seconds.

    In each round a run rests, is called once to wake its threads, and then ``best_of`` times: the
    fastest of them counts; of a run that takes more than ``LONG``, the first. A first round warms
    up and does not count.
    """
    return in_rounds(runs, rounds, lambda run: _steady(run, best_of), patience)


def in_rounds(
    runs: Mapping[Name, Run], rounds: int, seconds: Callable[[Run], float], patience: float = inf
) -> dict[Name, list[float]]:
    """As ``interleaved``, where ``seconds`` runs one and says how long that took."""
    times: dict[Name, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    for number in range(rounds + 1):
        if time.perf_counter() - begun > patience:
            break
        for name, run in runs.items():
            found = seconds(run)
            if number:
                times[name].append(found)
    return times


def _steady(run: Callable[[], Any], best_of: int) -> float:
    time.sleep(REST)
    first = _seconds(run)
    return first if first > LONG else min(_seconds(run) for _ in range(best_of))


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
