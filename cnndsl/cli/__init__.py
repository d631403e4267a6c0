"""The command line. One file per command; a command is loaded only when it is used.

Reports and artefacts go to stdout, diagnostics and progress to stderr. Exit codes: 0 fine,
1 the text has errors, 2 wrong usage, unreadable files or a defect of ours, 130 interrupted.
"""

from __future__ import annotations

from cnndsl.cli.app import app


def main() -> None:
    """The ``cnndsl`` script; ends the process."""
    app.main(prog_name="cnndsl")


__all__ = ["app", "main"]
