"""Deep calls on a stack of our own, so that no input can exhaust Python's.

A routine is a generator: ``value = yield routine(…)`` calls another, ``return`` answers.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

Answer = TypeVar("Answer")
Routine = Generator["Routine[Any]", Any, Answer]


def ready(answer: Answer) -> Routine[Answer]:
    """A routine that has its answer already."""
    return answer
    yield


def run(routine: Routine[Answer]) -> Answer:
    """Runs a routine and all it calls; exceptions travel up the calls as usual."""
    callers: list[Routine[Any]] = []
    current: Routine[Any] = routine
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            called = current.send(value) if error is None else current.throw(error)
        except StopIteration as stop:
            value, error = stop.value, None
        except BaseException as raised:
            value, error = None, raised
        else:
            callers.append(current)
            current, value, error = called, None, None
            continue
        if not callers:
            break
        current = callers.pop()
    if error is not None:
        raise error
    answer: Answer = value
    return answer
