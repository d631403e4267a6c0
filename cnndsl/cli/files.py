"""Files that commands read and write; what goes wrong with one is told in words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import cnndsl
from cnndsl import files
from cnndsl.checkpoints.bounds import WeightsError
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
    for path, folders, inside in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = (os.path.join(path, name) for name in sorted(inside) if name.endswith(".cnn"))
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
        except WeightsError as problem:
            raise Failure(f"{name}: {problem}") from problem
    if sys.stdin is None:
        raise Failure("cannot read stdin: it is closed")
    data = sys.stdin.buffer.read(limits.file_bytes + 1)
    if root is None and stdin_name is not None:
        root = str(Path(stdin_name).parent)
    return cnndsl.loads(data, name=stdin_name or "<stdin>", root=root, limits=limits)


def words(problem: OSError) -> str:
    return (problem.strerror or str(problem)).lower()


def keep_weights(program: Program) -> None:
    """Refuses to write a text back to the file of weights that it came with."""
    if program.origin is not None:
        raise Failure(f"{program.source.name} holds weights: its text cannot be changed")


def write_atomic(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Replaces a file, or makes it, whole or not at all: see ``files.replace``. Raises Failure."""
    try:
        files.replace(path, data)
    except OSError as problem:
        raise Failure(f"cannot write {path}: {words(problem)}") from problem


def write_new(path: str | os.PathLike[str], data: bytes) -> None:
    """Makes a file that must not exist, whole or not at all; Failure when it does."""
    try:
        files.create(path, data)
    except FileExistsError:
        raise Failure(f"{path} exists already; it was left alone") from None
    except OSError as problem:
        raise Failure(f"cannot write {path}: {words(problem)}") from problem
