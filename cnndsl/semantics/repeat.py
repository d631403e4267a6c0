"""Terms that are applied several times: ``f^n``, and ``for`` over a list or a range."""

from __future__ import annotations

from typing import Any

from cnndsl.ops.base import show
from cnndsl.ops.types import Unknown
from cnndsl.semantics import errors
from cnndsl.semantics.apply import Applier
from cnndsl.semantics.naming import Namespace
from cnndsl.semantics.trampoline import Routine
from cnndsl.semantics.values import Env, Flow
from cnndsl.syntax import ast


class Repeater(Applier):
    """Applies a body once per repetition or value, within the limit on repetitions."""

    def _repeated(
        self, expr: ast.Power, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        if self.kind(expr.base, env) == "number":
            return self._misplaced(expr, env, flow)
        count = yield self.number(expr.exponent, env)
        if isinstance(count, Unknown):
            return self.state.failed(expr.span)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            message = f"a layer is repeated a whole number of times, not {show(count)}"
            self.state.report(errors.bad_value(expr.exponent.span, message))
            return self.state.failed(expr.span)
        if count > self.state.limits.repeat:
            limit = self.state.limits.repeat
            raise self.state.stop(errors.expansion_limit(expr.span, "repetitions", limit))
        space = self.open(space, label, expr.span)
        done: Flow = yield self._times(expr.base, [env] * count, flow, space)
        return done

    def _times(
        self, body: ast.Expr, envs: list[Env], flow: Flow, space: Namespace
    ) -> Routine[Flow]:
        """One application after the other; the first pass is charged for all of them."""
        state = self.state
        outer = state.multiplier
        if outer:
            state.multiplier = outer * max(len(envs), 1)
        for env in envs:
            if not flow.ids:
                state.report(errors.nothing_here(body.span, "nothing arrives at a repetition"))
                flow = state.failed(body.span)
            flow = yield self.run(body, env, flow, space)
            state.multiplier = 0
        state.multiplier = outer
        return flow

    def _looped(
        self, expr: ast.For, env: Env, flow: Flow, space: Namespace, label: str | None
    ) -> Routine[Flow]:
        space = self.open(space, label, expr.span)
        envs = yield self._iterations(expr, env)
        done: Flow = yield self._times(expr.body, envs, flow, space)
        return done

    def _iterations(self, expr: ast.For, env: Env) -> Routine[list[Env]]:
        """One environment per value of the loop's variable."""
        start = yield self.number(expr.start, env)
        if isinstance(start, Unknown):
            return []
        if expr.stop is None:
            if not isinstance(start, tuple):
                self._report_kind(expr.start, "`for` walks a list `[…]` or a range `a..b`")
                return []
            values: Any = start
        else:
            stop = yield self.number(expr.stop, env)
            ends = (start, stop)
            if any(isinstance(e, Unknown) for e in ends):
                return []
            if any(isinstance(e, bool) or not isinstance(e, int) for e in ends):
                message = f"a range needs whole numbers, got {show(start)}..{show(stop)}"
                self.state.report(errors.bad_value(expr.start.span.to(expr.stop.span), message))
                return []
            values = range(start, stop + 1)
        limit = self.state.limits.repeat
        if len(values[: limit + 1]) > limit:  # a range may be longer than `len` can say
            raise self.state.stop(errors.expansion_limit(expr.span, "repetitions", limit))
        return [env.child(expr.variable.text, value) for value in values]
