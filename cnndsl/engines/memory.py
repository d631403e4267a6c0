"""What was measured before, on this machine, by this user.

One small JSON file per entry, in a folder that only the user may write to. A file that is
damaged, too large or not ours is a miss; a folder that is not safe means no memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MOST_BYTES = 16_384


def folder() -> Path:
    """``$CNNDSL_CACHE``, or the user's cache folder as the platform has it."""
    given = os.environ.get("CNNDSL_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cnndsl"


def recall(key: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was remembered under this key, or None."""
    place = _safe(create=False)
    if place is None:
        return None
    try:
        with open(_file(place, key), "rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        entry = json.loads(data) if len(data) <= _MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("key") != _plain(key):
        return None
    value = entry.get("value")
    return value if isinstance(value, dict) and entry.get("check") == _digest(value) else None


def remember(key: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Writes an entry, whole or not at all; False if there is no safe place for it."""
    place = _safe(create=True)
    if place is None:
        return False
    entry = {"key": _plain(key), "value": dict(value), "check": _digest(dict(value))}
    try:
        handle, name = tempfile.mkstemp(dir=place, suffix=".tmp")
    except OSError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(entry, stream)
        os.replace(name, _file(place, key))
    except OSError:
        Path(name).unlink(missing_ok=True)
        return False
    return True


def _plain(key: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(key, sort_keys=True))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _file(place: Path, key: Mapping[str, Any]) -> Path:
    return place / f"{_digest(_plain(key))[:40]}.json"


def _safe(*, create: bool) -> Path | None:
    """The folder, if nobody else can write to it."""
    place = folder() / "engines"
    try:
        if create:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(place)
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    if os.name == "posix" and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        return None
    return place
