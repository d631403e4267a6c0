"""Bounds on untrusted text. The API and the command line may raise them, a file never."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults hold for text from strangers; see docs/limits.md for what each protects."""

    file_bytes: int = 1 << 20
    total_bytes: int = 8 << 20
    files: int = 64
    nesting: int = 64
    identifier: int = 64
    text: int = 1024
    digits: int = 12
    dimension: int = 2**31 - 1
    elements: int = 2**40
    repeat: int = 10_000
    call_depth: int = 64
    path: int = 128
    steps: int = 1_000_000
    idle_steps: int = 20_000
    """From one layer to the next, so that a recursion of numbers ends early."""
    nodes: int = 100_000
    fan_in: int = 4_096
    printed: int = 50


DEFAULT_LIMITS = Limits()
