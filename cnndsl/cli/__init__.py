"""The command line. One file per command; a command is loaded only when it is used.

Reports and artefacts go to stdout, diagnostics and progress to stderr. Exit codes: 0 fine,
1 the text has errors, 2 wrong usage, unreadable files or a defect of ours, 130 interrupted.
"""

from __future__ import annotations

import sys

from cnndsl.cli.app import app
from cnndsl.cli.memory import UNBOUNDED, bound, lift


def main() -> None:
    """The ``cnndsl`` script; ends the process."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command not in UNBOUNDED:
        bound()
    try:
        app.main(prog_name="cnndsl")
    finally:
        lift()  # its timer must not meet an interpreter that is being taken down


__all__ = ["app", "main"]
