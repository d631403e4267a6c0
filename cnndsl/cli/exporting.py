"""What the exports that hold weights have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.options import Wanted, network_options, source_options
from cnndsl.cli.outputs import STDOUT, claim_bytes, put_bytes
from cnndsl.cli.terminal import err, line
from cnndsl.cli.weights import carried, load_weights
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape
from cnndsl.exporters.kernels import KERNELS, PLAIN
from cnndsl.limits import Limits

if TYPE_CHECKING:
    from cnndsl.backends.torch.module import Network
    from cnndsl.exporters.proof import Exported

Command = TypeVar("Command", bound=Callable[..., Any])


class Form(NamedTuple):
    """One kind of file: how it is called, known again, refused early, and made."""

    what: str
    suffix: str
    is_ours: Callable[[str], bool]
    refuse: Callable[[Compilation], None]
    export: Callable[[Compilation, Network], Exported]


class Order(NamedTuple):
    """What was asked for on the command line."""

    file: str
    output: str
    weights: str | None
    seed: int | None
    force: bool
    wanted: Wanted
    root: str | None
    limits: Limits


def order_options(optimize: int) -> Callable[[Command], Command]:
    """Everything of an ``Order``, as one ``order`` argument, and ``--optimize``."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def collected(
            file: str, output: str, weights: str | None, seed: int | None, force: bool,
            wanted: Wanted, root: str | None, limits: Limits, optimize: int, **rest: Any,
        ) -> Any:  # fmt: skip
            if optimize not in (0, 1):
                raise Failure(f"--optimize {optimize}: the levels are 0 and 1")
            order = Order(file, output, weights, seed, force, wanted, root, limits)
            return command(order=order, optimize=optimize, **rest)

        options = (
            click.argument("file", type=click.Path(allow_dash=True)),
            click.option("-o", "output", required=True, metavar="OUT", help="Where to; -: stdout."),
            click.option("--weights", metavar="FILE", help="Trained ones; by default random."),
            click.option(
                "--seed", type=click.IntRange(0, 2**63 - 1), help="Of random weights; by default 0."
            ),
            click.option(
                "--optimize", type=int, default=optimize, show_default=True, metavar="LEVEL",
                help="1: rewritten, norms folded; 0: as in the text.",
            ),
            click.option("--force", is_flag=True, help="Replace what something else wrote."),
            network_options,
            source_options,
        )  # fmt: skip
        for option in reversed(options):
            collected = option(collected)
        return cast(Command, collected)

    return decorate


def kernels_option(doc: str) -> Callable[[Command], Command]:
    """``--kernels``: what the fused steps of a program are; ``doc`` is of ``triton``."""
    return click.option(
        "--kernels", type=click.Choice(KERNELS), default=PLAIN, show_default=True,
        help=f"plain: PyTorch's operators; triton: fused steps as Triton kernels, {doc}",
    )  # fmt: skip


def deliver(order: Order, form: Form) -> int:
    """Makes the file, proves it, writes it whole or not at all; the exit code."""
    net = order.wanted.network(order.file, order.root, order.limits)
    claim_bytes(order.output, order.force, form.what, form.suffix, form.is_ours)
    say = err if order.output == STDOUT else line
    from cnndsl.views.facts import facts_line

    say(facts_line(net.graph))
    with_reasons(form.refuse, net)
    network, said = _network(order, net)
    say(said)
    write(with_reasons(form.export, net, network), order.output, say)
    return OK


def with_reasons(function: Callable[..., Any], *given: Any) -> Any:
    """Calls it; what it refuses ends the command."""
    from cnndsl.exporters.proof import ExportError

    try:
        return function(*given)
    except ExportError as problem:
        raise Failure(str(problem)) from None
    except RuntimeError as problem:
        if "memory" not in str(problem):  # torch has no class for this on every device
            raise
        raise Failure("not enough memory: take a smaller --at") from problem


def write(exported: Exported, output: str, say: Callable[[str], None]) -> None:
    """The file, and what is to be said of it."""
    put_bytes(output, exported.data)
    for note in (*exported.notes, exported.proof.text()):
        say(note)
    say(f"wrote {escape(output)}, {len(exported.data):,} bytes")


def _network(order: Order, net: Compilation) -> tuple[Network, str]:
    weights = carried(net, order.file) if order.weights is None else order.weights
    if weights is not None and order.seed is not None:
        raise Failure(f"--seed is of random weights, and these come from {weights}")
    seed = order.seed or 0
    try:
        import torch
    except ImportError:
        net.compile()  # says what is missing
        raise
    torch.manual_seed(seed)
    network = net.compile(optimize=0).eval()
    if weights is None:
        return network, f"random weights, seed {seed}"
    return network, load_weights(network, weights, net)
