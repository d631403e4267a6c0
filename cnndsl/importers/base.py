"""What every import shares: a graph with weights becomes text, and is proven before it is kept.

::

    imported = Imported(graph, state)
    written = roll_and_prove(imported, reference)      # reference: the original, on tensors

The text is parsed and compiled again, filled with the weights, and run beside the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from cnndsl.backends.torch.module import Network
from cnndsl.backends.torch.trial import draw, named_outputs
from cnndsl.compilation import Compilation
from cnndsl.compiler import loads
from cnndsl.graph import cost
from cnndsl.graph.model import Graph
from cnndsl.importers.text import text_of
from cnndsl.limits import DEFAULT_LIMITS, Limits

Reference = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""The original: float32 inputs by the graph's names, batch first, to outputs by its names."""

_LARGEST = 2**28  # numbers of one drawn input: a gigabyte of float32
_WISHES = ((65, 96), (98, 81))  # heights and widths to try where they are open, odd ones too
SPREADS = (10.0, 1000.0)
"""Times the usual inputs, where those leave an output at 0."""
_NOISE = 16.0  # times what float32 itself moves our own outputs
_FLOOR = 4e-6  # of the largest output: sums of float32 in another order
_STEEP = {"sigmoid": 2.4e-7, "tanh": 2.4e-7}  # runtimes approximate these by absolute error


class ImportProblem(Exception):
    """Why something cannot be imported; one sentence for the user, escaped by who shows it."""


@dataclass(frozen=True)
class Imported:
    """A network from elsewhere: ``state`` has the ``state_dict`` keys of the graph's paths.

    Its values are torch tensors or numpy arrays. ``notes`` are told to the user.
    """

    graph: Graph
    state: Mapping[str, Any]
    notes: tuple[str, ...] = ()


class Difference(NamedTuple):
    """How far the two networks' outputs are apart: ``largest``, where values go up to ``scale``.

    ``silent``: outputs that were 0 everywhere, of which nothing is known.
    """

    largest: float
    scale: float
    runs: int
    silent: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f"{self.largest:.1e} where outputs reach {self.scale:.3g} ({self.runs} runs)"
        silent = " and ".join(f"`{name}`" for name in self.silent)
        return f"{told}; {silent} was 0 everywhere, which proves little" if silent else told


@dataclass(frozen=True)
class Written:
    """The text, the weights under the text's own keys, and how well they were proven."""

    text: str
    state: dict[str, Tensor]
    difference: Difference
    graph: Graph
    notes: tuple[str, ...] = field(default=())

    def to_bytes(self) -> bytes:
        """A .safetensors file that carries the text, so that it stands alone."""
        from cnndsl.checkpoints.files import to_bytes
        from cnndsl.checkpoints.origin import Origin

        return to_bytes(self.state, Origin(self.text, self.graph.name))


def roll_and_prove(
    imported: Imported,
    reference: Reference,
    *,
    name: str | None = None,
    keep: bool = False,
    batch: int = 1,
    seeds: Sequence[int] = (0, 1),
    limits: Limits = DEFAULT_LIMITS,
) -> Written:
    """Text of the graph that computes what ``reference`` does; ImportProblem when it does not.

    ``keep``: the text's paths are the graph's. ``batch``: samples in a drawn input.
    """
    text, paths, notes = text_of(imported.graph, name=name, keep=keep)
    net = _compiled(text, limits)
    state = _renamed(imported, paths)
    network = net.compile(optimize=0).eval()
    _fill(network, state)
    difference = prove(network, net.graph, reference, batch, seeds)
    return Written(text, state, difference, net.graph, (*imported.notes, *notes))


def _compiled(text: str, limits: Limits) -> Compilation:
    net = loads(text, limits=limits).net()
    errors = [d for d in net.diagnostics if d.severity == "error"]
    if errors:
        raise ImportProblem(f"its text does not check: {errors[0].message}")
    return net


def _keys(graph: Graph, paths: Mapping[str, str] | None = None) -> Iterator[tuple[str, str]]:
    """The state's keys, and what they are under other paths."""
    for node in graph:
        if not node.inputs or node.shared:
            continue
        for weight in node.op.weights(*graph.types_into(node)):
            new = paths.get(node.path, node.path) if paths else node.path
            yield tuple(f"{p}.{weight.name}" if weight.name else p for p in (node.path, new))  # type: ignore[misc]


