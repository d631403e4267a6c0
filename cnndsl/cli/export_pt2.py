"""``cnndsl export pt2``: a net as a ``torch.export`` program."""

from __future__ import annotations

from functools import partial

import click

from cnndsl.backends.torch.mark import WHAT, is_ours
from cnndsl.cli.exporting import Form, Order, deliver, kernels_option, order_options


@click.command("pt2")
@order_options(optimize=0)
@kernels_option("which cnndsl brings where the program is loaded.")
def command(order: Order, optimize: int, kernels: str) -> int:
    """Write a net as a torch.export program, which PyTorch loads without cnndsl.

    torch.export.load(FILE).module() gives a module in eval mode; several outputs come as a
    dictionary by name. The batch is free, and so are H and W where the text leaves them free
    and torch.export can state it; else they are fixed, and that is said. It is written only
    if it computes what the net computes.

    With --kernels triton, `import cnndsl.kernels.library` has to come before it is loaded; moved
    to a GPU it runs cnndsl's fused kernels, on a CPU the same steps by PyTorch's operators.
    """
    from cnndsl.exporters.kernels import refuse
    from cnndsl.exporters.pt2 import export_pt2

    export = partial(export_pt2, optimize=optimize, kernels=kernels)
    return deliver(order, Form(WHAT, ".pt2", is_ours, lambda net: refuse(kernels), export))
