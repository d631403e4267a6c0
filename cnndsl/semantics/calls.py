"""Calls: arguments to parameters, declarations entered, operators applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from cnndsl.graph.model import Frame, Node
from cnndsl.graph.names import is_reserved
from cnndsl.ops.base import Op, Param, RuleError
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import Unknown
from cnndsl.semantics import errors
from cnndsl.semantics.evaluate import Evaluator
from cnndsl.semantics.faults import RuleFault, trail
from cnndsl.semantics.joins import explain_join
from cnndsl.semantics.naming import Namespace
from cnndsl.semantics.trampoline import Later, Routine
from cnndsl.semantics.values import (
    Activation,
    Definition,
    Env,
    Flow,
    Layer,
    Ratio,
    Stop,
    Wires,
)
from cnndsl.source import Span
from cnndsl.syntax import ast

Given = Mapping[str, tuple[Any, ast.Argument]]
"""Value and place of each argument, by the parameter's name."""
_MADE: dict[tuple[type[Op], Any], Op] = {}
"""Operators by the values they were made of. A text repeats its steps, and so do the texts of
one program with every fix that is tried.
"""
_MOST_MADE = 4_096


class Caller(Evaluator):
    """Binding and applying; running terms is left to the subclass."""

    # --- declarations ---------------------------------------------------------------------

    def enter(
        self,
        target: Definition,
        expr: ast.Call | None,
        env: Env,
        flow: Flow,
        path: str,
        span: Span,
    ) -> Routine[Env | None]:
        """The environment of a call's body, or None when its arguments do not fit."""
        caller = env.activation
        limits = self.state.limits
        if caller.depth >= limits.call_depth:
            self.state.found.add(errors.call_depth(span, target.name, limits.call_depth))
            raise Stop()
        given = yield self._arguments(
            target.name, [p.name.text for p in target.tree.params], expr, env, span
        )
        if given is None:
            return None
        frame = Frame(span.text, path, span, caller.frame, (target.name, given))
        activation = Activation(frame, path, Wires(flow.ids), caller.defaults, caller.depth + 1)
        inner = Env(target.scope, activation)
        needed = [p.name.text for p in target.tree.params if p.default is None]
        missing = [name for name in needed if name not in given]
        if missing:
            self.state.report(errors.missing_parameter(span, target.name, missing))
            return None
        yield self.state.within(frame, self._bind(target, given, inner))
        return inner

    def _bind(
        self, target: Definition, given: Mapping[str, tuple[Any, ast.Argument]], inner: Env
    ) -> Routine[None]:
        """The parameters in the body's environment, and its own defaults."""
        for param in target.tree.params:
            name = param.name.text
            if name in given:
                inner.names[name] = given[name][0]
            elif param.default is not None:
                inner.names[name] = yield self.value(param.default, inner)
        inner.activation.defaults = yield self._defaults(target.tree.body, inner)

    def _arguments(
        self, owner: str, names: Sequence[str], expr: ast.Call | None, env: Env, span: Span
    ) -> Routine[dict[str, tuple[Any, ast.Argument]] | None]:
        """Value and place of each argument by parameter name; None when one does not fit."""
        given: dict[str, tuple[Any, ast.Argument]] = {}
        arguments = (expr.args if expr is not None else None) or ()
        sound = True
        place = self.place
        for position, argument in enumerate(arguments):
            if argument.name is not None:
                name = argument.name.text
            elif position < len(names):
                name = names[position]
            else:
                self.state.report(errors.too_many(argument.span, owner, len(arguments), len(names)))
                return None
            if name not in names:
                at = argument.name.span if argument.name else argument.span
                self.state.report(errors.unknown_parameter(at, owner, name, names))
                sound = False
            elif name in given:
                if names.count(name) == 1:  # else the declaration itself was refused
                    self.state.report(errors.given_twice(argument.span, owner, name))
                sound = False
            else:
                self.place = f"{place}.{name}" if place else name
                given[name] = ((yield self.value(argument.value, env)), argument)
        self.place = place
        return given if sound else None

    def _defaults(self, body: ast.Body, env: Env) -> Routine[dict[str, dict[str, Any]]]:
        """The activation's defaults with those of its own `with` added."""
        if not body.defaults:
            return env.activation.defaults
        merged = {name: dict(values) for name, values in env.activation.defaults.items()}
        for call in body.defaults:
            op = self.find_layer(call.callee, env)
            if op is None:
                continue
            given = yield self._arguments(op.name, list(op.params), call, env, call.span)
            for name, (value, argument) in (given or {}).items():
                if self._fits(op.params[name], value, argument):
                    merged.setdefault(op.name, {})[name] = value
        return merged

    def find_layer(self, callee: ast.Name, env: Env) -> type[Op] | None:
        """The operator that a `with` names; declarations take no scoped defaults."""
        target = self.look_up(callee.name, env)
        op = getattr(target, "target", None)
        if isinstance(op, type):
            return op
        if target is None:
            self.unknown(callee, env)
            return None
        message = f"`with` sets defaults of the language's own layers; `{callee.name}` is none"
        self.state.report(errors.wrong_kind(callee.span, message))
        return None

    # --- operators ------------------------------------------------------------------------

    def make(
        self, op: type[Op], expr: ast.Call | None, env: Env, span: Span
    ) -> Later[tuple[Op | None, Mapping[str, Span]]]:
        """The operator with its parameters, and where each was given."""
        if expr is None or not expr.args:
            return self._made_of(op, {}, env, span)
        return self._with_arguments(op, expr, env, span)

    def _with_arguments(
        self, op: type[Op], expr: ast.Call, env: Env, span: Span
    ) -> Routine[tuple[Op | None, Mapping[str, Span]]]:
        given = yield self._arguments(op.name, list(op.params), expr, env, span)
        return (None, {}) if given is None else self._made_of(op, given, env, span)

    def _made_of(
        self, op: type[Op], given: Given, env: Env, span: Span
    ) -> tuple[Op | None, Mapping[str, Span]]:
        values = dict(env.activation.defaults.get(op.name, {}))
        for name, (value, _) in given.items():
            values[name] = _as_word(op.params[name], value)
        places = {name: argument.span for name, (_, argument) in given.items()}
        key = (op, exactly(values))
        made = _MADE.get(key)
        if made is None:
            for name, (_, argument) in given.items():
                if not self._fits(op.params[name], values[name], argument):
                    return None, {}
            made = self._build(op, values, places, span)
            if made is not None:
                if len(_MADE) >= _MOST_MADE:
                    _MADE.clear()
                _MADE[key] = made
        return made, places

    def _build(
        self, op: type[Op], values: Mapping[str, Any], places: Mapping[str, Span], span: Span
    ) -> Op | None:
        settled = {
            key: value
            for key, value in values.items()
            if not (value == "auto" and op.params[key].default is None)
        }
        try:
            return op(**settled)
        except RuleError as error:
            if error.rule == "missing" and error.param not in places:
                missing = [k for k, p in op.params.items() if p.required and k not in values]
                if missing:
                    self.state.report(errors.missing_parameter(span, op.name, missing))
                    return None
            self.state.report(errors.rule(RuleFault(error, op, values, places, span)))
            return None

    def _fits(self, declared: Param, value: Any, argument: ast.Argument) -> bool:
        """Whether a value is one that a parameter could take; reports what is not."""
        if isinstance(value, Unknown):
            return False
        if isinstance(value, Size | Ratio):
            shown = f"{value.size}/{value.divisor}" if isinstance(value, Ratio) else str(value)
            message = f"`{declared.name}` needs a number, and {shown} depends on the input size"
            help = "fix the size, as in [3, 224, 224], or with --at H=224,W=224"
            self.state.report(errors.symbolic(argument.span, message, help))
            return False
        if isinstance(value, Layer | Wires) or hasattr(value, "target"):
            message = f"`{declared.name}` needs a value, and this is a layer"
            self.state.report(errors.wrong_kind(argument.span, message))
            return False
        if isinstance(value, tuple) and any(isinstance(v, Unknown) for v in value):
            return False
        if declared.means_default(value):
            return True
        try:
            declared.read(value)
        except RuleError as error:
            self.state.report(self._value_problem(error, value, argument))
            return False
        return True

    def _value_problem(self, error: RuleError, value: Any, argument: ast.Argument) -> Any:
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(v, Fraction) for v in parts) and "whole" in error.message:
            return errors.not_whole(argument.span, error.message, _division(argument.value))
        places = {error.param or "": argument.span}
        return errors.rule(RuleFault(error, None, {}, places, argument.span))

    def apply(
        self,
        op: Op,
        ids: tuple[int, ...],
        path: str,
        span: Span,
        env: Env,
        places: Mapping[str, Span] | None = None,
        operands: Sequence[Span] = (),
        sharing: str | None = None,
    ) -> Node | None:
        """A node for ``op`` on wires, or None when a rule does not hold (reported)."""
        state, xs = self.state, self.state.types(ids)
        try:
            type = state.infer(op, tuple(xs))
        except RuleError as error:
            if state.doubt.forgives(op, ids):
                return None
            frame = env.activation.frame
            if op.join:
                found = explain_join(state, op, error, ids, operands, span, frame)
            else:
                before = trail(state.nodes, ids[0])
                given = places or {}
                fault = RuleFault(error, op.__class__, op.values, given, span, before, frame)
                found = errors.rule(fault)
            at_top = frame is None or frame.parent is None
            state.report(replace(found, path=path) if at_top and not op.join else found)
            return None
        if sharing is not None and not op.join and not self._shares(op, xs, path, span):
            return None
        return state.add(op, ids, type, path, span, env.activation.frame, sharing)

    def _shares(self, op: Op, xs: Sequence[Any], path: str, span: Span) -> bool:
        """Whether a second application under ``path`` can use the first one's weights."""
        first = self.state.by_path.get(path)
        if self.state.found.failed or any(isinstance(x, Unknown) for x in xs):
            return True
        if first is None:
            why = "the first application made no such module"
            self.state.report(errors.shared_differs(span, path, why))
            return False
        if op.auto_bias and getattr(op, "bias", True) is None:
            op = op.replace(bias=getattr(first.op, "bias", None))  # what its first use settled
        before = first.op.weights(*self.state.types(first.inputs))
        now = op.weights(*xs)
        if first.op != op or before != now:
            why = f"its weights are {_weights(before)}, and this needs {_weights(now)}"
            self.state.report(errors.shared_differs(span, path, why))
            return False
        return True

    def take(self, space: Namespace, label: str | None, span: Span) -> str:
        """The module path of a step."""
        path, earlier = space.take(label, span)
        self._check_path(path, earlier, span)
        return path

    def open(self, space: Namespace, label: str | None, span: Span) -> Namespace:
        """The namespace of a group: its own with a label, the surrounding one without."""
        if label is None:
            return space
        inner, earlier = space.open(label, span)
        self._check_path(inner.path, earlier, span)
        return inner

    def _check_path(self, path: str, earlier: Span | None, span: Span) -> None:
        limit = self.state.limits.path
        if path.count(".") >= limit:
            raise self._too_deep(span, limit)
        if earlier is not None:
            self.state.report(errors.same_path(span, earlier, path))
        label = path.rpartition(".")[2]
        if is_reserved(label):
            message = f"`{label}` cannot be a label: every PyTorch module has a part of that name"
            self.state.report(errors.bad_label(span, message))

    def _too_deep(self, span: Span, limit: int) -> Stop:
        """Blocks that call themselves without end, or just too many names."""
        names: list[str] = []
        frame = self.state.frame
        while frame is not None:
            names += [frame.given[0]] if frame.given else []
            frame = frame.parent
        for name in names:
            if names.count(name) > 1:
                self.state.found.add(errors.call_depth(span, name, names.count(name)))
                return Stop()
        return self.state.stop(errors.expansion_limit(span, "levels of module names", limit))

    def one_wire(self, flow: Flow, span: Span, what: str) -> bool:
        """Whether exactly one wire arrives; reports the rest."""
        if len(flow.ids) == 1:
            return True
        if not flow.ids:
            self.state.report(errors.nothing_here(span, f"nothing arrives at {what}"))
        else:
            message = f"{len(flow.ids)} wires arrive at {what}, which takes one"
            help = "name them: `let a, b = …`"
            self.state.report(errors.wire_count(span, message, help))
        return False


