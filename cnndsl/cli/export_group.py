"""``cnndsl export …``: each form of it is a command of its own."""

from __future__ import annotations

from cnndsl.cli.commands import group

command = group(
    "export", "Write a net for other programs to load.", "json", "python", "onnx", "pt2", "aoti"
)
