"""``cnndsl summary``: a network as a table of its layers."""

from __future__ import annotations

import click

from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.files import Failure, open_program
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.report import report, report_to_machine, write_json
from cnndsl.cli.terminal import out
from cnndsl.limits import Limits

_STYLES = ("default", "cs231n", "eecs498")
_FORMATS = ("text", "markdown", "csv", "latex", "json")


@click.command("summary")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--style", type=click.Choice(_STYLES), default="default", help="Which columns.")
@click.option("--formulas", is_flag=True, help="Show how each number comes about.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Levels of blocks to open.")
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="text", help="Of the table.")
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@network_options
@source_options
def command(
    file: str, style: str, formulas: bool, depth: int | None, kind: str, as_json: bool,
    wanted: Wanted, root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Show layers, shapes, parameters, multiply-accumulates, memory and receptive fields.

    Sizes left open are 224, or the next valid size; fix them with --at. Equal blocks in a
    row are folded. csv and json list every layer. Of a net that is wrong, what is known
    is shown; as json, what is wrong, as `cnndsl check --json` tells it.
    """
    from cnndsl.views.partial import partial_table
    from cnndsl.views.table import FORMATS

    net = wanted.compilation(open_program(file, root, limits))
    kind = "json" if as_json else kind
    if not net.ok:
        if kind == "json":
            report_to_machine(kind, net.diagnostics, [])
            return WRONG
        partial = net.expansion.partial
        if partial is not None:
            out(FORMATS[kind](partial_table(partial)))
        report(net.diagnostics)
        return WRONG
    report(net.diagnostics)
    from cnndsl.views.summary import Summary

    summary = Summary(net.graph, _sizes(net.graph.facts.reference()))
    if kind == "json":
        write_json(summary.to_json())
    else:
        flat = kind == "csv"
        out(FORMATS[kind](summary.table(style, depth=depth, with_formulas=formulas, flat=flat)))
    return OK


def _sizes(sizes: dict[str, int]) -> dict[str, int]:
    if any(size > 10**6 for size in sizes.values()):
        raise Failure("the smallest valid size is beyond a million; fix another with --at")
    return sizes
