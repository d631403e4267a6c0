"""``cnndsl weights check``: whether a file of weights fits a net, and what keeps it from it."""

from __future__ import annotations

import click

from cnndsl.checkpoints.files import read
from cnndsl.checkpoints.report import lines
from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.terminal import line
from cnndsl.cli.weights import matched, other_steps, reading
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
    from cnndsl.checkpoints.save import weigh

    described = wanted.network(file, root, limits)
    with reading(weights):
        checkpoint = read(weights)
    contents = checkpoint.contents
    found = matched(weights, dict(contents.specs), described, map_file, reinit)
    weigh(found, checkpoint.tensors)
    answer = "fits" if found.fits else "does not fit"
    line(f"{escape(weights)} {answer} {described.graph.name}")
    for text in lines(found):
        line(f"  {text}")
    for text in other_steps(weights, contents, described, reinit):
        line(text)
    return OK if found.fits else WRONG
