"""``cnndsl import …``: each form of it is a command of its own."""

from __future__ import annotations

from cnndsl.cli.commands import group

command = group("import", "Turn another program's network into readable text.")
