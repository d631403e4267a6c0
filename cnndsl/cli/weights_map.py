"""``cnndsl weights map``: a map file for foreign names, where structure tells which is which."""

from __future__ import annotations

import click

from cnndsl import files
from cnndsl.checkpoints import rules
from cnndsl.checkpoints.files import inspect
from cnndsl.checkpoints.match import Match
from cnndsl.checkpoints.report import lines, names_between, proposed
from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.outputs import STDOUT, claim_text, put_bytes
from cnndsl.cli.terminal import err
from cnndsl.cli.weights import matched, read_map, reading
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits

_UNCLEAR = "side by side and of one shape: look which is which, then take away `#? `"
_ENDING = ".map"


@click.command("map")
@click.argument("weights", type=click.Path(), metavar="FILE")
@click.argument("file", type=click.Path(allow_dash=True), metavar="NET.cnn")
@click.option("-o", "output", default=STDOUT, metavar="MAPFILE", help="By default stdout.")
@click.option("--map", "map_file", metavar="MAPFILE", help="Rules that are known already.")
@click.option("--force", is_flag=True, help="Replace MAPFILE even if it was edited.")
@network_options
@source_options
def command(
    weights: str, file: str, output: str, map_file: str | None, force: bool, wanted: Wanted,
    root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Propose a map file: which name of FILE means which of the net's.

    What order and shapes do not settle stands in it as a remark, for you to decide; the exit
    code is 1 while anything that the net needs is open.
    """
    described = wanted.network(file, root, limits)
    claim_text(output, force, "a map", _ENDING, files.is_sealed)
    with reading(weights):
        specs = dict(inspect(weights).specs)
    known = matched(weights, specs, described, map_file)
    for text in lines(known):
        err(text)
    if known.aligned is None and not known.fits:
        err(f"no map: {escape(weights)} and {described.graph.name} differ in order or shapes")
        return WRONG
    put_bytes(output, _text(known, map_file).encode("utf-8"))
    return OK if known.fits else WRONG


def _text(found: Match, map_file: str | None) -> str:
    groups = found.aligned.open if found.aligned else []
    remarks = [
        f"{old} -> {new}"
        for group in groups
        for mine, theirs in group
        for old, new in names_between(mine, theirs)
    ]
    # What is known already did not help these names: the first rule that fits is used.
    return files.sealed(rules.write(
        [*proposed(found), *read_map(map_file).rules], {_UNCLEAR: remarks} if remarks else {}
    ))  # fmt: skip
