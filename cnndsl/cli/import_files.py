"""What an import leaves: a text and the weights beside it, both or neither."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from cnndsl import files
from cnndsl.checkpoints.files import ENDING as WEIGHTS
from cnndsl.cli.files import STDIN, Failure, words, write_atomic, write_new
from cnndsl.cli.outputs import claim
from cnndsl.cli.terminal import err, line, out
from cnndsl.diagnostics.display import counted, escape
from cnndsl.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from cnndsl.importers.base import Written

Command = TypeVar("Command", bound=Callable[..., Any])
TEXT = ".cnn"


class Target(NamedTuple):
    """Where an import goes: without a text to stdout, without weights these go nowhere."""

    text: str | None
    weights: str | None
    force: bool

    @classmethod
    def claimed(cls, output: str | None, force: bool, *, weights: bool = True) -> Target:
        """What ``-o`` and ``--force`` ask for. Raises Failure when it cannot be had."""
        if output is None or output == STDIN:
            return cls(None, None, force)
        what = "text and weights" if weights else "text"
        claim(output, force, what, TEXT)
        beside = str(Path(output).with_suffix(WEIGHTS)) if weights else None
        if beside is not None:
            claim(beside, force, what, WEIGHTS)
        return cls(output, beside, force)

    def say(self, told: str) -> None:
        """A line of the report, which must not get into a text on stdout."""
        (err if self.text is None else line)(told)

    def write(self, text: str, notes: Iterable[str] = ()) -> None:
        """The text alone. Raises Failure."""
        self._tell(notes)
        if self.text is None:
            out(text)
            return
        (write_atomic if self.force else write_new)(self.text, text.encode())
        self._wrote_text(text)

    def write_proven(self, written: Written, original: str) -> None:
        """Text and weights, and how far they are from the original's results. Raises Failure."""
        if self.text is None or self.weights is None:
            self.write(written.text, written.notes)
        else:
            write_both(self.text, written.text, self.weights, written.to_bytes(), self.force)
            self._tell(written.notes)
            self._wrote_text(written.text)
            numbers = sum(value.numel() for value in written.state.values())
            self.say(f"wrote {escape(self.weights)}: {counted(numbers, 'number')}")
        self.say(f"largest difference to {original}: {written.difference}")

    def _tell(self, notes: Iterable[str]) -> None:
        for note in notes:
            self.say(f"note: {escape(note)}")

    def _wrote_text(self, text: str) -> None:
        self.say(f"wrote {escape(self.text or '')}: {counted(len(text.splitlines()), 'line')}")


def name_option(instead: str) -> Callable[[Command], Command]:
    """``--name`` of the net, which is taken as it is or refused; without it, ``instead``."""
    return click.option(
        "--name", metavar="NAME", callback=_checked, help=f"Of the net; by default {instead}."
    )


def _checked(context: click.Context, option: click.Parameter, name: str | None) -> str | None:
    from cnndsl.graph.names import is_net_name

    if name is not None and not is_net_name(name, DEFAULT_LIMITS):
        rule = "letters, digits and _, no digit first, and no word of the language"
        raise click.UsageError(f"--name `{name}` cannot name a net: {rule}", context)
    return name


def write_both(text_path: str, text: str, weights_path: str, weights: bytes, force: bool) -> None:
    """Writes both files, each whole; when one cannot be written the other is as it was.

    Raises Failure. The weights come first: who sees the text finds what belongs to it, and who
    finds them beside an older text can tell, as they carry their own.
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
