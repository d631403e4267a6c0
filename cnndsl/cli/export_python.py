"""``cnndsl export python``: a net as PyTorch source that a person would have written."""

from __future__ import annotations

import click

from cnndsl import files
from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.outputs import claim_text, put_text
from cnndsl.diagnostics.display import counted
from cnndsl.limits import Limits


@click.command("python")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="OUT.py", help="Where to; without it, or with -, stdout.")
@click.option("--folded", is_flag=True, help="The inference form; see above.")
@click.option("--force", is_flag=True, help="Replace OUT.py even if it was edited.")
@network_options
@source_options
def command(
    file: str, output: str | None, folded: bool, force: bool, wanted: Wanted,
    root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Write a net as readable PyTorch source: a class per block, torch its only requirement.

    The names of weights, and their order, are those of the compiled net, so a state_dict of
    one loads into the other. --folded puts batch norms into the convolutions and linear layers
    before them and leaves out what only training needs; the file then has a function `fold`
    that turns the plain state_dict into its own. No other rewrites of the optimiser are taken.
    """
    net = wanted.network(file, root, limits)
    claim_text(output, force, "Python source", ".py", files.is_sealed)
    from cnndsl.exporters.python import Unsupported, export_python

    try:
        text = export_python(net, fold=folded)
    except Unsupported as problem:
        raise Failure(str(problem)) from None
    put_text(output, text, counted(len(text.splitlines()), "line"))
    return OK
