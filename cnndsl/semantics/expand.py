"""Terms to a graph: every sign and word of the language, applied to wires.

Types are inferred as nodes are made, because a term may ask for ``in.channels``. Routines
run on a trampoline, so depth is bounded by the limits and never by Python's stack.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from cnndsl.graph.names import is_field
from cnndsl.ops import catalogue
from cnndsl.ops.base import Op
from cnndsl.ops.types import Unknown
from cnndsl.semantics import errors
from cnndsl.semantics.ascription import check_ascription
from cnndsl.semantics.naming import Namespace, fits_label
from cnndsl.semantics.repeat import Repeater
from cnndsl.semantics.replay import Call, Replay
from cnndsl.semantics.state import State
from cnndsl.semantics.trampoline import Later, Routine
from cnndsl.semantics.values import Env, Flow, Function, Layer, Wires
from cnndsl.source import Span
from cnndsl.syntax import ast

Handler = Callable[..., Later[Flow]]
_JOINS = {"+": "add", "|": "concat", "*": "mul"}


class Expander(Repeater):
    """Applies terms to wires. Every handler takes (expr, env, flow, space, label)."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.replay = Replay(state)
        self._layers: dict[type, Handler] = {
            ast.Chain: self._chain, ast.Name: self._named, ast.Call: self._called,
            ast.Labelled: self._labelled, ast.Infix: self._joined, ast.Group: self._grouped,
            ast.Power: self._repeated, ast.If: self._chosen, ast.For: self._looped,
            ast.Tap: self._tapped, ast.Ascribed: self._ascribed, ast.Emit: self._emitted,
            ast.Again: self._again, ast.Constant: self._constant,
        }  # fmt: skip

    def run(
        self, expr: ast.Expr, env: Env, flow: Flow, space: Namespace, label: str | None = None
    ) -> Later[Flow]:
        self.state.step(expr.span)
        handler: Handler = self._layers.get(type(expr), self._misplaced)
        return handler(expr, env, flow, space, label)

    # --- signs ----------------------------------------------------------------------------

    def _chain(
        self, expr: ast.Chain, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        space = self.open(space, label, expr.span)
        for index, step in enumerate(expr.steps):
            if index and not flow.ids:
                message = "nothing arrives here: the step before it is `none`"
                self.state.report(errors.nothing_here(step.span, message))
                return self.state.failed(step.span)
            flow = yield self.run(step, env, flow, space)
        return flow

    def _grouped(
        self, expr: ast.Group, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Later[Flow]:
        return self.run(expr.body, env, flow, self.open(space, label, expr.span))

    def _labelled(
        self, expr: ast.Labelled, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        space = self.open(space, label, expr.span)
        name = yield self._label_text(expr.label, env)
        if name is None:
            return self.state.failed(expr.span)
        activation = env.activation
        relative = space.join(name)[len(activation.path) :].lstrip(".")
        done: Flow = yield self.run(expr.body, env, flow, space, name)
        # Only now, so that `again` inside the module cannot mean the module itself.
        activation.labels[relative] = (expr.body, env, space.path)
        return done

    def _label_text(self, label: ast.LabelText, env: Env) -> Later[str | None]:
        if len(label.parts) == 1 and isinstance(label.parts[0], str):
            return self._short_enough(label.parts[0], label.span)
        return self._put_together(label, env)

    def _put_together(self, label: ast.LabelText, env: Env) -> Routine[str | None]:
        parts = []
        for part in label.parts:
            if isinstance(part, str):
                parts.append(part)
                continue
            value = yield self.number(part, env)
            if isinstance(value, Unknown):
                return None
            if not fits_label(value):
                message = "a label is built of whole numbers and words"
                self.state.report(errors.bad_label(part.span, message))
                return None
            parts.append(str(value))
        return self._short_enough("".join(parts), label.span)

    def _short_enough(self, name: str, span: Span) -> str | None:
        limit = self.state.limits.identifier
        if max(map(len, name.split("."))) > limit:
            message = f"a label has at most {limit} characters"
            self.state.report(errors.bad_label(span, message))
            return None
        return name

    def _joined(
        self, expr: ast.Infix, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        name = _JOINS.get(expr.op)
        kinds = [self.kind(operand, env) for operand in expr.operands]
        if name is None and "layer" in kinds:
            operand = expr.operands[kinds.index("layer")]
            self._report_kind(operand, f"`{expr.op}` needs numbers, and this is a layer")
            return self.state.failed(expr.span)
        if name is None or "layer" not in kinds:
            self._report_kind(expr, "a layer is needed here, and this is a number")
            return self.state.failed(expr.span)
        if "number" in kinds:
            operand = expr.operands[kinds.index("number")]
            self._report_kind(operand, f"`{expr.op}` joins layers here, and this is a number")
            return self.state.failed(expr.span)
        space = self.open(space, label, expr.span)
        flows = yield self.operands(list(expr.operands), env, flow, space)
        return self.join(_join(name), flows, expr.span, env, space)

    def operands(
        self, exprs: list[ast.Expr], env: Env, flow: Flow, space: Namespace
    ) -> Routine[list[tuple[Flow, Span]]]:
        """Each operand applied to the same input; a `for` here is one operand per value."""
        flows: list[tuple[Flow, Span]] = []
        space.joins += 1
        for expr in exprs:
            if isinstance(expr, ast.For):
                turns = yield self._iterations(expr, env)
                self._check_fan_in(len(flows) + len(turns), expr.span)
                for inner in turns:
                    found = yield self.run(expr.body, inner, Flow(flow.ids), space)
                    flows.append((found, expr.body.span))
            else:
                flows.append(((yield self.run(expr, env, Flow(flow.ids), space)), expr.span))
                self._check_fan_in(len(flows), expr.span)
        space.joins -= 1
        return flows

    def _check_fan_in(self, count: int, span: Span) -> None:
        limit = self.state.limits.fan_in
        if count > limit:
            raise self.state.stop(errors.expansion_limit(span, "operands of one join", limit))

    # --- words ----------------------------------------------------------------------------

    def _constant(
        self, expr: ast.Constant, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Flow:
        return flow if expr.name == "id" else Flow(())

    def _chosen(
        self, expr: ast.If, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        condition = yield self.truth(expr.condition, env)
        if isinstance(condition, Unknown):
            return self.state.failed(expr.span)
        space = self.open(space, label, expr.span)
        branch = expr.then if condition else expr.orelse
        return flow if branch is None else (yield self.run(branch, env, flow, space))

    def _tapped(
        self, expr: ast.Tap, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        flow = yield self.run(expr.body, env, flow, space, label)
        env.root.names[expr.name.text] = Wires(flow.ids)
        return flow

    def _ascribed(
        self, expr: ast.Ascribed, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        flow = yield self.run(expr.body, env, flow, space, label)
        if self.one_wire(flow, expr.span, "an ascription"):
            claimed = yield self._items(expr.dims, env)
            node = self.state.nodes[flow.ids[0]]
            believed = check_ascription(self.state, node, claimed, expr.dims)
            if believed is not node.type:
                return self.state.failed(expr.dims.span, believed, flow.ids)
        return flow

    def _emitted(
        self, expr: ast.Emit, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        name = label
        if isinstance(expr.body, ast.Labelled):
            name = yield self._label_text(expr.body.label, env)
        if name is None:
            message = "an emitted value needs a label: `emit name: …`"
            self.state.report(errors.bad_emit(expr.span, message))
        if expr.mode is not None and expr.mode.text != "train":
            message = f"`emit` takes `[train]` or nothing, not `[{expr.mode.text}]`"
            self.state.report(errors.bad_emit(expr.mode.span, message))
        if self._is_emitted(name, expr):
            return flow
        head = yield self.run(expr.body, env, Flow(flow.ids), space, label)
        if name is not None and self.one_wire(head, expr.body.span, "an output"):
            self._output(name, head.ids[0], expr)
        return flow

    def _is_emitted(self, name: str | None, expr: ast.Emit) -> bool:
        known = any(output.name == name for output in self.state.outputs)
        if known:
            self.state.report(errors.bad_emit(expr.span, f"`{name}` is emitted twice"))
        return known

    def _output(self, name: str, node: int, expr: ast.Emit) -> None:
        if self._is_emitted(name, expr):  # by an `emit` in the body
            return
        if not is_field(name):
            message = f"`{name}` cannot name a field of the tuple that the module returns"
            if name.isdigit():
                message = f"an output needs a name, and `{name}` is a number"
            self.state.report(errors.bad_emit(expr.span, message))
            return
        self.state.add_output(name, node, emitted=True, train=expr.mode is not None)

    def _again(
        self, expr: ast.Again, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        name = yield self._label_text(expr.module, env)
        if name is None:
            return self.state.failed(expr.span)
        known = env.activation.labels.get(name)
        if known is None:
            labels = env.activation.labels
            self.state.report(errors.no_such_module(expr.module.span, name, labels))
            return self.state.failed(expr.span)
        body, where, path = known
        shared = space.repeating(path)
        flow = yield self.run(body, where, Flow(flow.ids), shared, name.rsplit(".", 1)[-1])
        return Flow(flow.ids)

    # --- names and calls ------------------------------------------------------------------

    def _named(
        self, expr: ast.Name, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Later[Flow]:
        value = self.look_up(expr.name, env)
        if isinstance(value, Wires):
            return Flow(value.ids)
        if isinstance(value, Layer):
            layer = self.run(value.expr, value.env, flow, space, label)
            return self.state.within(value.env.activation.frame, layer)
        if isinstance(value, Function):
            return self.call(value, expr, None, env, flow, space, label)
        if value is None:
            self.unknown(expr, env)
        elif not isinstance(value, Unknown):
            self._report_kind(expr, f"a layer is needed here, and `{expr.name}` is a number")
        return self.state.failed(expr.span)

    def _called(
        self, expr: ast.Call, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Later[Flow]:
        name = expr.callee.name
        value = self.look_up(name, env)
        if isinstance(value, Function):
            return self.call(value, expr, expr, env, flow, space, label)
        if value is None and name == "oneof":
            return self._one_of(expr, env, flow, space, label)
        if value is None:
            self.unknown(expr.callee, env)
        elif not isinstance(value, Unknown):
            what = "already has its input" if isinstance(value, Wires) else "takes no parameters"
            self._report_kind(expr, f"`{name}` {what}")
        return self.state.failed(expr.span)

    def _one_of(
        self, expr: ast.Call, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        arguments = expr.args or ()
        if not arguments:
            self.state.report(errors.missing_parameter(expr.span, "oneof", ["alternatives"]))
            return self.state.failed(expr.span)
        path = space.join(label if label is not None else str(space.count))
        choice = self.state.choose(path, arguments, expr.span)
        first, opened = self.state.next_id, len(self.state.choices)
        flow = yield self.run(arguments[choice.taken].value, env, flow, space, label)
        self.state.enclose(choice.path, first, opened, flow, env)
        return flow

    def block(
        self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace, span: Span
    ) -> Later[Flow]:
        """Its body, or a copy of what it made when it was called alike before."""
        call = self.replay.call(tree, env, flow, space)
        if call is None:
            return self.body(tree, env, flow, space)
        known = self.replay.copied(call, span)
        return self._kept(call, self.body(tree, env, flow, space)) if known is None else known

    def _kept(self, call: Call, body: Routine[Flow]) -> Routine[Flow]:
        before, events = self.state.work, self.state.events
        result: Flow = yield body
        self.replay.keep(call, before, events, result)
        return result

    def body(self, tree: ast.Declaration, env: Env, flow: Flow, space: Namespace) -> Routine[Flow]:
        """Lets in order, then the results, all from the same input."""
        for let in tree.body.lets:
            yield self._let(let, env, flow, space)
        results = tree.body.results
        if len(results) == 1:
            done: Flow = yield self.run(results[0], env, flow, space)
            return done
        ids: list[int] = []
        for result in results:
            found = yield self.run(result, env, Flow(flow.ids), space)
            if not self.one_wire(found, result.span, "a result"):
                return self.state.failed(result.span)
            ids.extend(found.ids)
        return Flow(tuple(ids))

    def _let(self, let: ast.Let, env: Env, flow: Flow, space: Namespace) -> Routine[None]:
        names = [name.text for name in let.names]
        if len(names) == 1 and self.kind(let.value, env) == "number":
            env.names[names[0]] = yield self.number(let.value, env)
            return
        found = yield self.run(let.value, env, Flow(flow.ids), space)
        if len(names) == 1:
            env.names[names[0]] = Wires(found.ids)
            return
        failed = len(found.ids) == 1 and isinstance(self.state.nodes[found.ids[0]].type, Unknown)
        if len(found.ids) != len(names) and not failed:
            message = f"{len(names)} names for {len(found.ids)} wires"
            self.state.report(errors.wire_count(let.span, message))
            failed = True
        ids = found.ids * len(names) if failed and found.ids else found.ids
        for name, wire in zip(names, ids, strict=False):
            env.names[name] = Wires((wire,))


@cache
def _join(name: str) -> Op:
    """A join by sign has no parameters: one operator stands for all."""
    return catalogue()[name]()
