"""``cnndsl export json``: the checked graph of a net, for other programs."""

from __future__ import annotations

import json
import os

import click

from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.exporting import claim
from cnndsl.cli.files import STDIN, open_program, write_atomic
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.report import report
from cnndsl.cli.terminal import line, out
from cnndsl.diagnostics import CnnError
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits
from cnndsl.semantics import errors

_MARK = b'"schema": "cnndsl.graph/'
_HEAD = 256  # bytes in which the mark stands, where a document is ours


@click.command("json")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="OUT.json", help="Where to; without it, or with -, stdout.")
@click.option("--force", is_flag=True, help="Replace OUT.json even if it is no such graph.")
@network_options
@source_options
def command(
    file: str, output: str | None, force: bool, wanted: Wanted, root: str | None, limits: Limits
) -> int:
    """Write the graph of a net as JSON: steps, parameters, wires, shapes, keys of weights.

    The schema is cnndsl/schemas/graph-1.json; `cnndsl import json` reads it back. The same net
    gives the same bytes.
    """
    net = wanted.compilation(open_program(file, root, limits))
    report(net.diagnostics)
    if not net.ok:
        return WRONG
    if net.open_choices:
        first = net.open_choices[0]
        raise CnnError([errors.no_choice(first.span, first.path, first.options)])
    text = json.dumps(net.to_json(), indent=1) + "\n"
    if output is None or output == STDIN:
        out(text)
        return OK
    claim(output, force, "a graph as JSON", ".json", _is_ours)
    write_atomic(output, text.encode())
    line(f"wrote {escape(output)}: {len(net.graph):,} nodes")
    return OK


def _is_ours(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return _MARK in file.read(_HEAD)
