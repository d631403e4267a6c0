"""``cnndsl export pt2``: a net as a ``torch.export`` program."""

from __future__ import annotations

from functools import partial

import click

from cnndsl.backends.torch.mark import WHAT, is_ours
from cnndsl.cli.exporting import Form, Order, deliver, order_options


@click.command("pt2")
@order_options(optimize=0)
def command(order: Order, optimize: int) -> int:
    """Write a net as a torch.export program, which PyTorch loads without cnndsl.

    torch.export.load(FILE).module() gives a module in eval mode; several outputs come as a
    dictionary by name. The batch is free, and so are H and W where the text leaves them free
    and torch.export can state it; else they are fixed, and that is said. It is written only
    if it computes what the net computes.
    """
    from cnndsl.exporters.pt2 import export_pt2

    export = partial(export_pt2, optimize=optimize)
    return deliver(order, Form(WHAT, ".pt2", is_ours, lambda net: None, export))
