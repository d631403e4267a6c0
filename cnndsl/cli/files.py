"""Files in and out. What is written is there whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import click

import cnndsl
from cnndsl.compiler import Program
from cnndsl.limits import Limits

STDIN = "-"


class Failure(click.ClickException):
    """Something outside the text keeps a command from its work; exit code 2."""


def find_files(names: Sequence[str]) -> list[str]:
    """The files meant: folders give their ``.cnn`` files, hidden folders left out."""
    found: dict[str, None] = {}
    for name in names:
        inside = list(_below(name)) if name != STDIN and os.path.isdir(name) else [name]
        if not inside:
            raise Failure(f"no .cnn files in {name}")
        found.update(dict.fromkeys(inside))
    return list(found)


def _below(folder: str) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = (os.path.join(path, name) for name in sorted(files) if name.endswith(".cnn"))
        # a pipe nobody writes to would be waited for; a link to nothing is told when it is read
        yield from (name for name in found if os.path.isfile(name) or not os.path.exists(name))


def open_program(
    name: str, root: str | None, limits: Limits, stdin_name: str | None = None
) -> Program:
    """The program of a file, or of stdin for ``-``. A bad text is the program's business."""
    if not name:
        raise Failure("an empty name is no file")
    if name != STDIN:
        try:
            return cnndsl.load(name, root=root, limits=limits)
        except OSError as problem:
            raise Failure(f"cannot read {name}: {words(problem)}") from problem
    if sys.stdin is None:
        raise Failure("cannot read stdin: it is closed")
    data = sys.stdin.buffer.read(limits.file_bytes + 1)
    if root is None and stdin_name is not None:
        root = str(Path(stdin_name).parent)
    return cnndsl.loads(data, name=stdin_name or "<stdin>", root=root, limits=limits)


def words(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()


def write_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Replaces a file, or makes it: at every moment it holds the old content or the new.

    Keeps the mode of a file that was there; a link keeps pointing where it did.
    Raises Failure.
    """
    target = Path(os.path.realpath(path))
    _write(path, target, data, os.replace)


def write_new(path: str | os.PathLike[str], data: bytes) -> None:
    """Makes a file that must not exist, whole or not at all; Failure when it does."""
    _write(path, Path(path), data, os.link)


def _write(
    path: str | os.PathLike[str],
    target: Path,
    data: bytes | memoryview,
    move: Callable[[str, Path], object],
) -> None:
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".cnndsl-", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.chmod(temporary, _mode(target))
            os.fsync(file.fileno())
        move(temporary, target)
        _sync_folder(target.parent)
    except FileExistsError:
        raise Failure(f"{path} exists already; it was left alone") from None
    except OSError as problem:
        raise Failure(f"cannot write {path}: {words(problem)}") from problem
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _mode(target: Path) -> int:
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Makes the new name last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
