"""``cnndsl import json``: a graph that another program wrote, as text."""

from __future__ import annotations

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure, called, read_bounded
from cnndsl.cli.import_files import Target
from cnndsl.cli.options import limit_option
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
    target = Target.claimed(output, force, weights=False)
    try:
        graph = read_graph(read_bounded(file, MOST_BYTES), limits)
    except JsonProblem as problem:
        raise Failure(f"{called(file)}: {problem}") from None
    from cnndsl.importers.text import text_of

    written = text_of(graph, keep=True)
    target.write(written.text, written.notes)
    return OK
