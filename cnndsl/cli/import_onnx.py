"""``cnndsl import onnx``: a model of another program as text and weights."""

from __future__ import annotations

from pathlib import Path

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import STDIN, Failure, called, read_bounded
from cnndsl.cli.import_files import Target, name_option
from cnndsl.cli.options import limit_option
from cnndsl.limits import PROTOBUF_BYTES, Limits


@click.command("onnx")
@click.argument("model", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="NET.cnn", help="Where to; weights go beside it.")
@name_option("the graph's or the file's")
@click.option("--force", is_flag=True, help="Replace NET.cnn and its weights if they exist.")
@limit_option
def command(model: str, output: str | None, name: str | None, force: bool, limits: Limits) -> int:
    """Turn an ONNX model into a .cnn file and a .safetensors file with its weights.

    Layers are recognised from ONNX's operators, and repeats become blocks. The text is then
    compiled and run beside the model under onnxruntime; it is written when both compute the
    same. What the language has no layer for is told with its node, and nothing is written.
    Without -o, or with -, the text goes to stdout and the weights nowhere.
    """
    target = Target.claimed(output, force)
    data = read_bounded(model, PROTOBUF_BYTES)
    from cnndsl.importers.base import ImportProblem
    from cnndsl.importers.onnx import import_onnx

    try:
        path = Path(model)
        folder = None if model == STDIN else path.parent
        written = import_onnx(data, name=name, file=path.stem, folder=folder, limits=limits)
    except ImportProblem as problem:
        raise Failure(f"{called(model)}: {problem}") from None
    target.write_proven(written, "onnxruntime")
    return OK
