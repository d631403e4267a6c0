"""Times of several runs beside each other, so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf
from random import Random
from typing import Any, TypeVar

Name = TypeVar("Name")
Run = TypeVar("Run")

STEP, LONGEST_REST = 0.02, 0.16
"""Seconds. Threads of a library that has just run go on looking for work (onnxruntime's for 50 ms);
whoever runs meanwhile lacks a core (measured: half as fast). A step is two ticks of a slow clock,
by which systems count the time of threads. Where a process has other work to do, it is not waited
for longer than that."""

LONG = 0.4
"""Seconds beside which the waking of threads is nothing."""


def interleaved(
    runs: Mapping[Name, Callable[[], Any]],
    rounds: int,
    *,
    best_of: int = 2,
    patience: float = inf,
) -> dict[Name, list[float]]:
    """Seconds of each run, one figure per round, in rounds A B C, B A C; after ``patience``
    seconds none but the first.

    In each round a run waits until all is quiet, is called once to wake its threads, and then
    ``best_of`` times: the fastest of them counts; of a run that takes more than ``LONG``, the
    first. A round before these warms up and does not count.
    """
    return in_rounds(runs, rounds, lambda run: _steady(run, best_of), patience)


def in_rounds(
    runs: Mapping[Name, Run], rounds: int, seconds: Callable[[Run], float], patience: float = inf
) -> dict[Name, list[float]]:
    """As ``interleaved``, where ``seconds`` runs one and says how long that took.

    The order is drawn anew for each round: after one run memory and caches are otherwise than after
    another. In a fixed order, two equal models differ by up to 4 % (training of MobileNet-v2).
    """
    times: dict[Name, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    order, draw = list(runs.items()), Random(0)
    for number in range(rounds + 1):
        if number > 1 and time.perf_counter() - begun > patience:
            break
        for name, run in order:
            found = seconds(run)
            if number:
                times[name].append(found)
        draw.shuffle(order)
    return times


def _steady(run: Callable[[], Any], best_of: int) -> float:
    _rest()
    first = _seconds(run)
    return first if first > LONG else min(_seconds(run) for _ in range(best_of))


def _rest() -> None:
    """Until no thread of this process works, if that comes soon."""
    latest = time.perf_counter() + LONGEST_REST
    while time.perf_counter() < latest:
        busy = time.process_time()
        time.sleep(STEP)
        if time.process_time() - busy < STEP / 4:
            return


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
