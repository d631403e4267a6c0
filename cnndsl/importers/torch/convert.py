"""Recorded calls to steps: every call is known to one of the recognisers, or named in an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from cnndsl.importers.base import ImportProblem
from cnndsl.importers.torch.trace import Call, Place, Trace, shape_of
from cnndsl.importers.torch.values import SQUEEZED, Value, Weight
from cnndsl.ops import catalogue
from cnndsl.ops.base import Op, RuleError

Recogniser = Callable[["Converter", Call], Any]
RECOGNISERS: dict[str, Recogniser] = {}
IDENTITIES = {
    "contiguous", "clone", "alias", "detach", "lift_fresh_copy", "to", "expand", "expand_as",
}  # fmt: skip
_ONLY_SHAPED = {"view", "reshape", "unsqueeze", "slice", *IDENTITIES}
_OF_LAYERS = {"weight", "bias", "running_mean", "running_var"}
SIZED = {
    "view", "reshape", "_unsafe_view", "unflatten", "slice", "narrow", "avg_pool2d", "max_pool2d",
    "upsample_nearest2d", "upsample_bilinear2d",
}  # fmt: skip
"""Whose arguments may depend on the size of the input: they look at both recordings."""
SILENT = {"_assert_tensor_metadata", "_assert_async", "_assert_scalar"}


def recognises(*names: str) -> Callable[[Recogniser], Recogniser]:
    """Registers what turns calls of these names into steps."""

    def add(function: Recogniser) -> Recogniser:
        for name in names:
            RECOGNISERS[name] = function
        return function

    return add


class Step(NamedTuple):
    """One step of the graph; ids below the number of inputs are the inputs'.

    ``module``: the path of the module that holds its weights, else "". ``space``: the namespace it
    stands in. ``leaf``: what the module calls it. ``piece``: of a split, the first piece's id and
    which it is. ``call``: where it comes from.
    """

    op: Op
    inputs: tuple[int, ...]
    module: str
    space: str
    leaf: str
    call: Call
    piece: tuple[int, int] | None = None


class Restart(Exception):
    """A value that was flattened turns out to be a gate: flattening it is put off."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Converter:
    """Goes through a trace; ``steps`` is what it is for. ``elements``: of each value, by id."""

    def __init__(self, trace: Trace, module: nn.Module, gates: frozenset[str]) -> None:
        self.trace, self.gates = trace, gates
        self.steps: list[Step] = []
        self.elements = {i: prod(shape) for i, (shape, _) in enumerate(trace.sizes)}
        self.values: dict[fx.Node, Any] = {n: Value(i) for i, n in enumerate(trace.inputs)}
        self.values |= {n: Weight(key, shape_of(n)) for n, key in trace.keys.items()}
        self.bases: dict[fx.Node, fx.Node] = {}
        self._order = {call.node: k for k, call in enumerate(trace.calls)}
        self._parents = {path for path, m in module.named_modules() if any(m.children())}
        keys = [key.rpartition(".") for key in trace.keys.values()]
        self._layers = {path for path, _, own in keys if path and own in _OF_LAYERS}

    def run(self) -> list[tuple[str, int]]:
        """Names and ids of the outputs; ImportProblem for what cannot be expressed."""
        for call in self.trace.calls:
            if call.name not in SILENT:
                self._take(call)
        return [(name, self.output(name, node)) for name, node in self.trace.outputs]

    def output(self, name: str, node: fx.Node) -> int:
        value = self.values[node]
        if not isinstance(value, Value) or value.form != "plain":
            raise ImportProblem(f"its result {name} is in an arrangement that has no text")
        return value.id

    def _take(self, call: Call) -> None:
        if all(isinstance(self.values.get(a), Weight) for a in call.node.all_input_nodes):
            self._weights(call)
            return
        recognise = RECOGNISERS.get(call.name)
        if call.name in IDENTITIES:
            result = self.value(call, "self" if "self" in call.arguments else "input")
        elif recognise is None:
            raise call.problem("has no counterpart in the language")
        else:
            result = self._checked(recognise, call)
        self.values[call.node] = result
        self._alias(call)

    def _checked(self, recognise: Recogniser, call: Call) -> Any:
        if call.name not in SIZED:
            for name in call.arguments:
                self.fixed(call, name)
        try:
            return recognise(self, call)
        except RuleError as problem:
            raise call.problem(f"cannot be a step: {problem.message}") from None

    def _weights(self, call: Call) -> None:
        """A weight in another shape is that weight; anything else computed of weights is none."""
        weight = next((self.values[a] for a in call.node.all_input_nodes), None)
        whole = isinstance(weight, Weight) and prod(weight.shape) == call.node.meta["val"].numel()
        if whole and call.name in _ONLY_SHAPED:
            self.values[call.node] = weight
        # what the counters of batch norms do is no step; a layer that needs another says so

    def _alias(self, call: Call) -> None:
        """In-place calls change what other names of the same tensor see from now on."""
        views = call.node.all_input_nodes
        if views and isinstance(self.values[call.node], Value) and self._is_view(call):
            self.bases[call.node] = self._base(views[0])
        changed = call.writes
        if changed is None or isinstance(self.values.get(changed), Weight):
            return
        base, before = self._base(changed), self.values[changed]
        last = len(self._order)  # the output reads it
        for other in [n for n in self.values if n is not call.node and self._base(n) is base]:
            if self.values[other] == before:
                self.values[other] = self.values[call.node]
            elif any(self._order.get(user, last) > self._order[call.node] for user in other.users):
                raise call.problem("changes a part of a tensor in place that is read again")
        self.bases[call.node] = base

    def _is_view(self, call: Call) -> bool:
        target: Any = call.node.target
        schema = getattr(target, "_schema", None)
        if schema is None:  # getitem
            return True
        return any(r.alias_info is not None for r in schema.returns) or call.name in (
            "contiguous", "to", "reshape", "dropout", "flatten", "expand_as",
        )  # fmt: skip

    def _base(self, node: fx.Node) -> fx.Node:
        while node in self.bases:
            node = self.bases[node]
        return node

    # --- what recognisers ask for -----------------------------------------------------------

    def value(self, call: Call, name: str = "self") -> Value:
        """The argument of this name, which must be computed from the input."""
        found = self.look(call.arguments.get(name, call.node.args[0] if call.node.args else None))
        if not isinstance(found, Value):
            raise call.problem(f"takes a {name} that is not computed from the input")
        return found

    def look(self, argument: Any) -> Any:
        """A Value, a Weight, a list of them, or a plain argument as it is."""
        if isinstance(argument, fx.Node):
            return self.values.get(argument)
        return argument

    def weight(self, call: Call, name: str) -> Weight | None:
        """The argument of this name, which must be an entry of the state_dict, or nothing."""
        argument = call.arguments.get(name)
        if argument is None:
            return None
        found = self.look(argument)
        if not isinstance(found, Weight) or found.shape != shape_of(argument):
            raise call.problem(f"has a {name} that is computed")
        return found

    def owner(self, call: Call, **weights: str) -> str:
        """The module whose weights these arguments are, under these names."""
        paths = set()
        for argument, name in weights.items():
            weight = self.weight(call, argument)
            if weight is not None:
                path, _, own = weight.key.rpartition(".")
                paths.add(path)
                if own != name or not path:
                    raise call.problem(f"has its {name} under the key {weight.key}")
        if len(paths) != 1:
            raise call.problem("has weights of several modules" if paths else "has no weights")
        return paths.pop()

    def fixed(self, call: Call, name: str) -> Any:
        """An argument that does not depend on the input's size."""
        value = call.arguments.get(name)
        if _numbers(value) != _numbers(call.others.get(name)):
            raise call.problem(f"takes a `{name}` that depends on the size of the input")
        return value

    def add(
        self, call: Call, name: str, inputs: Sequence[int], module: str = "", /, **values: Any
    ) -> int:
        """A step, by its id."""
        return self.put(call, catalogue()[name](**values), inputs, module)

    def put(
        self, call: Call, op: Op, inputs: Sequence[int], module: str = "",
        piece: tuple[int, int] | None = None,
    ) -> int:  # fmt: skip
        space, leaf = self._space(call.place)
        made = call.node.meta["val"]
        self.elements[self.next_id] = made.numel() if isinstance(made, Tensor) else 0
        self.steps.append(Step(op, tuple(inputs), module, space, leaf, call, piece))
        return self.next_id - 1

    @property
    def next_id(self) -> int:
        return len(self.trace.inputs) + len(self.steps)

    def step(self, id: int) -> Step | None:
        """The step of a value; None for an input."""
        return self.steps[id - len(self.trace.inputs)] if id >= len(self.trace.inputs) else None

    def _space(self, place: Place) -> tuple[str, str]:
        """The innermost module around a call that holds others and is no step itself."""
        for path in reversed(place.around):
            if path in self._parents and path not in self._layers:
                inside = place.path[len(path) + 1 if path else 0 :]
                return path, inside.partition(".")[0]
        return "", place.path.partition(".")[0]

    def unflatten(self, call: Call, value: Value) -> Value:
        """A vector as a map ``[C, 1, 1]``: it has been one all along, or cannot be."""
        if value.form == SQUEEZED:
            return Value(value.id)
        for step in self._before(value.id):
            if step.op.name == "flatten":
                raise Restart(step.call.node.name)
        raise call.problem("makes a map of a vector that was none before")

    def _before(self, id: int) -> Iterator[Step]:
        """The steps behind one another that lead to a value."""
        step = self.step(id)
        while step is not None:
            yield step
            step = self.step(step.inputs[0]) if len(step.inputs) == 1 else None


def _numbers(argument: Any) -> Any:
    """An argument without the tensors in it."""
    if isinstance(argument, list | tuple):
        return [_numbers(item) for item in argument]
    return None if isinstance(argument, fx.Node) else argument


def convert(trace: Trace, module: nn.Module) -> tuple[Converter, list[tuple[str, int]]]:
    """The steps of a recorded module, and its outputs."""
    from cnndsl.importers.torch import arrangement, joins, layers, pointwise  # noqa: F401

    gates: frozenset[str] = frozenset()
    while True:
        converter = Converter(trace, module, gates)
        try:
            return converter, converter.run()
        except Restart as restart:
            assert restart.name not in gates
            gates |= {restart.name}
