"""Where words go: two streams, colours only where a person looks."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click

from cnndsl.diagnostics.display import coloured, escape


def prepare() -> None:
    """Every character can be written: as UTF-8 to files, spelled out where a screen lacks it."""
    for stream in (sys.stdout, sys.stderr):
        change = getattr(stream, "reconfigure", None)
        if change is not None and stream.isatty():
            change(errors="backslashreplace")
        elif change is not None:
            change(encoding="utf-8", errors="backslashreplace")


def out(text: str) -> None:
    """A report or an artefact, as it is; the caller has escaped what strangers wrote."""
    click.echo(text, nl=False, color=True)


def line(text: str) -> None:
    """One line of a report."""
    click.echo(text, color=True)


def err(text: str) -> None:
    """One or more lines of diagnostics or progress."""
    click.echo(text, err=True, color=True)


def error(message: str, more: str = "") -> None:
    """``error: …`` on stderr; the message may hold a stranger's text, ``more`` may not."""
    lead = coloured("error", "error:") if wants_color(sys.stderr) else "error:"
    lines = [escape(part) for part in message.split("\n")]
    err(f"{lead} " + "\n".join(lines) + more)


def wants_color(stream: IO[Any]) -> bool:
    """``NO_COLOR`` wins over ``FORCE_COLOR``, which wins over what the stream is."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width(stream: IO[Any]) -> int:
    """Columns for wrapped text."""
    if not stream.isatty():
        return 100
    from shutil import get_terminal_size

    return get_terminal_size((100, 24)).columns
