"""Files that commands write: whether one may be written is known before anything takes long."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from cnndsl.cli.files import STDIN, Failure, write_atomic
from cnndsl.cli.terminal import line, out
from cnndsl.diagnostics.display import escape

STDOUT = STDIN


def claim(
    output: str, force: bool, what: str, suffix: str, is_ours: Callable[[str], bool] | None = None
) -> None:
    """Raises Failure unless a file can be written, and may be.

    It replaces one that is there with ``force``, or if ``is_ours`` says that it can be made
    again; without ``is_ours`` it is what people edit, or what took long to come by.
    """
    _check(output, what, suffix)
    if force or not os.path.lexists(output):
        return
    if is_ours is None:
        raise Failure(f"{output} exists already: --force replaces it")
    if os.path.exists(output) and not is_ours(output):
        raise Failure(f"{output} exists and is not as cnndsl wrote it: --force replaces it")


def _check(output: str, what: str, suffix: str) -> None:
    """The name says what the file is, and it can be there."""
    path = Path(output)
    if not path.name:
        raise Failure(f"-o writes {what}: give it a name, such as net{suffix}")
    if path.is_dir():
        raise Failure(f"cannot write {output}: is a directory")
    if os.path.islink(os.path.realpath(path)):
        raise Failure(f"cannot write {output}: it is a link that leads back to itself")
    if path.exists() and not path.is_file():
        raise Failure(f"cannot write {output}: not a regular file")
    if path.suffix != suffix:
        raise Failure(f"-o writes {what}: call it {path.with_suffix(suffix)}")
    folder = os.path.dirname(os.path.realpath(path))  # where a link leads
    if not (path.parent.is_dir() and os.path.isdir(folder)):
        raise Failure(f"cannot write {output}: no such folder")
    if not os.access(folder, os.W_OK):
        raise Failure(f"cannot write {output}: permission denied")


# --- bytes --------------------------------------------------------------------------------------


def claim_bytes(
    output: str, force: bool, what: str, suffix: str, is_ours: Callable[[str], bool] | None = None
) -> None:
    """The same where ``-`` is stdout, which must not be a screen."""
    if output != STDOUT:
        claim(output, force, what, suffix, is_ours)
    elif sys.stdout is None:
        raise Failure("cannot write stdout: it is closed")
    elif sys.stdout.isatty():
        raise Failure(f"{what} is no text for a screen: redirect stdout, or give -o a name")


def put_bytes(output: str, data: bytes | memoryview) -> None:
    """Writes a file whole or not at all, or to stdout."""
    if output != STDOUT:
        write_atomic(output, data)
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# --- texts, which go to stdout where no file is named -------------------------------------------


def claim_text(
    output: str | None, force: bool, what: str, suffix: str, is_ours: Callable[[str], bool]
) -> None:
    if output is not None and output != STDOUT:
        claim(output, force, what, suffix, is_ours)


def put_text(output: str | None, text: str, told: str) -> None:
    """``told`` is said of a file that was written."""
    if output is None or output == STDOUT:
        out(text)
        return
    write_atomic(output, text.encode())
    line(f"wrote {escape(output)}: {told}")
