"""``cnndsl export onnx``: a net as an ONNX model that onnxruntime has run."""

from __future__ import annotations

from functools import partial

import click

from cnndsl.cli.exporting import Form, Order, deliver, order_options


@click.command("onnx")
@order_options(optimize=0)
@click.option(
    "--opset", type=click.IntRange(1), help="By default the lowest that has every operator."
)
def command(order: Order, optimize: int, opset: int | None) -> int:
    """Write a net as an ONNX model, float32, for inference.

    Weights are called as in the state_dict, nodes as the modules, outputs as in the text. The
    batch is free, and so are H and W where the text leaves them free. The model carries the
    net's text. It is written only if onnx.checker takes it and onnxruntime computes what
    PyTorch computes, at two sizes and two batches; the largest difference is printed.
    """
    from cnndsl.exporters import onnx

    export = partial(onnx.export_onnx, optimize=optimize, opset=opset)
    return deliver(order, Form("an ONNX model", ".onnx", onnx.is_ours, onnx.refuse, export))
