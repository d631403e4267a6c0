"""What the commands that take files of weights share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnndsl.checkpoints import rules
from cnndsl.checkpoints.bounds import Spec, WeightsError
from cnndsl.checkpoints.files import Contents, read
from cnndsl.checkpoints.match import Match, NoSuchModule, match
from cnndsl.checkpoints.report import lines
from cnndsl.cli.files import STDIN, Failure, read_bounded, words
from cnndsl.compiler import Compilation, load
from cnndsl.diagnostics import CnnError
from cnndsl.diagnostics.display import counted, escape
from cnndsl.graph.model import Graph

if TYPE_CHECKING:
    from cnndsl.backends.torch.module import Network

_MAP_BYTES = 1 << 22


@contextmanager
def reading(path: str) -> Iterator[None]:
    """What goes wrong with a file of weights is told with its name."""
    if not path:
        raise Failure("an empty name is no file")
    if path == STDIN:
        raise Failure("weights are read from a file, not from stdin")
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


def load_weights(network: Network, path: str, net: Compilation) -> str:
    """Fills the net's network from a file, all or nothing; what to say about it.

    Raises Failure, with the whole report, where the file does not fit.
    """
    from cnndsl.checkpoints.save import fill

    with reading(path):
        checkpoint = read(path)
    found = match(net.graph, checkpoint.contents.specs)
    report = "".join(f"\n  {line}" for line in lines(found))
    if not found.fits:
        raise Failure(f"{path} does not fit {net.graph.name}:{report}")
    with reading(path):
        fill(network, found, checkpoint.tensors)
    said = f"{counted(len(found.sources), 'tensor')} from {escape(path)}"
    if found.aligned is not None:  # it may be wrong: it is never done in silence
        said += report
    elif found.unused:
        said += f", {len(found.unused)} of it unused"
    return "\n".join([said, *other_steps(path, checkpoint.contents, net)])


def other_steps(
    path: str, contents: Contents, net: Compilation, reinit: Sequence[str] = ()
) -> Iterator[str]:
    """A note where a file's own text has other steps than the net that its weights go into.

    Names and shapes tell nothing of strides or activations. Such a text stands beside its
    weights when it was edited after training, or an import was killed between its two files.
    ``reinit``: modules that take no weights from the file.
    """
    if path == net.program.source.name:
        return
    try:
        if contents.origin is None:
            return
        theirs = Compilation(load(path, limits=net.program.limits), None, {}, net.at).graph
    except (WeightsError, CnnError, OSError):
        return  # weights fit or not: what their text says is a help only
    there, here = _steps(theirs, reinit), _steps(net.graph, reinit)
    if there != here:
        pairs = [(list(there - here), "there"), (list(here - there), "here")]
        told = ", ".join(f"`{steps[0]}` {where}" for steps, where in pairs if steps)
        yield f"note: {escape(path)} was written for a net with other steps: {escape(told)}"


def _steps(graph: Graph, without: Sequence[str]) -> Counter[str]:
    spaces = tuple(f"{module}." for module in without)
    return Counter(
        node.op.text() for node in graph if node.inputs and not f"{node.path}.".startswith(spaces)
    )


def matched(
    path: str, specs: dict[str, Spec], net: Compilation, map_file: str | None,
    reinit: Iterable[str] = (),
) -> Match:  # fmt: skip
    """A file's tensors beside a net's, under the names of a map file."""
    given = read_map(map_file)
    try:
        return match(net.graph, specs, given, reinit)
    except NoSuchModule as problem:
        raise Failure(f"--reinit: {problem}") from problem
    except WeightsError as problem:
        raise Failure(f"{map_file or path}: {problem}") from problem


def read_map(path: str | None) -> rules.Rules:
    """The rules of a map file; none without one."""
    if path is None:
        return rules.Rules()
    try:
        text = read_bounded(path, _MAP_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise Failure(f"{path} is not UTF-8 text: byte {problem.start}") from problem
    with reading(path):
        return rules.parse(text)
