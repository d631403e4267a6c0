"""Values of expressions: numbers now, layers later (a layer waits for its input)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cnndsl.ops import catalogue, find_op
from cnndsl.ops.base import show
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import UNKNOWN, FeatureMap, Unknown, channels_of
from cnndsl.semantics import errors, numbers
from cnndsl.semantics.kinds import Kind, definition_kind, kind_of, name_kind
from cnndsl.semantics.state import State
from cnndsl.semantics.trampoline import Later, Routine, is_routine
from cnndsl.semantics.values import Definition, Env, Flow, Function, Layer, Wires
from cnndsl.semantics.vocabulary import words
from cnndsl.source import Span
from cnndsl.syntax import ast

SIZES = ("channels", "height", "width")
"""What can be asked of a wire."""
_CODES = {"arithmetic": errors.arithmetic, "kind": errors.wrong_kind, "symbolic": errors.symbolic}


class Evaluator(ABC):
    """Numbers of a term. ``UNKNOWN`` is the value of what was already reported."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.place = ""
        self._numbers: dict[type, Callable[..., Later[Any]]] = {
            ast.Number: self._literal, ast.Boolean: self._literal, ast.Name: self._name,
            ast.Attribute: self._attribute, ast.Infix: self._infix, ast.Compare: self._compare,
            ast.Logic: self._logic, ast.Negative: self._negative, ast.Power: self._power,
            ast.If: self._if, ast.Group: self._group, ast.Items: self._items,
            ast.Call: self._call,
        }  # fmt: skip

    # --- names ----------------------------------------------------------------------------

    def kind(self, expr: ast.Expr, env: Env) -> Kind:
        def look(name: str) -> Kind:
            value = env.find(name)
            if value is None:
                return "layer" if name == "in" else name_kind(name, env.scope)
            if isinstance(value, Unknown):
                return None
            return "layer" if isinstance(value, Wires | Layer | Function) else "number"

        return kind_of(expr, look, env.scope)

    def look_up(self, name: str, env: Env) -> Any:
        """A local value, a wire, a Function, a symbol, a word; None if nobody knows it."""
        value = env.find(name)
        if value is not None:
            return value
        if name == "in":
            return env.activation.wire
        known: Any = env.scope.names.get(name)
        if known is not None:
            return Function(known)
        if name in env.scope.missing:
            return None
        if name in self.state.facts.symbols:
            return Size.of(name)
        found = catalogue().get(name)  # `tanh` is a layer, and a word only where one is asked for
        if found is None and name in words():
            return name
        found = found or find_op(name)
        return Function(found) if found else None

    def unknown(self, name: ast.Name, env: Env) -> None:
        """Reports a name that nobody knows, unless it was lost to an error already reported."""
        if name.name not in env.scope.missing:
            self.state.report(errors.unknown_name([name.span], name.name, "name"))

    # --- values ---------------------------------------------------------------------------

    def value(self, expr: ast.Expr, env: Env) -> Later[Any]:
        """A number, word, tuple, Function, Wires, Layer, or UNKNOWN."""
        if isinstance(expr, ast.Number | ast.Boolean):
            return self._literal(expr, env)
        if isinstance(expr, ast.Name):
            return self._name(expr, env)
        if self.kind(expr, env) == "layer":
            return Layer(expr, env)
        return self.number(expr, env)

    def number(self, expr: ast.Expr, env: Env) -> Later[Any]:
        """The value where only a number will do."""
        self.state.step(expr.span)
        compute = self._numbers.get(type(expr))
        value: Any = Layer(expr, env) if compute is None else compute(expr, env)
        return self._awaited(expr, value) if is_routine(value) else self._no_layer(expr, value)

    def _awaited(self, expr: ast.Expr, value: Routine[Any]) -> Routine[Any]:
        return self._no_layer(expr, (yield value))

    def _no_layer(self, expr: ast.Expr, value: Any) -> Any:
        if isinstance(value, Layer | Function | Wires):
            self._report_kind(expr, "this is a layer, and a number is needed here")
            return UNKNOWN
        return value

    def _literal(self, expr: ast.Number | ast.Boolean, env: Env) -> Any:
        try:
            return numbers.tidy(expr.value)
        except numbers.NumberError as problem:
            message = f"{expr.span.text} is {problem.message}"
            self.state.report(errors.bad_value(expr.span, message))
            return UNKNOWN

    def _report_kind(self, expr: ast.Expr, message: str) -> None:
        self.state.report(errors.wrong_kind(expr.span, message))

    def _name(self, expr: ast.Name, env: Env) -> Later[Any]:
        value = self.look_up(expr.name, env)
        if value is None:
            self.unknown(expr, env)
            return UNKNOWN
        target = value.target if isinstance(value, Function) else None
        if isinstance(target, Definition) and definition_kind(target) == "number":
            return self._numeric_def(target, None, env, expr.span)
        return value

    def _attribute(self, expr: ast.Attribute, env: Env) -> Any:
        if expr.name.text not in SIZES:
            self.state.report(errors.unknown_attribute(expr.name.span, expr.name.text))
            return UNKNOWN
        wire = self.look_up(expr.owner.name, env)
        if not isinstance(wire, Wires):
            self._report_kind(expr, f"`{expr.owner.name}` is not a wire: it has no sizes")
            return UNKNOWN
        if len(wire.ids) != 1:
            message = f"`{expr.owner.name}` is {len(wire.ids)} wires: its size is not one"
            self.state.report(errors.wire_count(expr.span, message))
            return UNKNOWN
        type = self.state.nodes[wire.ids[0]].type
        if isinstance(type, Unknown):
            return UNKNOWN
        if expr.name.text == "channels":
            return channels_of(type)
        if not isinstance(type, FeatureMap):
            self._report_kind(expr, f"a vector {type} has no {expr.name.text}")
            return UNKNOWN
        return type.height if expr.name.text == "height" else type.width

    # --- arithmetic -----------------------------------------------------------------------

    def _guard(self, span: Span, compute: Callable[..., Any], *values: Any) -> Any:
        if any(isinstance(value, Unknown) for value in values):
            return UNKNOWN
        try:
            return compute(*values)
        except numbers.NumberError as problem:
            diagnostic = _CODES[problem.kind](span, problem.message)
            self.state.report(replace(diagnostic, help=problem.help))
            return UNKNOWN

    def _infix(self, expr: ast.Infix, env: Env) -> Routine[Any]:
        result = yield self.number(expr.operands[0], env)
        for operand in expr.operands[1:]:
            other = yield self.number(operand, env)
            result = self._guard(expr.span, numbers.arithmetic, expr.op, result, other)
        return result

    def _compare(self, expr: ast.Compare, env: Env) -> Routine[Any]:
        left = yield self.value(expr.left, env)
        right = yield self.value(expr.right, env)
        if isinstance(left, Function) and isinstance(right, Function):
            return (left == right) == (expr.op == "==")
        for side, value in ((expr.left, left), (expr.right, right)):
            if isinstance(value, Layer | Wires | Function):
                self._report_kind(side, "a layer cannot be compared with a number")
                return UNKNOWN
        return self._guard(expr.span, numbers.compare, expr.op, left, right)

    def _logic(self, expr: ast.Logic, env: Env) -> Routine[Any]:
        if expr.op == "not":
            value = yield self.truth(expr.operands[0], env)
            return value if isinstance(value, Unknown) else not value
        for operand in expr.operands:
            value = yield self.truth(operand, env)
            if isinstance(value, Unknown) or value == (expr.op == "or"):
                return value
        return expr.op == "and"

    def truth(self, expr: ast.Expr, env: Env) -> Routine[Any]:
        value = yield self.number(expr, env)
        if not isinstance(value, bool | Unknown):
            self._report_kind(expr, f"a condition is yes or no, not {show(value)}")
            return UNKNOWN
        return value

    def _negative(self, expr: ast.Negative, env: Env) -> Routine[Any]:
        value = yield self.number(expr.operand, env)
        return self._guard(expr.span, numbers.arithmetic, "*", value, -1)

    def _power(self, expr: ast.Power, env: Env) -> Routine[Any]:
        base = yield self.number(expr.base, env)
        exponent = yield self.number(expr.exponent, env)
        return self._guard(expr.span, numbers.power, base, exponent)

    def _group(self, expr: ast.Group, env: Env) -> Later[Any]:
        return self.number(expr.body, env)

    def _items(self, expr: ast.Items, env: Env) -> Routine[Any]:
        values = []
        for item in expr.items:
            values.append((yield self.value(item, env)))
        return tuple(values)

    def _if(self, expr: ast.If, env: Env) -> Routine[Any]:
        condition = yield self.truth(expr.condition, env)
        if isinstance(condition, Unknown):
            return UNKNOWN
        if expr.orelse is None and not condition:
            self._report_kind(expr, "a number under `if` needs an `else`")
            return UNKNOWN
        chosen = expr.then if condition or expr.orelse is None else expr.orelse
        return (yield self.number(chosen, env))

    # --- calls ----------------------------------------------------------------------------

    def _call(self, expr: ast.Call, env: Env) -> Routine[Any]:
        name = expr.callee.name
        target = self.look_up(name, env)
        if isinstance(target, Function) and isinstance(target.target, Definition):
            return (yield self._numeric_def(target.target, expr, env, expr.span))
        if name == "oneof":
            arguments = expr.args or ()
            if not arguments:
                self.state.report(errors.missing_parameter(expr.span, "oneof", ["alternatives"]))
                return UNKNOWN
            choice = self.state.choose(self.place, arguments, expr.span)
            return (yield self.value(arguments[choice.taken].value, env))
        if name in numbers.FUNCTIONS:
            values = []
            for argument in expr.args or ():
                values.append((yield self.number(argument.value, env)))
            return self._guard(expr.span, lambda *v: numbers.function(name, list(v)), *values)
        if target is None:
            self.unknown(expr.callee, env)
            return UNKNOWN
        return Layer(expr, env)

    def _numeric_def(
        self, target: Definition, expr: ast.Call | None, env: Env, span: Span
    ) -> Routine[Any]:
        inner = yield self.enter(target, expr, env, Flow(env.activation.wire.ids), "", span)
        if inner is None:
            return UNKNOWN
        value = self._result(target.tree.body.results[0], inner)
        return (yield self.state.within(inner.activation.frame, value))

    def _result(self, expr: ast.Expr, env: Env) -> Routine[Any]:
        return (yield self.value(expr, env))

    @abstractmethod
    def enter(
        self, target: Definition, expr: ast.Call | None, env: Env, flow: Flow, path: str, span: Span
    ) -> Routine[Env | None]:
        """The environment of a call's body, or None when its arguments do not fit."""
