"""A module as text: recorded at two sizes where it takes them, proven to compute the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from cnndsl.graph.model import Graph, Output
from cnndsl.graph.names import is_field, is_reserved, is_word
from cnndsl.importers.base import Imported, ImportProblem, Written, roll_and_prove
from cnndsl.importers.torch.arrange import Disagreement, build
from cnndsl.importers.torch.convert import convert
from cnndsl.importers.torch.trace import Shape, Trace, trace
from cnndsl.limits import DEFAULT_LIMITS, Limits
from cnndsl.ops import catalogue
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap, Type, Vector
from cnndsl.syntax.parser import keywords

# What the second recording's height and width have more than the first's. Another parity shows a
# module that asks for it; even steps are for modules that take certain multiples only.
_ODD, _EVEN = (65, 33), (64, 32)
_BATCHES = (2, 3)

Example = Tensor | Sequence[Tensor]


def import_module(
    module: nn.Module, example: Example, *, name: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Written:  # fmt: skip
    """The text of a module, with its weights under its own keys, and how it was proven.

    ``example``: what it is called with, one tensor ``[N, C, H, W]`` or ``[N, F]`` or several; its
    numbers do not matter. Height and width stay open where the module takes other sizes too, else
    they are the example's, which a note tells. The module is left as it was.
    ImportProblem for what the language cannot express, with the module and the operator;
    TypeError for what is no module, or no tensors.
    """
    inputs = _inputs(module, example)
    with _evaluating(module):
        graph, notes = _graph(module, inputs, name or _name(module), limits)
        _check_keys(graph, module)
        imported = Imported(graph, dict(module.state_dict()), notes)
        run = _Original(module, graph, inputs)
        return roll_and_prove(imported, run, name=name, keep=True, batch=2, limits=limits)


def _inputs(module: object, example: Any) -> list[Tensor]:
    """The example's tensors. What the caller mixes up is told in a sentence."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"a torch.nn.Module becomes text, not {module!r:.60}")
    found = [example] if isinstance(example, Tensor) else example
    several = isinstance(found, Sequence) and len(found) > 0
    if not several or not all(isinstance(x, Tensor) for x in found):
        raise TypeError(f"an example is a tensor, or a list of several, not {example!r:.60}")
    return list(found)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode, and afterwards each of its modules in the mode it was in."""
    before = {inner: inner.training for inner in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for inner, training in before.items():
            inner.training = training


def _name(module: nn.Module) -> str:
    """The class's name, where it can name a net."""
    name = type(module).__name__
    return name if is_word(name, DEFAULT_LIMITS) and name not in catalogue() else "Net"


# --- the graph ----------------------------------------------------------------------------------


def _graph(
    module: nn.Module, inputs: list[Tensor], name: str, limits: Limits
) -> tuple[Graph, tuple[str, ...]]:
    """With open sizes, or with the example's."""
    if not any(x.dim() == 4 for x in inputs):
        return _recorded(module, inputs, name, limits, _ODD), ()
    try:
        return _open(module, inputs, name, limits), ()
    except ImportProblem as problem:
        try:
            graph = _recorded(module, inputs, name, limits, (0, 0))
        except ImportProblem as at_one_size:
            raise (problem if isinstance(problem, Disagreement) else at_one_size) from None
        sizes = " and ".join("x".join(map(str, x.shape[2:])) for x in inputs if x.dim() == 4)
        return graph, (f"only for inputs of {sizes}: {problem}",)


def _open(module: nn.Module, inputs: list[Tensor], name: str, limits: Limits) -> Graph:
    """With open sizes; ImportProblem if the module does not do the same at all that are valid."""
    try:
        return _recorded(module, inputs, name, limits, _ODD)
    except ImportProblem as problem:
        at_odd = problem
    graph = _recorded(module, inputs, name, limits, _EVEN)
    if _takes(graph, inputs, _ODD):  # the text would, where the module did not
        raise at_odd
    return graph


def _takes(graph: Graph, inputs: list[Tensor], more: tuple[int, int]) -> bool:
    """Whether the text claims to take inputs that are larger by so much."""
    sizes: dict[str, int] = {}
    for node, x in zip(graph.inputs, inputs, strict=True):
        if isinstance(node.type, FeatureMap):
            extents = zip((node.type.height, node.type.width), x.shape[2:], more, strict=True)
            sizes |= {e.symbol: n + plus for e, n, plus in extents if isinstance(e, Size)}
    return graph.facts.accepts(sizes)


def _recorded(
    module: nn.Module, inputs: list[Tensor], name: str, limits: Limits, more: tuple[int, int]
) -> Graph:
    probes = [
        [_probe(x, batch, extra) for x in inputs]
        for batch, extra in zip(_BATCHES, ((0, 0), more), strict=True)
    ]
    found = trace(module, *probes)
    converter, results = convert(found, module)
    unused = set(module.state_dict()) - set(found.keys.values())
    heads = {key for key in unused if not key.endswith("num_batches_tracked")}
    if heads:
        found = _in_training(module, probes, heads)
        converter, results = convert(found, module)
    types = _types(found, free=any(more))
    outputs = _named(found, results, converter.steps, bool(heads))
    return build(name, types, converter.steps, outputs, limits)


