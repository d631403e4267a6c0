"""``cnndsl import onnx``: a model of another program as text and weights."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import STDIN, Failure, words
from cnndsl.cli.import_files import claim, weights_beside, write_both
from cnndsl.cli.options import limit_option
from cnndsl.cli.terminal import line, out
from cnndsl.diagnostics.display import escape
from cnndsl.limits import Limits


@click.command("onnx")
@click.argument("model", type=click.Path(allow_dash=True))
@click.option("-o", "output", metavar="NET.cnn", help="Where to; weights go beside it.")
@click.option("--name", metavar="NAME", help="Of the net; by default the graph's or the file's.")
@click.option("--force", is_flag=True, help="Replace NET.cnn and its weights if they exist.")
@limit_option
def command(model: str, output: str | None, name: str | None, force: bool, limits: Limits) -> int:
    """Turn an ONNX model into a .cnn file and a .safetensors file with its weights.

    Layers are recognised from ONNX's operators, and repeats become blocks. The text is then
    compiled and run beside the model under onnxruntime; it is written when both compute the
    same. What the language has no layer for is told with its node, and nothing is written.
    Without -o, or with -, the text goes to stdout and the weights nowhere.
    """
    weights = None
    if output is not None and output != STDIN:
        weights = weights_beside(output)
        claim([output, weights], force)
    data = _read(model)
    from cnndsl.importers.base import ImportProblem
    from cnndsl.importers.onnx import import_onnx

    try:
        written = import_onnx(data, name=name, file=Path(model).stem, limits=limits)
    except ImportProblem as problem:
        raise Failure(f"{model}: {problem}") from None
    if output is None or weights is None:
        out(written.text)
        return OK
    write_both(output, written.text, weights, written.to_bytes(), force)
    for note in written.notes:
        line(f"note: {escape(note)}")
    parameters = sum(value.numel() for value in written.state.values())
    line(f"wrote {escape(output)}: {len(written.text.splitlines()):,} lines")
    line(f"wrote {escape(weights)}: {parameters:,} numbers")
    line(f"largest difference to onnxruntime: {written.difference}")
    return OK


def _read(name: str) -> bytes:
    """The bytes; one more than are read where there are too many."""
    from cnndsl.importers.onnx.model import FILE_BYTES

    if name == STDIN:
        if sys.stdin is None:
            raise Failure("cannot read stdin: it is closed")
        return sys.stdin.buffer.read(FILE_BYTES + 1)
    if Path(name).is_fifo():
        raise Failure(f"cannot read {name}: it is a pipe")
    try:
        with open(name, "rb") as file:
            return file.read(FILE_BYTES + 1)
    except (OSError, ValueError) as problem:
        said = words(problem) if isinstance(problem, OSError) else str(problem)
        raise Failure(f"cannot read {name}: {said}") from None
