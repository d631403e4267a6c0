"""``cnndsl weights …``: each form of it is a command of its own."""

from __future__ import annotations

from cnndsl.cli.commands import group

command = group(
    "weights", "Look into files of weights, check, convert and rename them.",
    "show", "check", "convert", "map",
)  # fmt: skip