def _renamed(imported: Imported, paths: Mapping[str, str]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for old, new in _keys(imported.graph, paths):
        if old in imported.state:
            state[new] = _tensor(imported.state[old])
        elif old.endswith("num_batches_tracked"):
            state[new] = torch.tensor(0)
        else:
            raise ImportProblem(f"it has no weights for {old}")
    return state


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    return torch.from_numpy(numpy.require(value, requirements=["C", "W"]))


def _fill(network: Network, state: Mapping[str, Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as problem:
        raise ImportProblem(f"its weights do not fit its layers: {problem}") from problem


# --- proof --------------------------------------------------------------------------------------


def prove(
    network: Network, graph: Graph, reference: Reference, batch: int, seeds: Sequence[int]
) -> Difference:
    """Runs both on drawn inputs, at two sizes where sizes are open; ImportProblem when they differ.

    As much as rounding may move the outputs they may differ: the original's float32 outputs are
    held against ours in float64, and what float32 does to ours is the measure.
    """
    floors = {o.name: _STEEP.get(graph.nodes[o.node].op.name, 0.0) for o in graph.outputs}
    cases = [draw(shapes, seed) for seed in seeds for shapes in _shapes(graph, batch)]
    expected = [_checked(reference(case), graph) for case in cases]
    for spread in SPREADS:
        if silent(expected):
            cases.append({name: spread * x for name, x in cases[0].items()})
            expected.append(_checked(reference(cases[-1]), graph))
    single = [_outputs(network, case) for case in cases]
    network.double()
    worst = Difference(0.0, 0.0, 0)
    for case, wanted, own in zip(cases, expected, single, strict=True):
        precise = _outputs(network, {name: x.double() for name, x in case.items()})
        for name, value in wanted.items():
            found = _compare(name, value, own[name], precise[name], floors[name])
            worst = Difference(
                max(worst.largest, found.largest), max(worst.scale, found.scale), worst.runs
            )
    network.float()
    return worst._replace(runs=len(cases), silent=silent(expected))


def silent(runs: Sequence[Mapping[str, Tensor]]) -> tuple[str, ...]:
    """The outputs that are 0 in every run: a wrong network may compute that too."""
    return tuple(name for name in runs[0] if not any(bool(run[name].any()) for run in runs))


def _shapes(graph: Graph, batch: int) -> list[dict[str, tuple[int, ...]]]:
    """Of the inputs, at each set of sizes to try."""
    found = []
    for wish in _WISHES if graph.facts.symbols else _WISHES[:1]:
        sizes = {
            symbol: graph.facts.allowed(symbol).next(wish[k % 2])
            for k, symbol in enumerate(graph.facts.symbols)
        }
        shapes = {
            node.path: (batch, *cost.shape(cost.concrete(node.type, sizes)))
            for node in graph.inputs
        }
        for name, shape in shapes.items():
            if numpy.prod(shape, dtype=object) > _LARGEST:
                raise ImportProblem(f"its input {name} {list(shape)} is too large to run")
        found.append(shapes)
    return found


def _checked(outputs: Mapping[str, Tensor], graph: Graph) -> Mapping[str, Tensor]:
    names = [output.name for output in graph.outputs if not output.train]
    assert set(names) <= set(outputs), f"the reference gives {list(outputs)}, not {names}"
    return {name: outputs[name] for name in names}


def _outputs(network: Network, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    with torch.inference_mode():
        return named_outputs(network, network(*inputs.values()))


def _compare(
    name: str, wanted: Tensor, single: Tensor, precise: Tensor, floor: float
) -> Difference:
    if wanted.shape != precise.shape:
        shapes = f"{list(precise.shape)} instead of {list(wanted.shape)}"
        raise ImportProblem(f"the text computes another network: {name} has shape {shapes}")
    finite = wanted.isfinite()
    if not torch.equal(_no_numbers(wanted), _no_numbers(single)):
        raise ImportProblem(f"the text computes another network: {name} is not finite elsewhere")
    if not finite.any():
        raise ImportProblem(f"{name} has no finite number, by which nothing can be proven")
    wanted, single, precise = wanted[finite].double(), single[finite].double(), precise[finite]
    largest = float((wanted - precise).abs().max())
    noise = float((single - precise).abs().max())
    scale = float(wanted.abs().max())
    if not largest <= max(_NOISE * noise, _FLOOR * scale, floor):
        raise ImportProblem(
            f"the text computes another network: {name} differs by {largest:.3g} where values "
            f"reach {scale:.3g} and rounding accounts for {noise:.1g}"
        )
    return Difference(float((wanted - single).abs().max()), scale, 1)


def _no_numbers(values: Tensor) -> Tensor:
    """What is no finite number: 1 and -1 where a value is infinite, 2 where it is NaN, else 0."""
    return torch.where(values.isfinite(), 0.0, values).nan_to_num(2.0, 1.0, -1.0)