def exactly(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Values as a key that keeps apart what only compares equal, as `1` and `yes`."""
    return tuple((name, _with_type(value)) for name, value in values.items())


def _with_type(value: Any) -> tuple[Any, ...]:
    if type(value) is tuple:
        return tuple(map(_with_type, value))
    return type(value), value


def _division(expr: ast.Expr) -> Span | None:
    """The first `/` inside an expression: the culprit of most fractions."""
    waiting: list[ast.Expr] = [expr]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Infix):
            if node.op == "/":
                return node.span
            waiting.extend(node.operands)
        elif isinstance(node, ast.Group):
            waiting.append(node.body)
        elif isinstance(node, ast.Items):
            waiting.extend(node.items)
    return None


def _as_word(declared: Param, value: Any) -> Any:
    """A layer's name where a parameter has it among its words (``approximate=tanh``)."""
    name = value.expr.name if _is_constant(value) else getattr(value, "name", None)
    return name if name in declared.choices else value


def _is_constant(value: Any) -> bool:
    return isinstance(value, Layer) and isinstance(value.expr, ast.Constant)


def _weights(weights: Sequence[Any]) -> str:
    shown = [f"{w.name or 'weight'} {list(w.shape)}" for w in weights if not w.buffer]
    return ", ".join(shown) or "none"
