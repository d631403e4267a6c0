"""Deep calls on a stack of our own, so that no input can exhaust Python's.

A routine is a generator: ``value = yield routine(…)`` calls another, ``return`` answers. A
function that often has its answer at once gives the answer itself, and a routine otherwise;
whoever calls it yields what it gives and need not know which.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
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
    resume: Callable[[Any], Any] = current.send
    given: Any = None
    while True:
        try:
            found = resume(given)
        except StopIteration as stop:
            if not callers:
                answer: Answer = stop.value
                return answer
            current, found = callers.pop(), stop.value
        except BaseException as raised:
            if not callers:
                raise
            current = callers.pop()
            resume, given = current.throw, raised
            continue
        if type(found) is GeneratorType:  # as `is_routine` has it: this is asked at every step
            callers.append(current)
            current, found = found, None
        resume, given = current.send, found
