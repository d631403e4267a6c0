"""``cnndsl new``: a file to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure, write_new
from cnndsl.cli.terminal import line
from cnndsl.diagnostics.display import escape
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source

_FOLDER = Path(__file__).parent / "templates"
TEMPLATES = ("classifier", "residual", "segmentation")


@click.command("new")
@click.argument("name")
@click.option(
    "--template", type=click.Choice(TEMPLATES), default=TEMPLATES[0], help="What to start from."
)
def command(name: str, template: str) -> int:
    """Write NAME.cnn with a network that checks clean; an existing file is never touched."""
    path = Path(name if name.endswith(".cnn") else f"{name}.cnn")
    if path.name.startswith("."):  # nothing before the ending, or a folder
        raise Failure(f"`{name}` gives no name for a file")
    net = _net_name(path.stem)
    text = (_FOLDER / f"{template}.cnn").read_text(encoding="utf-8")
    text = text.replace("NAME", net)
    if not path.name.isprintable():
        raise Failure(f"{path} is no name for a file")
    laid_out, problems = format_source(Source(path.name, text))
    assert laid_out is not None, problems
    write_new(path, laid_out.encode())
    line(f"wrote {escape(str(path))}; next: cnndsl check {escape(str(path))}")
    return OK


def _net_name(stem: str) -> str:
    """``my-net`` is ``MyNet``."""
    words = re.findall(r"[A-Za-z0-9]+", stem)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    if not name or name[0].isdigit():
        raise Failure(f"`{stem}` gives no name for a net: start with a letter")
    return name[:64]
