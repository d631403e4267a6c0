"""What a module does, as ``torch.export`` records it: twice, with inputs of two sizes.

Recording once with symbolic sizes takes sympy ten times as long as all the rest, and refuses
networks over the parity of a size. What differs between two recordings depends on the size; what
does not is the same for both, and the graph's own inference says for which sizes more it holds.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree

from cnndsl.backends.torch.quiet import quiet
from cnndsl.importers.base import ImportProblem
from cnndsl.ops import catalogue
from cnndsl.ops.base import Op

Shape = tuple[int, ...]
_LARGEST_DENOMINATOR = 10_000
_ROUNDED = 1e-15


@torch.library.custom_op("cnndsl_import::leaf", mutates_args=())
def _leaf(x: Tensor, place: int) -> Tensor:
    """Stands in a recording for a layer that would leave no trace, or too many."""
    raise NotImplementedError("it is recorded, never run")


@_leaf.register_fake
def _(x: Tensor, place: int) -> Tensor:
    return torch.empty_like(x)


class Place(NamedTuple):
    """Where a call was made: path and class of the innermost module.

    ``around``: paths of the modules that hold it, from the outside in, without those that run a
    second time: what they do then stands where they are called.
    """

    path: str
    kind: str
    around: tuple[str, ...]


class Call:
    """One recorded call, in both recordings. Tensors among the arguments are ``fx.Node``s."""

    def __init__(self, node: fx.Node, twin: fx.Node) -> None:
        self.node, self.twin = node, twin

    @property
    def name(self) -> str:
        """``conv2d`` for ``aten.conv2d.default``; in-place forms as the others."""
        target = self.node.target
        if not isinstance(target, torch._ops.OpOverload):
            return getattr(target, "__name__", str(target))
        name = target._schema.name.rpartition("::")[2]
        return name if name.startswith("_") else name.removesuffix("_")

    @cached_property
    def arguments(self) -> dict[str, Any]:
        return _arguments(self.node)

    @cached_property
    def others(self) -> dict[str, Any]:
        """The arguments in the other recording."""
        return _arguments(self.twin)

    @property
    def writes(self) -> fx.Node | None:
        """The value that an in-place call changes."""
        target = self.node.target
        if isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable:
            first = self.node.args[0]
            return first if isinstance(first, fx.Node) else None
        return None

    @property
    def place(self) -> Place:
        stack = self.node.meta.get("nn_module_stack") or {"": ("", "")}
        path, kind = list(stack.values())[-1]
        around = tuple(held for key, (held, _) in stack.items() if "@" not in key)
        return Place(path, str(kind).rpartition(".")[2], around)

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """Of the result, in both recordings."""
        return shape_of(self.node), shape_of(self.twin)

    def problem(self, why: str) -> ImportProblem:
        """What cannot be expressed, with the module and the operator."""
        where = f"`{self.place.path}` ({self.place.kind})" if self.place.path else "the module"
        return ImportProblem(f"{where}: {self.name} {why}")


def shape_of(node: fx.Node) -> Shape:
    return tuple(node.meta["val"].shape)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """By name, with the defaults of the operator's schema."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):
        return dict(zip("ab", node.args, strict=False))
    names = target._schema.arguments
    found = {a.name: a.default_value for a in names if a.has_default_value()}
    found.update(zip((a.name for a in names), node.args, strict=False))
    return {**found, **node.kwargs}


class Trace(NamedTuple):
    """A module's calls. ``keys``: state_dict keys that are read, by placeholder.

    ``outputs``: names and values; a name is "" where the module gives none. ``leaves``: the
    operators of layers that were not looked into.
    """

    calls: tuple[Call, ...]
    keys: Mapping[fx.Node, str]
    inputs: tuple[fx.Node, ...]
    sizes: tuple[tuple[Shape, Shape], ...]
    outputs: tuple[tuple[str, fx.Node], ...]
    leaves: tuple[Op, ...]


