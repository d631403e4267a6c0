"""``cnndsl import …``: each form of it is a command of its own."""

from __future__ import annotations

from cnndsl.cli.commands import group

HELP = "Turn another program's network into readable text."

command = group("import", HELP, "json", "onnx", "torch")
