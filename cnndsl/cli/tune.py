"""``cnndsl tune``: time the kernels that a net may need, on the GPU that is here."""

from __future__ import annotations

import math
import time
from importlib.util import find_spec

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.terminal import err, line
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits

_SIZE = click.IntRange(1, 65536)


@click.command("tune")
@click.argument("file", type=click.Path(allow_dash=True))
@click.argument("more", type=_SIZE, nargs=-1, metavar="[--batch N…]")
@click.option("--batch", type=_SIZE, multiple=True, default=[1], help="Samples per run; several.")
@click.option(
    "--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), default="bfloat16",
    show_default=True, help="What is computed in.",
)  # fmt: skip
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin nothing after so many."
)
@network_options
@source_options
def command(
    file: str, more: tuple[int, ...], batch: tuple[int, ...], dtype: str, minutes: float | None,
    wanted: Wanted, root: str | None, limits: Limits,
) -> int:  # fmt: skip
    """Time every kernel that could compute a part of a net, and remember what was fastest.

    Needs a GPU. What was measured before is not measured again, so that a run that was cut off
    goes on; `compile --engine triton` plans with it from then on.
    """
    net = wanted.network(file, root, limits)
    _need_gpu()
    deadline = time.monotonic() + 60 * (math.inf if minutes is None else minutes)
    for size in dict.fromkeys((*batch, *more)):
        if not _tune(net, size, dtype, deadline):
            err("the time is up: the same command goes on from here")
            break
    return OK


def _need_gpu() -> None:
    if find_spec("torch") is None or find_spec("triton") is None:
        raise Failure("`tune` needs torch and triton, and one is not installed")
    import torch

    if not torch.cuda.is_available():
        raise Failure("there is no GPU here: `tune` times kernels on one")


def _tune(net: Compilation, batch: int, dtype: str, deadline: float) -> bool:
    """Whether there was time for everything."""
    import torch

    from cnndsl.kernels.plan.choice import Chooser
    from cnndsl.kernels.plan.device import present
    from cnndsl.kernels.plan.measure import NowhereToKeepError, Tuner
    from cnndsl.kernels.plan.planner import plan, rewritten
    from cnndsl.kernels.plan.report import head
    from cnndsl.kernels.plan.store import Store
    from cnndsl.passes.flow import Flow

    graph, wanted = net.decided(), getattr(torch, dtype)
    flow = rewritten(Flow(graph), graph.facts.reference())
    store = Store.here()
    tuner = Tuner(present(), store, lambda text: err(escape(text)), deadline)
    try:
        done = tuner.tune(flow, batch, wanted)
    except NowhereToKeepError as problem:
        raise Failure(f"{problem}: set CNNDSL_CACHE to a folder of your own") from None
    chooser = Chooser(present(), store, store.known)
    line(head(plan(flow, batch, wanted, chooser), chooser))
    return done
