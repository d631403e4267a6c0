"""``cnndsl import torch``: a PyTorch module as text and weights. It runs the module's code."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from cnndsl.cli.app import OK
from cnndsl.cli.files import Failure
from cnndsl.cli.import_files import Target, name_option
from cnndsl.cli.options import limit_option
from cnndsl.limits import Limits

if TYPE_CHECKING:
    from torch import nn

_LARGEST = 2**28  # numbers of one example


@click.command("torch")
@click.argument("factory", metavar="PACKAGE.MODULE:FACTORY")
@click.option(
    "--example", multiple=True, metavar="1,3,224,224", default=("1,3,224,224",), show_default=True,
    help="The shape of an input; once for each.",
)  # fmt: skip
@click.option("-o", "output", metavar="NET.cnn", help="Where to; weights go beside it.")
@name_option("the module's class")
@click.option("--no-weights", is_flag=True, help="Write the text alone.")
@click.option("--force", is_flag=True, help="Replace NET.cnn and its weights if they exist.")
@limit_option
def command(
    factory: str, example: tuple[str, ...], output: str | None, name: str | None,
    no_weights: bool, force: bool, limits: Limits,
) -> int:  # fmt: skip
    """Turn a PyTorch module into a .cnn file and a .safetensors file with its weights.

    This RUNS CODE: it imports PACKAGE.MODULE, from the current folder too, and calls FACTORY
    without arguments, which gives an nn.Module (or is one). Use it for code that you trust.

    The module is recorded with torch.export in eval mode; its module paths become the text's
    labels, so its state_dict fits as it is. The text is then compiled and run beside the module;
    it is written when both compute the same. What the language has no layer for is told with the
    module and the operator, and nothing is written. Without -o, or with -, the text goes to stdout.
    """
    target = Target.claimed(output, force, weights=not no_weights)
    place, shapes = _place(factory), [_shape(text) for text in example]
    import torch

    from cnndsl.importers.base import ImportProblem
    from cnndsl.importers.torch.network import import_module

    try:
        with redirect_stdout(sys.stderr):  # what their code says must not get into a text
            module, inputs = _made(factory, *place), [torch.zeros(shape) for shape in shapes]
            written = import_module(module, inputs, name=name, limits=limits)
    except ImportProblem as problem:
        raise Failure(f"{factory}: {problem}") from None
    target.write_proven(written, "the module")
    return OK


def _place(factory: str) -> tuple[str, str]:
    """The Python module and the attribute that are named; nothing is imported yet."""
    module_name, sign, attribute = factory.partition(":")
    if not sign or not module_name or not attribute:
        raise Failure(f"`{factory}` is not of the form package.module:factory")
    if module_name.endswith(".py"):
        module = module_name[:-3].replace("/", ".").lstrip(".")
        raise Failure(f"`{module_name}` is a file: name its module, `{module}`")
    return module_name, attribute


def _made(factory: str, module_name: str, attribute: str) -> nn.Module:
    """The module; Failure in one sentence for whatever its code raises."""
    from torch import nn

    found = _found(factory, module_name, attribute)
    if not isinstance(found, nn.Module):
        try:
            found = found()
        except (Exception, SystemExit) as problem:
            raise Failure(f"{factory}: calling it fails: {_said(problem)}") from problem
    if not isinstance(found, nn.Module):
        raise Failure(f"{factory}: it gives {type(found).__name__}, not an nn.Module")
    return found


def _found(factory: str, module_name: str, attribute: str) -> Any:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as problem:  # a script that looks at its arguments exits
        raise Failure(f"{factory}: importing it fails: {_said(problem)}") from problem
    return found


def _said(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}".partition("\n")[0]


def _shape(text: str) -> list[int]:
    """Of an example, batch first."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise click.UsageError(f"--example takes a shape such as 1,3,224,224, not `{text}`")
    shape = [int(part) for part in parts]
    total = 1
    for size in shape:
        total *= size
    if not 0 < total <= _LARGEST:
        raise click.UsageError(f"--example {text}: between 1 and {_LARGEST:,} numbers")
    return shape
