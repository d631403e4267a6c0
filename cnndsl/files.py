"""Files that are written: there whole or not at all, whatever fails on the way.

Texts that are written for people may carry a seal: they are replaced while nobody has edited them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What systems of files answer that have no second names: exFAT, shares of Windows."""

_SEAL = "# cnndsl replaces this file only while nothing above is changed: "
_FIELD = "digest"
_DIGITS = 16
_SEALED_BYTES = 2**26  # of a text with a seal; what is longer is not ours


def replace(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Replaces a file, or makes it: at every moment it holds the old content or the new.

    Keeps the mode of a file that was there; a link keeps pointing where it did.
    Raises OSError, for a pipe or a device too: `/dev/null` must not become a file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    _write(target, data, os.replace)


def create(path: str | os.PathLike[str], data: bytes) -> None:
    """Makes a file that must not exist, whole or not at all; FileExistsError when it does."""
    _write(Path(path), data, _move_to_free)


def _move_to_free(temporary: str, target: Path) -> None:
    """Gives a file a name that nothing has, as ``os.link`` does at once where there are links."""
    try:
        os.link(temporary, target)
    except OSError as problem:
        if problem.errno not in NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(temporary, target)
        except BaseException:
            os.unlink(target)
            raise


def _write(target: Path, data: bytes | memoryview, move: Callable[[str, Path], object]) -> None:
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


# --- what is known of a file that is there ------------------------------------------------------


def head(path: str | os.PathLike[str], most: int) -> bytes:
    """The first bytes of a regular file; none of what is no such file, or is not there.

    A pipe nobody writes to would be waited for. Raises OSError.
    """
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as file:
        return file.read(most)


def sealed(text: str) -> str:
    """The text with a last line, a comment, by which ``is_sealed`` knows it again."""
    return f"{text}{_SEAL}{_digest(text.encode())}\n"


def is_sealed(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds what ``sealed`` gave and nobody has edited it since. Raises OSError."""
    # git may have turned the ends of its lines into those of Windows.
    data = head(path, _SEALED_BYTES).replace(b"\r\n", b"\n")
    text, found, seal = data.rpartition(_SEAL.encode())
    return bool(found) and seal == f"{_digest(text)}\n".encode()


def sealed_json(document: Mapping[str, Any]) -> str:
    """A document as indented JSON with a last field by which ``is_sealed_json`` knows it again."""
    digest = _digest(json.dumps(document).encode())
    return json.dumps({**document, _FIELD: digest}, indent=1) + "\n"


def is_sealed_json(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds a document of ``sealed_json``, in whatever layout, that nobody has
    edited since. Raises OSError."""
    try:
        document = json.loads(head(path, _SEALED_BYTES), object_pairs_hook=_fields)
        digest = document.pop(_FIELD)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return bool(digest == _digest(json.dumps(document).encode()))


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """ValueError for a name that stands twice: the first would be an edit that nobody sees."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_DIGITS]
