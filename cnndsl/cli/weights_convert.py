"""``cnndsl weights convert``: foreign weights under a net's own names, with its text."""

from __future__ import annotations

import click

from cnndsl.checkpoints.bounds import FLOATING, WeightsError
from cnndsl.checkpoints.files import ENDING, inspect, read, to_bytes
from cnndsl.checkpoints.match import Match
from cnndsl.checkpoints.report import lines
from cnndsl.cli.app import OK, WRONG
from cnndsl.cli.exporting import claim
from cnndsl.cli.files import Failure, open_program
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.report import report
from cnndsl.cli.terminal import err, line
from cnndsl.cli.weights import STDOUT, choose_first, matched, put, reading
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits

_WHAT = "a .safetensors file"


@click.command("convert")
@click.argument("weights", type=click.Path(), metavar="FILE")
@click.argument("file", type=click.Path(allow_dash=True), metavar="NET.cnn")
@click.option("-o", "output", required=True, metavar="OUT.safetensors", help="-: stdout.")
@click.option("--map", "map_file", metavar="MAPFILE", help="Rules for names that are others here.")
@click.option("--reinit", multiple=True, metavar="MODULE", help="Draw this module's numbers anew.")
@click.option(
    "--dtype", type=click.Choice(FLOATING), help="Of the numbers; by default as they are."
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of --reinit.")
@click.option("--force", is_flag=True, help="Replace OUT even if something else wrote it.")
@network_options
@source_options
def command(
    weights: str, file: str, output: str, map_file: str | None, reinit: tuple[str, ...],
    dtype: str | None, seed: int, force: bool, wanted: Wanted, root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Write the weights of FILE under a net's own names, together with its text.

    Names are taken as they are, then by the map file, then by structure where that is clear.
    The written weights stands alone: `cnndsl.restore("OUT.safetensors")` is the trained module.
    """
    described = wanted.compilation(open_program(file, root, limits))
    report(described.diagnostics)
    if not described.ok:
        return WRONG
    choose_first(described)
    claim(output, force, _WHAT, ENDING, _is_ours)
    with reading(weights):
        checkpoint = read(weights)
    found = matched(weights, dict(checkpoint.contents.specs), described, map_file, reinit)
    say = err if output == STDOUT else line
    if not found.fits:
        raise Failure(_refusal(weights, found))
    for text in lines(found):
        say(text)
    data = _converted(described, found, checkpoint.tensors, weights, dtype, seed)
    put(output, data)
    say(f"wrote {escape(output)}, {len(data):,} bytes, with the text of {described.graph.name}")
    return OK


def _is_ours(output: str) -> bool:
    try:
        return inspect(output).origin is not None
    except (WeightsError, OSError, ModuleNotFoundError):
        return False


def _refusal(file: str, found: Match) -> str:
    told = "".join(f"\n  {text}" for text in lines(found))
    return f"{file} does not fit {found.net}; nothing was written{told}"


def _converted(
    net: Compilation, found: Match, tensors: object, file: str, dtype: str | None, seed: int
) -> bytes:
    from cnndsl.checkpoints.save import converted

    try:
        state = converted(net.graph, found, tensors, dtype=dtype, seed=seed)  # type: ignore[arg-type]
        return to_bytes(state, net.origin())
    except WeightsError as problem:
        raise Failure(f"{file}: {problem}") from problem
