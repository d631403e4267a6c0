"""What an import leaves: a text and the weights beside it, both or neither."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from cnndsl import files
from cnndsl.cli.files import Failure, words

ENDING = ".cnn"


def weights_beside(output: str) -> str:
    """Where the weights of ``net.cnn`` go: ``net.safetensors``. Failure for another ending."""
    path = Path(output)
    if not path.name:
        raise Failure("-o writes text and weights: give it a name, such as net.cnn")
    if path.suffix != ENDING:
        raise Failure(f"-o writes text and weights: call it {path.with_suffix(ENDING)}")
    return str(path.with_suffix(".safetensors"))


def claim(paths: list[str], force: bool) -> None:
    """Whether all may be written, before anything takes long. Raises Failure."""
    for path in paths:
        if not Path(path).parent.is_dir():
            raise Failure(f"cannot write {path}: no such folder")
        if Path(path).is_dir():
            raise Failure(f"cannot write {path}: is a directory")
        if os.path.lexists(path) and not force:
            raise Failure(f"{path} exists already: --force replaces it")


def write_both(text_path: str, text: str, weights_path: str, weights: bytes, force: bool) -> None:
    """Writes both files, each whole; when one cannot be written the other is as it was.

    Raises Failure. The weights come first: who sees the text finds what belongs to it.
    """
    write = files.replace if force else files.create
    try:
        kept = _kept(weights_path) if force else None
        try:
            write(weights_path, weights)
            try:
                write(text_path, text.encode())
            except BaseException:
                _undo(weights_path, kept)
                raise
        finally:
            if kept is not None:
                with suppress(OSError):
                    os.unlink(kept)
    except FileExistsError as problem:
        raise Failure(
            f"{problem.filename2 or problem.filename} exists already: nothing was written"
        ) from problem
    except OSError as problem:
        raise Failure(f"cannot write {text_path} and its weights: {words(problem)}") from problem


def _kept(path: str) -> str | None:
    """A second name for a file that is about to be replaced."""
    target = os.path.realpath(path)
    if not os.path.exists(target):
        return None
    folder = tempfile.mkdtemp(prefix=".cnndsl-", dir=os.path.dirname(target))
    os.rmdir(folder)
    try:
        os.link(target, folder)
    except OSError as problem:
        if problem.errno not in files.NO_LINKS:
            raise
        _copy(target, folder)
    return folder


def _copy(target: str, new: str) -> None:
    try:
        shutil.copy2(target, new)
    except BaseException:
        with suppress(OSError):
            os.unlink(new)
        raise


def _undo(path: str, kept: str | None) -> None:
    with suppress(OSError):
        if kept is None:
            os.unlink(path)
        else:
            os.replace(kept, os.path.realpath(path))
