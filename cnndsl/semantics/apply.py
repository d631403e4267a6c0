"""Names that are called: operators on wires, joins by name, blocks and defs entered."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.types import Unknown
from cnndsl.semantics import errors
from cnndsl.semantics.calls import Caller
from cnndsl.semantics.naming import Namespace
from cnndsl.semantics.trampoline import Later, Routine
from cnndsl.semantics.values import Definition, Env, Flow, Function, Wires
from cnndsl.source import Span
from cnndsl.syntax import ast


class Applier(Caller):
    """Applies functions; running the terms inside them is the subclass's."""

    _weighed, _weighty = 0, -1
    """The nodes that were asked for weights, and the last one that has some."""

    @abstractmethod
    def run(
        self, expr: ast.Expr, env: Env, flow: Flow, space: Namespace, label: str | None = None
    ) -> Later[Flow]:
        """One term applied to what flows into it."""

    @abstractmethod
    def body(self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace) -> Routine[Flow]:
        """The terms of a declaration, one after the other."""

    @abstractmethod
    def block(
        self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace, span: Span
    ) -> Later[Flow]:
        """The body of a declaration that has a namespace of its own; ``span``: of its call."""

    @abstractmethod
    def operands(
        self, exprs: list[ast.Expr], env: Env, flow: Flow, space: Namespace
    ) -> Routine[list[tuple[Flow, Span]]]:
        """The maps that an operator of several inputs joins, each with its place."""

    def _misplaced(self, expr: ast.Expr, env: Env, flow: Flow, *_: Any) -> Flow:
        self._report_kind(expr, "a layer is needed here, and this is a number")
        return self.state.failed(expr.span)

    def join(
        self, op: Op, flows: list[tuple[Flow, Span]], span: Span, env: Env, space: Namespace
    ) -> Flow:
        """Absent branches drop out; one branch is itself; none at all is `none`."""
        present = [(f, s) for f, s in flows if f.ids]
        if op.name == "mul" and len(present) < len(flows):
            self.state.report(errors.nothing_here(span, "`*` needs every operand"))
            return self.state.failed(span)
        for flow, place in present:
            if not self.one_wire(flow, place, "a join"):
                return self.state.failed(span)
        if len(present) <= 1:
            return Flow(present[0][0].ids) if present else Flow(())
        ids = tuple(flow.ids[0] for flow, _ in present)
        places = [place for _, place in present]
        path = space.join(op.name)
        node = self.apply(op, ids, path, span, env, operands=places, sharing=space.sharing)
        return Flow((node.id,)) if node else self.state.failed(span)

    def call(
        self,
        value: Function,
        expr: ast.Expr,
        call: ast.Call | None,
        env: Env,
        flow: Flow,
        space: Namespace,
        label: str | None,
    ) -> Routine[Flow]:
        place, self.place = self.place, space.join(label or str(space.count))
        first, opened = self.state.next_id, len(self.state.choices)
        try:
            target = value.target
            if isinstance(target, Definition):
                routine = self._declared(target, expr, call, env, flow, space, label)
            elif target.join:
                routine = self._named_join(target, expr, call, env, flow, space, label)
            else:
                routine = self._operator(target, expr, call, env, flow, space, label)
            done: Flow = yield routine
            self._enclose_number(first, opened, done, env)
            return done
        finally:
            self.place = place

    def _enclose_number(self, first: int, opened: int, flow: Flow, env: Env) -> None:
        """A number chosen in a call's arguments, and nothing else there, ends with the call."""
        state = self.state
        if len(state.choices) == opened + 1 and state.choices[opened].path not in state.regions:
            state.enclose(state.choices[opened].path, first, opened + 1, flow, env)

    def _operator(
        self, target: type[Op], expr: ast.Expr, call: ast.Call | None, env: Env, flow: Flow,
        space: Namespace, label: str | None,
    ) -> Routine[Flow]:  # fmt: skip
        span = expr.span
        if call is not None and call.wires is not None:
            self.state.report(errors.wire_count(span, f"`{target.name}` takes no wires in `[…]`"))
            return self.state.failed(span)
        op, places = yield self.make(target, call, env, span)
        path = self.take(space, label, span)
        if op is None or not self.one_wire(flow, span, f"`{target.name}`"):
            return self.state.failed(span)
        nodes = []
        pieces = self._pieces(op, flow.ids[0])
        for number, piece in enumerate(pieces):
            own = f"{path}.{number}" if len(pieces) > 1 else path
            node = self.apply(piece, flow.ids, own, span, env, places, sharing=space.sharing)
            if node is None:
                return self.state.failed(span)
            nodes.append(node)
        self._after(nodes[0], flow, space, label)
        open_bias = target.auto_bias and getattr(nodes[0].op, "bias", True) is None
        return Flow(tuple(n.id for n in nodes), nodes[0].id if open_bias else None)

    def _pieces(self, op: Op, wire: int) -> tuple[Op, ...]:
        """What stands for an operator with several output wires; itself for all others."""
        type = self.state.nodes[wire].type
        if isinstance(type, Unknown):
            return (op,)
        try:
            return op.pieces(type) or (op,)
        except RuleError:  # applying it whole reports the rule at its place
            return (op,)

    def _after(self, node: Any, flow: Flow, space: Namespace, label: str | None) -> None:
        """A norm settles the bias before it; weights in a join want a label."""
        if node.op.norm and flow.pending is not None:
            self.state.open_biases.discard(flow.pending)
            before = self.state.nodes[flow.pending]
            self.state.settle_bias(before, False)
        elif node.op.auto_bias and node.op.bias is None:
            self.state.open_biases.add(node.id)
        unnamed = space.joins and label is None and not isinstance(node.type, Unknown)
        if unnamed and node.op.weights(*self.state.types(node.inputs)):
            self.state.report(errors.unlabelled_weights(node.span))

    def _named_join(
        self, target: type[Op], expr: ast.Expr, call: ast.Call | None, env: Env, flow: Flow,
        space: Namespace, label: str | None,
    ) -> Routine[Flow]:  # fmt: skip
        """``add(f, g)``: layers in round brackets, or wires in square ones; values by name."""
        arguments = [] if call is None else [*(call.args or ()), *(call.wires or ())]
        layers = [a.value for a in arguments if a.name is None]
        if not layers:
            self.state.report(errors.missing_parameter(expr.span, target.name, ["operands"]))
            return self.state.failed(expr.span)
        values = None
        if call is not None and call.args is not None:
            named = tuple(a for a in call.args if a.name is not None)
            values = ast.Call(call.span, call.callee, named, depth=call.depth)
        op, _ = yield self.make(target, values, env, expr.span)
        stray = next((layer for layer in layers if self.kind(layer, env) == "number"), None)
        if stray is not None:
            self._report_kind(stray, f"`{target.name}` joins layers, and this is a number")
        if op is None or stray is not None:
            return self.state.failed(expr.span)
        space = self.open(space, label, expr.span)
        flows = yield self.operands(layers, env, flow, space)
        return self.join(op, flows, expr.span, env, space)

    def _declared(
        self, target: Definition, expr: ast.Expr, call: ast.Call | None, env: Env, flow: Flow,
        space: Namespace, label: str | None,
    ) -> Routine[Flow]:  # fmt: skip
        tree, span = target.tree, expr.span
        wires = yield self._wire_arguments(target, call, env, flow, space, span)
        if tree.kind == "def":
            inner_space = self.open(space, label, span)
        else:
            inner_space = Namespace(self.take(space, label, span), space.sharing)
        before = self.state.next_id
        inner = yield self.enter(target, call, env, flow, inner_space.path, span)
        if inner is None or wires is None:
            return self.state.failed(span)
        inner.names.update(wires)
        if tree.kind == "def":
            body: Later[Flow] = self.body(tree, inner, flow, inner_space)
        else:
            body = self.block(tree, inner, Flow(flow.ids), inner_space, span)
        result = yield self.state.within(inner.activation.frame, body)
        if tree.kind != "def" and space.joins and label is None and self._has_weights(before):
            self.state.report(errors.unlabelled_weights(span))
        return result if tree.kind == "def" else Flow(result.ids)

    def _has_weights(self, first: int) -> bool:
        """Whether a node from ``first`` on has weights; each node is asked once in all."""
        nodes = self.state.nodes
        for i in range(self._weighed, self.state.next_id):
            xs = self.state.types(nodes[i].inputs)
            if not any(isinstance(x, Unknown) for x in xs) and nodes[i].op.weights(*xs):
                self._weighty = i
        self._weighed = self.state.next_id
        return self._weighty >= first

    def _wire_arguments(
        self, target: Definition, call: ast.Call | None, env: Env, flow: Flow, space: Namespace,
        span: Span,
    ) -> Routine[dict[str, Wires] | None]:  # fmt: skip
        tree = target.tree
        names = [w.text for w in tree.wires] or [i.name.text for i in tree.inputs[1:] if i.name]
        arguments = (call.wires if call is not None else None) or ()
        given: dict[str, Wires] = {}
        for position, argument in enumerate(arguments):
            name = argument.name.text if argument.name else None
            if name is None and position < len(names):
                name = names[position]
            if name not in names or name in given:
                message = f"`{target.name}` takes the wires [{', '.join(names)}]"
                self.state.report(errors.wire_count(argument.span, message))
                return None
            found = yield self.run(argument.value, env, Flow(flow.ids), space)
            if not self.one_wire(found, argument.span, f"wire `{name}`"):
                return None
            given[name] = Wires(found.ids)
        missing = [name for name in names if name not in given]
        if missing:
            message = f"`{target.name}` needs the wires [{', '.join(missing)}]"
            self.state.report(errors.wire_count(span, message))
            return None
        return given
