"""How large a network becomes, before it is built: calls that are alike are counted once.

A recursion that doubles reaches the limit on nodes only after all of them, which takes
seconds. Expanding every call of the same block once, where what decides its growth is the
same, and charging the rest as before, tells the same in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cnndsl.diagnostics import Diagnostic
from cnndsl.graph.model import Node
from cnndsl.ops.base import Op
from cnndsl.ops.types import UNKNOWN, Type, Unknown
from cnndsl.semantics.calls import exactly
from cnndsl.semantics.naming import Namespace
from cnndsl.semantics.net import Net
from cnndsl.semantics.state import FAILED
from cnndsl.semantics.structure import SIZES, Structure
from cnndsl.semantics.trampoline import Routine, run
from cnndsl.semantics.values import Definition, Env, Flow, Layer, Stop, Wires
from cnndsl.source import Span
from cnndsl.syntax import ast

MOST_BUILT = 2_000  # a forecast may cost no more than a small part of what it saves


class Cost(NamedTuple):
    """What one call charges, and the types it gives; None where it gives back its input.

    Where nothing in the net asks for sizes they are unknown.
    """

    nodes: int
    steps: int
    types: tuple[Type, ...] | None


class Forecast(Net):
    """Expands a net as ``Net`` does, with stand-ins for what calls alike would build."""

    def __init__(self, net: Net, most_built: int = MOST_BUILT) -> None:
        state = net.state
        super().__init__(
            net.definition, state.limits, net.given, net.at, state.chooser, state.watch
        )
        self.most_built = most_built
        self.structure = Structure()
        self.asks_for_sizes = self.structure.decides(net.definition, SIZES)
        self.state.foresee = None
        self._costs: dict[Any, Cost] = {}

    def too_large(self) -> Diagnostic | None:
        """The limit that the network will exceed; None if none, or nothing can be said."""
        try:
            run(self._expand())
        except Stop:
            problems = self.state.found.all
            if len(problems) == 1 and problems[0].code == "E0212" and not self._in_doubt:
                return problems[0]
        return None

    @property
    def _in_doubt(self) -> bool:
        """After an error, and where paths choose, calls alike need not cost alike."""
        return self.state.broken or bool(self.state.choices)

    def block(
        self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace, span: Span
    ) -> Routine[Flow]:
        """Nothing is copied: what is alike is not even built."""
        return self.body(tree, env, flow, space)

    def body(self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace) -> Routine[Flow]:
        if not self.asks_for_sizes:
            flow = self._forget_sizes(env, flow)
        state, key = self.state, self._key(tree, env, flow)
        known = self._costs.get(key)
        if known is not None:
            state.spend(tree.name.span, known.nodes, known.steps)
            if known.types is None:
                return flow
            return Flow(tuple(state.stand_in(type) for type in known.types))
        before = state.charged
        done: Flow = yield super().body(tree, env, flow, space)
        if self._in_doubt or state.found.failed:
            raise Stop
        if key is not None and state.multiplier:
            nodes, steps = (
                (after - at) // state.multiplier
                for at, after in zip(before, state.charged, strict=True)
            )
            types = None if done.ids == flow.ids else tuple(state.types(done.ids))
            self._costs[key] = Cost(nodes, steps, types)
        return done

    def _forget_sizes(self, env: Env, flow: Flow) -> Flow:
        """Wires of unknown types, for every body grows alike on all; the body's input."""
        for name, value in env.names.items():
            if isinstance(value, Wires):
                env.names[name] = Wires(self._unknown(value.ids))
        env.activation.wire = Wires(self._unknown(flow.ids))
        return Flow(env.activation.wire.ids)

    def _unknown(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.state.stand_in(UNKNOWN) for _ in ids)

    def _operator(
        self, target: type[Op], expr: ast.Expr, call: ast.Call | None, env: Env, flow: Flow,
        space: Namespace, label: str | None,
    ) -> Routine[Flow]:  # fmt: skip
        """Without sizes an operator is a node; its arguments are evaluated, for that costs."""
        if self.asks_for_sizes:
            done: Flow = yield super()._operator(target, expr, call, env, flow, space, label)
            return done
        yield self._arguments(target.name, list(target.params), call, env, expr.span)
        path = self.take(space, label, expr.span)
        self._check_built()
        node = self.state.add(FAILED, flow.ids, UNKNOWN, path, expr.span, self.state.frame)
        return Flow((node.id,))

    def apply(self, *args: Any, **kwargs: Any) -> Node | None:
        self._check_built()
        return super().apply(*args, **kwargs)

    def _check_built(self) -> None:
        if self.state.next_id > self.most_built:
            raise Stop

    def _key(self, tree: ast.Declaration, env: Env, flow: Flow) -> Any:
        """What the cost of a call depends on; None where that cannot be compared."""
        names, definition = {}, Definition(tree, env.scope)
        for name, value in env.names.items():
            if isinstance(value, Wires):
                names[name] = tuple(self.state.types(value.ids))
            elif self.asks_for_sizes or self.structure.decides(definition, name):
                if isinstance(value, Layer | Unknown):
                    return None
                names[name] = value
        key = (id(tree), exactly(names), tuple(self.state.types(flow.ids)), _scoped(env))
        try:
            hash(key)
        except TypeError:  # a list with a layer in it
            return None
        return key


def _scoped(env: Env) -> Any:
    defaults: Mapping[str, Mapping[str, Any]] = env.activation.defaults
    return tuple((name, exactly(values)) for name, values in defaults.items())