def _probe(x: Tensor, batch: int, extra: tuple[int, int]) -> Tensor:
    if x.dim() not in (2, 4) or not x.is_floating_point():
        raise ImportProblem(
            f"an input is a feature map [N, C, H, W] or a vector [N, F] of floating-point numbers, "
            f"not {list(x.shape)} of {x.dtype}"
        )
    more = extra if x.dim() == 4 else ()
    sizes = [size + plus for size, plus in zip(x.shape[2:], more, strict=True)]
    return torch.zeros((batch, x.shape[1], *sizes), dtype=x.dtype, device=x.device)


def _in_training(module: nn.Module, probes: list[list[Tensor]], heads: set[str]) -> Trace:
    """What runs in training too, where weights wait for it: heads that eval mode leaves out."""
    module.train()
    try:
        found = trace(module, *probes)
    except ImportProblem as problem:
        why = f"{_some(heads)} not used in eval mode; in training {problem}"
        raise ImportProblem(why) from None
    finally:
        module.eval()
    unused = heads - set(found.keys.values())
    if unused:
        raise ImportProblem(f"{_some(unused)} used by nothing that the module computes")
    return found


def _some(keys: set[str]) -> str:
    first, *others = sorted(keys)
    return f"`{first}` and {len(others)} more are" if others else f"`{first}` is"


def _types(found: Trace, free: bool) -> list[tuple[str, Type]]:
    """Names and types of the inputs; sizes are symbols where they were varied."""
    symbols: dict[tuple[str, int], Size] = {}
    types: list[tuple[str, Type]] = []
    for node, (shape, _) in zip(found.inputs, found.sizes, strict=True):
        types.append((_input_name(node.name, len(types)), _type(shape, symbols if free else None)))
    return types


def _type(shape: Shape, symbols: dict[tuple[str, int], Size] | None) -> Type:
    if len(shape) == 2:
        return Vector(shape[1])
    if symbols is None:
        return FeatureMap(*shape[1:])
    sides = []
    for letter, size in zip("HW", shape[2:], strict=True):
        number = sum(1 for known, _ in symbols if known == letter) + 1
        fresh = Size.of(letter if number == 1 else f"{letter}{number}")
        sides.append(symbols.setdefault((letter, size), fresh))
    return FeatureMap(shape[1], *sides)


def _input_name(name: str, position: int) -> str:
    """The argument's; the first input is what flows into the text, and needs none."""
    if not position:
        return "in"
    fits = re.fullmatch(r"[A-Za-z]\w*", name) and name not in {*keywords(), *catalogue(), "self"}
    return name if fits else f"input{position}"


def _named(
    found: Trace, results: list[tuple[str, int]], steps: Sequence[Any], training: bool
) -> list[Output]:
    """Results by the names that the module gives them; heads of training by their modules."""
    if len(results) == 1:
        return [Output("out", results[0][1])]
    outputs: list[Output] = []
    for position, (name, id) in enumerate(results):
        head = training and position > 0
        if head:
            name = _module_of(steps, id - len(found.inputs)) or name
        elif training:
            name = "out"
        taken = {output.name for output in outputs}
        if not is_field(name) or is_reserved(name) or name in taken:
            name = f"out{position}"
        outputs.append(Output(name, id, head, head))
    return outputs


def _module_of(steps: Sequence[Any], index: int) -> str:
    """The outermost module that a value is computed in."""
    path: str = steps[index].module if index >= 0 else ""
    return path.partition(".")[0]


def _check_keys(graph: Graph, module: nn.Module) -> None:
    """The text's state_dict is the module's: every key, and every shape."""
    from cnndsl.graph.as_json import graph_to_json

    ours = {
        weight["key"]: tuple(weight["shape"])
        for node in graph_to_json(graph)["nodes"]
        for weight in node["weights"]
    }
    theirs = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    if ours.keys() != theirs.keys():
        key = min(ours.keys() ^ theirs.keys())
        who = "the text has it, the module has not" if key in ours else "the text has no such key"
        raise ImportProblem(f"the keys of the state_dict differ at `{key}`: {who}")
    for key, shape in theirs.items():
        if ours[key] != shape:
            raise ImportProblem(f"`{key}` has the shape {list(shape)}, not {list(ours[key])}")


class _Original:
    """The module as the proof calls it: inputs and outputs by name."""

    def __init__(self, module: nn.Module, graph: Graph, inputs: list[Tensor]) -> None:
        self.module, self.inputs = module, inputs
        self.names = [output.name for output in graph.outputs if not output.train]

    def __call__(self, given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        xs = [x.to(like) for x, like in zip(given.values(), self.inputs, strict=True)]
        with torch.no_grad():
            result = self.module(*xs)
        flat = torch.utils._pytree.tree_leaves(result)
        tensors = [x.float().cpu() for x in flat if isinstance(x, Tensor)]
        return dict(zip(self.names, tensors, strict=True))
