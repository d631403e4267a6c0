"""Recording a module without PyTorch's own words on what it could not record."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

_LOGGERS = ("_subclasses", "export", "_export", "fx")


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged, or printed to stderr: the exception that is raised says it."""
    loggers = [logging.getLogger(f"torch.{name}") for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with redirect_stderr(io.StringIO()):  # the half-made graph is printed
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
