"""A bound on the memory of this process, where the system has one to set."""

from __future__ import annotations

from cnndsl.limits import DEFAULT_LIMITS

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

UNBOUNDED = ("compile", "doctor")
"""Commands that import torch: what it takes depends on the network's sizes and the device."""


def bound(size: int = DEFAULT_LIMITS.memory) -> None:
    """Past ``size`` bytes of data, Python raises MemoryError instead of taking the machine's all.

    Data and not address space: libraries of plug-ins map far more than they use.
    """
    if resource is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    except (OSError, ValueError):  # a system that only seems to have it
        return


def lift() -> int | None:
    """Takes the bound away, for to say that it was met takes memory too; the bytes that held."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    return None if soft == resource.RLIM_INFINITY else soft
