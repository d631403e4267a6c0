"""``cnndsl weights check``: whether a file of weights fits a net, and what keeps it from it."""

from __future__ import annotations

import click

from cnndsl.checkpoints.files import inspect
from cnndsl.checkpoints.report import lines
from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.files import open_program
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.report import report
from cnndsl.cli.terminal import line
from cnndsl.cli.weights import choose_first, matched, reading
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits


@click.command("check")
@click.argument("weights", type=click.Path(), metavar="FILE")
@click.argument("file", type=click.Path(allow_dash=True), metavar="NET.cnn")
@click.option("--map", "map_file", metavar="MAPFILE", help="Rules for names that are others here.")
@click.option("--reinit", multiple=True, metavar="MODULE", help="Begins again: is not looked for.")
@network_options
@source_options
def command(
    weights: str, file: str, map_file: str | None, reinit: tuple[str, ...], wanted: Wanted,
    root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Say whether the weights of FILE fit a net: what matches, what is missing or differs.

    The exit code is 0 when every number that the net needs is there, and 1 when not.
    """
    described = wanted.compilation(open_program(file, root, limits))
    report(described.diagnostics)
    if not described.ok:
        return WRONG
    choose_first(described)
    with reading(weights):
        specs = dict(inspect(weights).specs)
    found = matched(weights, specs, described, map_file, reinit)
    answer = "fits" if found.fits else "does not fit"
    line(f"{escape(weights)} {answer} {described.graph.name}")
    for text in lines(found):
        line(f"  {text}")
    return OK if found.fits else WRONG
