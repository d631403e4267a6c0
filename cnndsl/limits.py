"""Bounds on untrusted text. The API and the command line may raise them, a file never."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic

PROTOBUF_BYTES = 2**31 - 1
"""What a file of protocol buffers holds at most; an ONNX model is one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults hold for text from strangers; see docs/limits.md for what each protects."""

    file_bytes: int = 1 << 20
    total_bytes: int = 8 << 20
    tokens: int = 1_000_000
    """Of a file with its imports: what is read takes about half a kilobyte for each."""
    files: int = 64
    nesting: int = 64
    identifier: int = 64
    text: int = 1024
    digits: int = 12
    dimension: int = 2**31 - 1
    elements: int = 2**40
    repeat: int = 10_000
    call_depth: int = 64
    path: int = 32
    """Modules run inside each other on Python's stack, up to eight frames a level."""
    steps: int = 1_000_000
    idle_steps: int = 20_000
    """From one layer to the next, so that a recursion of numbers ends early."""
    nodes: int = 100_000
    fan_in: int = 4_096
    printed: int = 50
    seconds: float = 60
    """Of work on one program, or on one network that a caller asks it for."""
    memory: int = 4 << 30
    """Bytes of the process; the command line holds it, for a library cannot."""


DEFAULT_LIMITS = Limits()


class OutOfTime(Exception):
    """Raised where work stops in the middle; it never leaves the package."""


class Stopwatch:
    """The time that work on one program has taken. It runs inside ``with`` only.

    So a program that somebody keeps for hours pays for what is computed, not for the hours.
    """

    def __init__(self, seconds: float, spent: float = 0.0) -> None:
        self.seconds = seconds
        self._spent = spent
        self._depth = 0
        self._end = math.inf

    def __enter__(self) -> None:
        if not self._depth:
            self._end = monotonic() + self.seconds - self._spent
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._spent = self.seconds - (self._end - monotonic())
            self._end = math.inf if self._spent < self.seconds else -math.inf

    @property
    def over(self) -> bool:
        """Whether the time is up; asked at every step, so it must cost next to nothing."""
        return monotonic() > self._end

    def check(self) -> None:
        """Raises OutOfTime when the time is up."""
        if self.over:
            raise OutOfTime

    def fork(self) -> Stopwatch:
        """Another that goes on from here, for one of many networks of a program."""
        return Stopwatch(self.seconds, self._spent)


def unhurried() -> Stopwatch:
    """For work that somebody else bounds."""
    return Stopwatch(math.inf)