def trace(module: nn.Module, first: Sequence[Tensor], second: Sequence[Tensor]) -> Trace:
    """Records the module, in the mode that it is in, on both sets of inputs.

    ImportProblem where it cannot be recorded, or takes another way for another size.
    """
    with _leaves(module) as leaves:
        one, two = _export(module, first), _export(module, second)
    nodes, twins = list(one.graph.nodes), list(two.graph.nodes)
    if [n.target for n in nodes if n.op == "call_function"] != [
        n.target for n in twins if n.op == "call_function"
    ]:
        raise ImportProblem("the module does something else for inputs of another size")
    pairs = list(zip(nodes, twins, strict=True))
    signature = one.graph_signature
    stored = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    given = [(n, t) for n, t in pairs if n.op == "placeholder" and n.name not in stored]
    keys = {n: stored[n.name] for n in nodes if n.op == "placeholder" and n.name in stored}
    return Trace(
        tuple(Call(n, t) for n, t in pairs if n.op == "call_function"),
        {n: key for n, key in keys.items() if n.users},
        tuple(n for n, _ in given),
        tuple((shape_of(n), shape_of(t)) for n, t in given),
        tuple(_outputs(one, nodes)),
        tuple(leaves),
    )


def _export(module: nn.Module, inputs: Sequence[Tensor]) -> torch.export.ExportedProgram:
    try:
        with quiet(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(module, tuple(inputs), strict=False)
    except Exception as problem:  # whatever the module's own code raises
        said = str(problem).strip().partition("\n")[0]
        raise ImportProblem(
            f"torch.export cannot record it: {type(problem).__name__}: {said}"
        ) from problem


def _outputs(program: Any, nodes: Sequence[fx.Node]) -> Iterator[tuple[str, fx.Node]]:
    """Names by the module's own result: keys of a dictionary, fields of a named tuple."""
    returned: Any = next(n for n in nodes if n.op == "output").args[0]
    specs = program.graph_signature.output_specs
    flat = [v for v, spec in zip(returned, specs, strict=True) if spec.kind.name == "USER_OUTPUT"]
    result = _pytree.tree_unflatten(flat, program.call_spec.out_spec)
    if isinstance(result, fx.Node):
        yield "", result
        return
    fields = getattr(result, "_fields", None)
    pairs: Any = result.items() if isinstance(result, dict) else enumerate(result)
    for key, value in pairs:
        if isinstance(value, fx.Node):
            yield (fields[key] if fields else key if isinstance(key, str) else ""), value
        elif value is not None:
            raise ImportProblem("it returns tensors inside of lists inside of its result")


# --- layers that are not looked into ----------------------------------------------------------


@contextmanager
def _leaves(module: nn.Module) -> Iterator[list[Op]]:
    """While they are recorded, such layers say only which they are."""
    found: list[Op] = []
    changed: list[tuple[nn.Module, Any]] = []
    try:
        for inner in module.modules():
            op = leaf_operator(inner)
            if op is not None:
                changed.append((inner, inner.__dict__.get("forward")))
                inner.forward = partial(_leaf, place=len(found))
                found.append(op)
        yield found
    finally:
        for inner, before in changed:
            del inner.__dict__["forward"]
            if before is not None:
                inner.forward = before


def leaf_operator(module: nn.Module) -> Op | None:
    """The operator of a layer that does nothing in eval mode, or much for what it is.

    Stochastic depth by the names it has in timm, torchvision and here.
    """
    if isinstance(module, nn.LocalResponseNorm):
        values = (module.size, module.alpha, module.beta, module.k)
        return catalogue()["lrn"](*values)
    if type(module).__name__ not in ("DropPath", "StochasticDepth"):
        return None
    given: Any = module
    p = getattr(given, "p", getattr(given, "drop_prob", None))
    mode = getattr(given, "mode", "row")
    if p is None or mode not in ("row", "batch", "network"):
        return None
    if p and not getattr(given, "scale_by_keep", True):
        raise ImportProblem(f"{type(module).__name__} does not scale what it keeps")
    return catalogue()["droppath"](p=_share(float(p)), mode=mode)


def _share(p: float) -> float:
    """The number that was meant: depths give ``0.1*3/17``, which rounds to no short fraction."""
    short = Fraction(p).limit_denominator(_LARGEST_DENOMINATOR)
    return float(short) if abs(short - Fraction(p)) < _ROUNDED else p
