"""A bound on the memory of this process, where the system has one to set."""

from __future__ import annotations

import signal

from cnndsl.limits import DEFAULT_LIMITS

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

UNBOUNDED = ("compile", "doctor", "export", "import", "weights")
"""Commands that import torch: what it takes depends on the network's sizes and the device."""

RESERVE = 1 << 28
"""Bytes between the bound and the system's own refusal: see ``bound``."""

_LOOKS = 0.02  # seconds between two looks at what is in use; a look takes about 20 microseconds
_held: int | None = None


def bound(size: int = DEFAULT_LIMITS.memory) -> None:
    """Past ``size`` bytes of data, Python raises MemoryError instead of taking the machine's all.

    Data and not address space: libraries of plug-ins map far more than they use. The error is
    raised by a timer while there still is a reserve: a CPython that has not 32 bytes left to note
    where a ``with`` was left tries again for ever (3.11 to 3.13). The system's refusal stands
    behind it, for what is taken between two looks.
    """
    global _held
    if resource is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    free = hard == resource.RLIM_INFINITY
    try:
        resource.setrlimit(
            resource.RLIMIT_DATA, (size + RESERVE if free else min(size + RESERVE, hard), hard)
        )
    except (OSError, ValueError):  # a system that only seems to have it
        return
    _held = size if free else min(size, hard)
    _watch(_held)


def lift() -> int | None:
    """Takes the bound away, for to say that it was met takes memory too; the bytes that held."""
    global _held
    held, _held = _held, None
    if resource is None or held is None:
        return None
    signal.setitimer(signal.ITIMER_REAL, 0)
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    return held


def _watch(size: int) -> None:
    """Raises MemoryError within a fraction of a second once more than ``size`` bytes are held."""
    page = resource.getpagesize()

    def look(*_: object) -> None:
        if _held is not None and _data_pages() * page > size:
            raise MemoryError

    try:
        _data_pages()
        signal.signal(signal.SIGALRM, look)
    except (OSError, ValueError):  # no such account here; not the main thread
        return
    signal.setitimer(signal.ITIMER_REAL, _LOOKS, _LOOKS)


def _data_pages() -> int:
    with open("/proc/self/statm", "rb") as account:
        return int(account.read().split()[5])
