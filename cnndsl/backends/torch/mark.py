"""How a file that we wrote is known again, without torch."""

from __future__ import annotations

import os
import zipfile

MARK = "cnndsl.json"
SCHEMA = "cnndsl.export/1"
WHAT = "a torch.export program"


def is_ours(path: str) -> bool:
    """Whether ``cnndsl compile`` wrote the file; only the list of its parts is read."""
    if not os.path.isfile(path):  # a pipe nobody writes to would be waited for
        return False
    # NotImplementedError: it says that it is of a later version than zipfile knows.
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(f"/{MARK}") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
