"""An ONNX model as a graph of layers with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnndsl.importers.base import Imported, ImportProblem
from cnndsl.importers.onnx import (
    activations,
    arithmetic,
    borders,
    folding,
    moves,
    norms,
    views,
    windows,
)
from cnndsl.importers.onnx.attributes import problem
from cnndsl.importers.onnx.finish import finished
from cnndsl.importers.onnx.model import Model, Operation, Port
from cnndsl.importers.onnx.moves import Rule
from cnndsl.importers.onnx.names import input_names
from cnndsl.importers.onnx.reading import Constant, Reading, Wire
from cnndsl.importers.onnx.views import BATCH, NoView, View
from cnndsl.limits import Limits
from cnndsl.ops.base import RuleError
from cnndsl.ops.sizes import Dim, Size, SizeTooComplex
from cnndsl.ops.types import FeatureMap, Type, Vector

_FAMILIES = (activations, arithmetic, borders, moves, norms, windows)
RULES: Mapping[str, Rule] = {name: rule for f in _FAMILIES for name, rule in f.RULES.items()}
_PASSING = frozenset(("Sub", "Add", "Mul", "Div", "Identity", "Cast"))


@dataclass(frozen=True)
class Recognised:
    """What was imported, and how the file's tensors lie over the text's.

    ``inputs``: the file's name, the text's name, the view. ``outputs`` likewise; ``batch`` is
    the number of samples that the file takes, None for any.
    """

    imported: Imported
    inputs: tuple[tuple[str, str, View], ...]
    outputs: tuple[tuple[str, str, View], ...]
    batch: int | None


def recognise(model: Model, name: str, limits: Limits) -> Recognised:
    """Raises ImportProblem naming the first operation that the language has no layer for."""
    batch = _batch(model)
    try:
        return _recognise(model, name, batch, limits)
    except ImportProblem:
        if isinstance(batch, int):
            raise
        # Exported for one sample, by a shape in numbers: seen only by trying.
        try:
            return _recognise(model, name, 1, limits)
        except ImportProblem:
            pass
        raise


def _batch(model: Model) -> Dim:
    firsts = {port.dims[0] if port.dims else None for port in model.inputs}
    sizes = [size for size in firsts if isinstance(size, int)]
    if len(sizes) > 1:
        raise ImportProblem(f"its inputs have different numbers of samples: {sorted(sizes)}")
    return sizes[0] if sizes else BATCH


def _recognise(model: Model, name: str, batch: Dim, limits: Limits) -> Recognised:
    reading = Reading(model, batch, limits)
    notes: list[str] = []
    inputs = _enter(reading, limits, notes)
    for op in model.operations:
        _read(reading, op)
    steps, outputs = _results(reading, notes)
    imported = finished(reading.network, name, steps, limits, tuple(notes))
    called = [output.name for output in imported.graph.outputs]
    ends = tuple((o, own, view) for (o, view), own in zip(outputs, called, strict=True))
    return Recognised(imported, inputs, ends, batch if isinstance(batch, int) else None)


def _read(reading: Reading, op: Operation) -> None:
    """Adds the outputs of one operation to the values."""
    try:
        found = folding.fold(reading, op) or _applied(reading, op)
    except (RuleError, NoView, SizeTooComplex) as why:
        raise problem(op, str(why)) from why
    for name in op.outputs[len(found) :]:
        if name in reading.model.readers:
            raise problem(op, f"its output {name!r} is used")
    for name, value in zip(op.outputs, found, strict=False):
        reading.values[name] = value


def _applied(reading: Reading, op: Operation) -> list[Constant | Wire]:
    rule = RULES.get(op.kind)
    if rule is None:
        raise problem(op, "there is no layer for it")
    if not op.inputs:
        raise problem(op, "it has no inputs")
    found = rule(reading, op)
    return found if isinstance(found, list) else [found]


# --- ends ---------------------------------------------------------------------------------------


def _enter(reading: Reading, limits: Limits, notes: list[str]) -> tuple[tuple[str, str, View], ...]:
    """The inputs; one that the file has channels last is turned."""
    ports = reading.model.inputs
    symbols: dict[str, str] = {}
    found = []
    for port, name in zip(ports, input_names([p.name for p in ports], limits), strict=True):
        last = _channels_last(reading.model, port)
        kind = _type(port, last, symbols, limits)
        step = reading.network.input(kind, name)
        view = views.base(kind, reading.batch)
        if last:
            view = views.transpose(view, (0, 2, 3, 1))
            notes.append(f"the input {port.name!r} has its channels first now: {kind}")
        # It is not its own producer: what is added to an input is no part of it.
        reading.values[port.name] = Wire(step, view, own=False)
        found.append((port.name, name, view))
    return tuple(found)


def _type(port: Port, last: bool, symbols: dict[str, str], limits: Limits) -> Type:
    dims = port.dims
    if len(dims) == 2 and isinstance(dims[1], int) and dims[1] <= limits.dimension:
        return Vector(dims[1])
    if len(dims) != 4:
        axes = f"{len(dims)} axes" if len(dims) != 2 else "an open number of features"
        raise ImportProblem(f"the input {port.name!r} has {axes}; [N, C, H, W] and [N, C] are read")
    channels, height, width = (dims[3], dims[1], dims[2]) if last else dims[1:]
    if not isinstance(channels, int):
        raise ImportProblem(f"the input {port.name!r} has an open number of channels")
    if any(isinstance(d, int) and d > limits.dimension for d in dims):
        raise ImportProblem(f"the input {port.name!r} is past the limits: {list(dims)}")
    return FeatureMap(channels, _extent(height, "H", symbols), _extent(width, "W", symbols))


def _extent(dim: int | str | None, letter: str, symbols: dict[str, str]) -> Dim:
    """A number, or a symbol; sizes that the file calls alike are alike."""
    if isinstance(dim, int):
        return dim
    key = dim if dim and dim not in ("?", "-1") else f"{letter} {len(symbols)}"
    if key not in symbols:
        taken = list(symbols.values())
        symbols[key] = next(
            s for s in [letter, *(f"{letter}{k}" for k in range(2, 1000))] if s not in taken
        )
    return Size.of(symbols[key])


def _channels_last(model: Model, port: Port) -> bool:
    """Whether the first thing that happens to an input, past arithmetic, is to turn it."""
    names = {port.name}
    for op in model.operations:
        if names.intersection(op.inputs):
            if op.kind == "Transpose":
                return op.attributes.get("perm") == (0, 3, 1, 2)
            if op.kind not in _PASSING:
                return False
            names.update(op.outputs)
    return False


def _results(
    reading: Reading, notes: list[str]
) -> tuple[list[tuple[str, int]], list[tuple[str, View]]]:
    """Steps and views of the outputs."""
    steps: list[tuple[str, int]] = []
    found: list[tuple[str, View]] = []
    for name in reading.model.outputs:
        op = Operation("Output", name, (name,), (), {})
        if isinstance(reading.value(name), Constant):
            raise ImportProblem(f"its output {name!r} is a constant")
        wire = reading.settled(op, 0)
        moved = reading.moved(wire, op)
        if moved is not None:
            wire = reading.whole(moved)
        else:
            kind = reading.network.type(wire.step)
            notes.append(f"the output {name!r} is {kind}; the file has its axes in another order")
        steps.append((name, wire.step))
        found.append((name, wire.view))
    return steps, found
