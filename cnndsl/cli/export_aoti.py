"""``cnndsl export aoti``: a net as a compiled library in a package."""

from __future__ import annotations

from functools import partial

import click

from cnndsl.backends.torch.mark import is_ours
from cnndsl.cli.exporting import Form, Order, deliver, kernels_option, order_options


@click.command("aoti")
@order_options(optimize=1)
@kernels_option("for the GPU that is here, one sample and one size.")
def command(order: Order, optimize: int, kernels: str) -> int:
    """Compile a net ahead of time for this machine (AOTInductor); needs a C++ compiler.

    torch._inductor.aoti_load_package(FILE) gives a function of the inputs, as do PyTorch's C++
    libraries. Free sizes and outputs are those of `export pt2`. It is written only if it
    computes what the net computes.
    """
    from cnndsl.exporters.aoti import WHAT, export_aoti, refuse

    export = partial(export_aoti, optimize=optimize, kernels=kernels)
    return deliver(order, Form(WHAT, ".pt2", is_ours, lambda net: refuse(net, kernels), export))
