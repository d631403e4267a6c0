"""``cnndsl export python``: a net as PyTorch source that a person would have written."""

from __future__ import annotations

import os

import click

from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.exporting import claim
from cnndsl.cli.files import STDIN, Failure, open_program, write_atomic
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.report import report
from cnndsl.cli.terminal import line, out
from cnndsl.diagnostics import CnnError
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits
from cnndsl.semantics import errors

_HEAD = 300  # characters in which the mark stands, where a file is ours


@click.command("python")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="OUT.py", help="Where to; without it, or with -, stdout.")
@click.option("--folded", is_flag=True, help="The inference form; see above.")
@click.option("--force", is_flag=True, help="Replace OUT.py even if something else wrote it.")
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
    net = wanted.compilation(open_program(file, root, limits))
    report(net.diagnostics)
    if not net.ok:
        return WRONG
    if net.open_choices:
        first = net.open_choices[0]
        raise CnnError([errors.no_choice(first.span, first.path, first.options)])
    from cnndsl.exporters.python import Unsupported, export_python

    try:
        text = export_python(net, fold=folded)
    except Unsupported as problem:
        raise Failure(str(problem)) from None
    if output is None or output == STDIN:
        out(text)
        return OK
    claim(output, force, "Python source", ".py", _is_ours)
    write_atomic(output, text.encode("ascii"))
    line(f"wrote {escape(output)}: {text.count(chr(10)):,} lines")
    return OK


def _is_ours(path: str) -> bool:
    from cnndsl.exporters.python import MARK

    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return MARK.encode() in file.read(_HEAD)
