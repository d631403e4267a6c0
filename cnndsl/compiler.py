"""The ways in: from a text or a file to a program, and in one line to a module.

``load``/``loads`` give a ``Program`` and never raise for a bad text; ``Program.net`` gives a
``Compilation``; only asking that for a graph or a module raises ``CnnError``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cnndsl.checkpoints.bounds import WeightsError
from cnndsl.compilation import Compilation
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.program import Program
from cnndsl.semantics import errors
from cnndsl.semantics.net import Parameter
from cnndsl.source import Source
from cnndsl.space import Space

if TYPE_CHECKING:
    import torch

    from cnndsl.backends.torch.module import Network

__all__ = ["Compilation", "Program", "Space", "compile", "load", "loads", "restore"]


def loads(
    text: str | bytes, *, name: str = "<text>", root: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Program:  # fmt: skip
    """The program of a text; imports are read below ``root`` (without it there are none)."""
    below = Path(root) if root is not None else None
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > limits.file_bytes:
        problem = errors.too_long(name, len(data), limits.file_bytes)
        return Program(Source(name, ""), below, limits, problem)
    if isinstance(text, str):
        return Program(Source(name, text), below, limits)
    try:
        return Program(Source(name, data.decode("utf-8-sig")), below, limits)
    except UnicodeDecodeError as error:
        return Program(Source(name, ""), below, limits, errors.not_text(name, error.start))


def load(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Program:  # fmt: skip
    """The program of a file; imports are read below ``root``, by default the file's folder.

    A ``.safetensors`` file that cnndsl wrote carries its text, and which net of it is meant;
    ``restore`` reads the weights too. A bad text never raises: see ``Program.diagnostics``. A
    file that cannot be read at all raises ``OSError``, weights that are damaged or carry no
    text ``WeightsError``.
    """
    file = Path(path)
    if file.suffix == ".safetensors":
        with _named(path):
            return _beside_weights(path, limits)
    with open(file, "rb") as stream:
        data = stream.read(limits.file_bytes + 1)
    below = root if root is not None else file.parent
    return loads(data, name=str(path), root=below, limits=limits)


def _beside_weights(path: str | os.PathLike[str], limits: Limits) -> Program:
    """The program that a file of weights carries: whole, for it imports nothing from outside."""
    from cnndsl.checkpoints.files import inspect

    origin = inspect(path).origin
    if origin is None:
        raise WeightsError("it carries no text: cnndsl did not write it; give the net's .cnn file")
    size = len(origin.text.encode("utf-8", "surrogatepass"))
    problem = None
    if size > limits.file_bytes:
        problem = errors.too_long(str(path), size, limits.file_bytes)
    given = {key: Source(key, text) for key, text in origin.imports.items()}
    text = "" if problem else origin.text
    return Program(Source(str(path), text), None, limits, problem, given, origin=origin)


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """What is wrong with a file of weights is told with the file's name."""
    try:
        yield
    except WeightsError as problem:
        raise WeightsError(f"{os.fspath(path)}: {problem}") from problem


def restore(
    path: str | os.PathLike[str], *, optimize: int = 1, engine: str = "torch",
    dtype: torch.dtype | None = None,
) -> Network:  # fmt: skip
    """The module that was written to a ``.safetensors`` file, with its weights.

    The options are those of ``Compilation.compile``. Raises OSError, WeightsError for a file that
    is damaged, carries no text or does not fit it, and CnnError for a text with errors.
    """
    from cnndsl.checkpoints.save import load_into

    net = load(path).net()
    network = net.compile(optimize=optimize, engine=engine, dtype=dtype)
    with _named(path):
        load_into(network, net.graph, path)
    return network


def compile(
    path: str | os.PathLike[str], net: str | None = None, /, **parameters: Parameter
) -> Network:
    """The module of one net of a file, in one line; raises CnnError."""
    program = load(path)
    if net is None and parameters.get("net") in program.nets:
        net = str(parameters.pop("net"))
    return Compilation(program, net, parameters, {}).compile()
