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
_WEIGHTS = "a file of weights, and the text of a net is needed here: a .cnn file"
_FOREIGN = {
    ".onnx": "an ONNX model: `cnndsl import onnx` makes a text of it",
    ".json": "no text of a net; `cnndsl import json` reads graphs",
    ".pt2": "a compiled program, and the text of a net is needed here: a .cnn file",
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".bin"), _WEIGHTS),
}
"""What files with these endings are, where somebody takes them for a text."""


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
    kind = _FOREIGN.get(Path(name).suffix)
    if kind is not None:
        raise Failure(f"{name} is {kind}")
    if name != STDIN:
        try:
            return cnndsl.load(name, root=root, limits=limits)
        except OSError as problem:
            raise Failure(f"cannot read {name}: {words(problem)}") from problem
        except WeightsError as problem:
            raise Failure(str(problem)) from problem
    data = _from_stdin(limits.file_bytes + 1)
    if root is None and stdin_name is not None:
        root = str(Path(stdin_name).parent)
    return cnndsl.loads(data, name=stdin_name or called(name), root=root, limits=limits)


def called(name: str) -> str:
    """What messages call a file that is read."""
    return "<stdin>" if name == STDIN else name


def read_bounded(name: str, most: int) -> bytes:
    """The bytes of a file, or of stdin for ``-``.

    Raises Failure; also for more than ``most`` of them, and for a pipe or a device, which might
    never end.
    """
    if not name:
        raise Failure("an empty name is no file")
    data = _from_stdin(most + 1) if name == STDIN else _from_file(name, most)
    if data is None or len(data) > most:
        raise Failure(f"{called(name)} has more than {most:,} bytes, which are all that is read")
    return data


def _from_file(name: str, most: int) -> bytes | None:
    """None, and nothing is read, where there are more."""
    try:
        if os.path.exists(name) and not (os.path.isfile(name) or os.path.isdir(name)):
            raise Failure(f"cannot read {name}: it is no regular file; `-` is stdin")
        with open(name, "rb") as file:
            fits = os.fstat(file.fileno()).st_size <= most
            return file.read(most + 1) if fits else None
    except OSError as problem:
        raise Failure(f"cannot read {name}: {words(problem)}") from problem


def _from_stdin(most: int) -> bytes:
    if sys.stdin is None:
        raise Failure("cannot read stdin: it is closed")
    return sys.stdin.buffer.read(most)


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
