"""``cnndsl export json``: the checked graph of a net, for other programs."""

from __future__ import annotations

import click

from cnndsl import files
from cnndsl.cli.app import OK
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.outputs import claim_text, put_text
from cnndsl.diagnostics.display import counted
from cnndsl.limits import Limits


@click.command("json")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="OUT.json", help="Where to; without it, or with -, stdout.")
@click.option("--force", is_flag=True, help="Replace OUT.json even if it was edited.")
@network_options
@source_options
def command(
    file: str, output: str | None, force: bool, wanted: Wanted, root: str | None, limits: Limits
) -> int:
    """Write the graph of a net as JSON: steps, parameters, wires, shapes, keys of weights.

    The schema is cnndsl/schemas/graph-1.json; `cnndsl import json` reads it back. The same net
    gives the same bytes.
    """
    net = wanted.network(file, root, limits)
    claim_text(output, force, "a graph as JSON", ".json", files.is_sealed_json)
    put_text(output, files.sealed_json(net.to_json()), counted(len(net.graph), "node"))
    return OK
