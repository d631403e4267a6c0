"""What the commands that take files of weights share."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnndsl.checkpoints import rules
from cnndsl.checkpoints.bounds import Spec, WeightsError
from cnndsl.checkpoints.files import read
from cnndsl.checkpoints.match import Match, match
from cnndsl.checkpoints.report import lines
from cnndsl.cli.files import STDIN, Failure, words, write_atomic
from cnndsl.compiler import Compilation
from cnndsl.diagnostics.display import escape
from cnndsl.graph.model import Graph

if TYPE_CHECKING:
    from cnndsl.backends.torch.module import Network

STDOUT = STDIN
_MAP_BYTES = 1 << 22


@contextmanager
def reading(path: str) -> Iterator[None]:
    """What goes wrong with a file of weights is told with its name."""
    try:
        yield
    except WeightsError as problem:
        raise Failure(f"{path}: {problem}") from problem
    except OSError as problem:
        raise Failure(f"cannot read {path}: {words(problem)}") from problem
    except ModuleNotFoundError as problem:
        raise Failure(f"{path} needs torch to be read: install {problem.name}") from problem


def carried(net: Compilation, file: str) -> str | None:
    """The net's own file, where that holds its weights too."""
    trained = net.program.origin is not None and net.name == net.program.main_net
    return file if trained else None


def load_weights(network: Network, path: str, graph: Graph) -> str:
    """Fills the network from a file, all or nothing; what to say about it.

    Raises Failure, with the whole report, where the file does not fit.
    """
    from cnndsl.checkpoints.save import fill

    with reading(path):
        checkpoint = read(path)
    found = match(graph, checkpoint.contents.specs)
    report = "".join(f"\n  {line}" for line in lines(found))
    if not found.fits:
        raise Failure(f"{path} does not fit {graph.name}:{report}")
    fill(network, found, checkpoint.tensors)
    said = f"{len(found.sources)} tensors from {escape(path)}"
    if found.aligned is not None:  # it may be wrong: it is never done in silence
        return said + report
    return said + (f", {len(found.unused)} of it unused" if found.unused else "")


def matched(
    path: str, specs: dict[str, Spec], net: Compilation, map_file: str | None,
    reinit: Iterable[str] = (),
) -> Match:  # fmt: skip
    """A file's tensors beside a net's, under the names of a map file."""
    given = read_map(map_file)
    try:
        return match(net.graph, specs, given, reinit)
    except WeightsError as problem:
        raise Failure(f"{map_file or path}: {problem}") from problem


def read_map(path: str | None) -> rules.Rules:
    """The rules of a map file; none without one."""
    if path is None:
        return rules.Rules()
    try:
        with open(path, "rb") as file:
            data = file.read(_MAP_BYTES + 1)
        if len(data) > _MAP_BYTES:
            raise Failure(f"{path}: a map has at most {_MAP_BYTES:,} bytes")
        return rules.parse(data.decode("utf-8-sig"))
    except OSError as problem:
        raise Failure(f"cannot read {path}: {words(problem)}") from problem
    except UnicodeDecodeError as problem:
        raise Failure(f"{path} is not UTF-8 text: byte {problem.start}") from problem
    except WeightsError as problem:
        raise Failure(f"{path}: {problem}") from problem


def choose_first(net: Compilation) -> None:
    """A space of networks has no weights; raises CnnError, which says how to choose."""
    if net.open_choices:
        net.compile()


def put(output: str, data: bytes) -> None:
    """Writes a file whole or not at all, or to stdout."""
    if output != STDOUT:
        write_atomic(output, data)
        return
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
