"""``cnndsl import json``: a graph that another program wrote, as text."""

from __future__ import annotations

import sys

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import STDIN, Failure, words, write_atomic, write_new
from cnndsl.cli.options import limit_option
from cnndsl.cli.terminal import line, out
from cnndsl.diagnostics.display import escape
from cnndsl.graph.from_json import MOST_BYTES, JsonProblem, read_graph
from cnndsl.limits import Limits


@click.command("json")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="NET.cnn", help="Where to; without it, or with -, stdout.")
@click.option("--force", is_flag=True, help="Replace NET.cnn if it exists.")
@limit_option
def command(file: str, output: str | None, force: bool, limits: Limits) -> int:
    """Turn a graph as JSON into a .cnn file with the same steps, names and sizes.

    FILE follows cnndsl/schemas/graph-1.json, as `cnndsl export json` writes it. It is checked as
    it is read; what is wrong is told with its place in the document, and nothing is written.
    """
    try:
        graph = read_graph(_read(file), limits)
    except JsonProblem as problem:
        raise Failure(f"{file}: {problem}") from None
    from cnndsl.importers.text import text_of

    text = text_of(graph, keep=True).text
    if output is None or output == STDIN:
        out(text)
        return OK
    write = write_atomic if force else write_new
    write(output, text.encode())
    line(f"wrote {escape(output)}: {len(graph):,} nodes in {len(text.splitlines()):,} lines")
    return OK


def _read(name: str) -> bytes:
    """The bytes, and one more than are read where there are too many."""
    if name == STDIN:
        if sys.stdin is None:
            raise Failure("cannot read stdin: it is closed")
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    try:
        with open(name, "rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as problem:
        said = words(problem) if isinstance(problem, OSError) else str(problem)
        raise Failure(f"cannot read {name}: {said}") from None
