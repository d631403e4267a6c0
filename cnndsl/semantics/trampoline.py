"""Deep calls on a stack of our own, so that no input can exhaust Python's.

A routine is a generator: ``value = yield routine(…)`` calls another, ``return`` answers. A
function that often has its answer at once gives the answer itself, and a routine otherwise;
whoever calls it yields what it gives and need not know which.
"""

from __future__ import annotations

from collections.abc import Generator
from types import GeneratorType
from typing import Any, TypeAlias, TypeVar

Answer = TypeVar("Answer")
Routine = Generator[Any, Any, Answer]
Later: TypeAlias = Answer | Routine[Answer]
"""An answer, or the routine that finds it. No answer is a generator itself."""


def is_routine(found: Any) -> bool:
    """Whether what a function gave is still to be found."""
    return type(found) is GeneratorType


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
            if is_routine(called):
                callers.append(current)
                current, called = called, None
            value, error = called, None
            continue
        if not callers:
            break
        current = callers.pop()
    if error is not None:
        raise error
    answer: Answer = value
    return answer
