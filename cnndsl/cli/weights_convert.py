"""``cnndsl weights convert``: foreign weights under a net's own names, with its text."""

from __future__ import annotations

import click

from cnndsl.checkpoints.bounds import FLOATING, WeightsError
from cnndsl.checkpoints.files import ENDING, read, to_bytes
from cnndsl.checkpoints.match import Match
from cnndsl.checkpoints.report import lines
from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.outputs import STDOUT, claim_bytes, put_bytes
from cnndsl.cli.terminal import err, line
from cnndsl.cli.weights import matched, other_steps, reading
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits


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
@click.option("--force", is_flag=True, help="Replace OUT.safetensors if it exists.")
@network_options
@source_options
def command(
    weights: str, file: str, output: str, map_file: str | None, reinit: tuple[str, ...],
    dtype: str | None, seed: int, force: bool, wanted: Wanted, root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Write the weights of FILE under a net's own names, together with its text.

    Names are taken as they are, then by the map file, then by structure where that is clear.
    The file stands alone: `cnndsl.restore("OUT.safetensors")` is the trained module.
    """
    described = wanted.network(file, root, limits)
    claim_bytes(output, force, "a .safetensors file", ENDING)
    with reading(weights):
        checkpoint = read(weights)
    found = matched(weights, dict(checkpoint.contents.specs), described, map_file, reinit)
    say = err if output == STDOUT else line
    if not found.fits:
        raise Failure(_refusal(weights, found))
    notes = other_steps(weights, checkpoint.contents, described, reinit)
    for text in (*lines(found), *notes):
        say(text)
    data = _converted(described, found, checkpoint.tensors, weights, dtype, seed)
    put_bytes(output, data)
    say(f"wrote {escape(output)}, {len(data):,} bytes, with the text of {described.graph.name}")
    return OK


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
