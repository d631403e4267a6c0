"""A net of a program, with its parameters settled, as a graph."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from cnndsl.diagnostics import Diagnostic
from cnndsl.graph.cost import macs, parameters
from cnndsl.graph.model import INPUT, Frame, Graph
from cnndsl.limits import Limits, Stopwatch
from cnndsl.ops import catalogue
from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import UNKNOWN, FeatureMap, Type, Unknown, Vector
from cnndsl.semantics import errors, numbers
from cnndsl.semantics.expand import Expander
from cnndsl.semantics.fixed import blamed_on_sizes
from cnndsl.semantics.naming import Namespace
from cnndsl.semantics.splice import splice
from cnndsl.semantics.state import Choice, Chooser, Region, State
from cnndsl.semantics.trampoline import Routine, run
from cnndsl.semantics.values import Activation, Definition, Env, Flow, Function, Stop, Wires
from cnndsl.source import Span
from cnndsl.syntax import ast

Parameter = int | float | Fraction | bool | str


class Expansion(NamedTuple):
    """What came of a net: a graph unless something is wrong."""

    graph: Graph | None
    diagnostics: tuple[Diagnostic, ...]
    choices: tuple[Choice, ...]
    regions: Mapping[str, Region]
    """By the path of a choice that reaches no further than what was made there."""
    spent: int = 0
    """How much work it was: steps of evaluation and nodes."""
    partial: Graph | None = None
    """What was made of a net that is wrong, ``FAILED`` where an operator is missing; None
    where a limit ended it."""


def first_of_each(path: str, count: int) -> int | None:
    """The chooser of a plain check: no choice is made, the first alternative stands in."""
    return None


class Net(Expander):
    """Expands one net."""

    def __init__(
        self,
        definition: Definition,
        limits: Limits,
        parameters: Mapping[str, Parameter] | None = None,
        at: Mapping[str, int] | None = None,
        chooser: Chooser = first_of_each,
        watch: Stopwatch | None = None,
    ) -> None:
        super().__init__(State(limits, chooser, watch))
        self.definition, self.given, self.at = definition, dict(parameters or {}), dict(at or {})
        self.state.foresee = self._foresee
        self.values: dict[str, Any] = {}
        self.symbols: set[str] = set()

    def expand(self) -> Expansion:
        state = self.state
        graph, ended = None, False
        try:
            run(self._expand())
            ended = True
            if not state.found.failed and not state.broken:
                splice(state)
                graph = self._graph()
                run(self._budgets(graph))
        except Stop:
            pass
        failed = state.found.failed or state.broken
        return Expansion(
            None if failed else graph, state.found.all, tuple(state.choices), state.regions,
            state.spent, self._made_so_far() if failed and ended else None,
        )  # fmt: skip

    def _foresee(self) -> Diagnostic | None:
        from cnndsl.semantics.forecast import Forecast  # it is a net itself

        return Forecast(self).too_large()

    # --- the entry ------------------------------------------------------------------------

    def _expand(self) -> Routine[None]:
        tree = self.definition.tree
        span = tree.name.span
        frame = Frame(tree.name.text, "", span, None)
        self.state.frame = frame
        env = Env(self.definition.scope, Activation(frame, "", Wires(()), {}, 0))
        self.env = env
        if not (yield self._parameters(tree, env)):
            return
        wires = yield self._inputs(tree, env)
        if not wires:
            return
        env.activation.wire = Wires(wires[:1])
        for clause in tree.clauses:
            if clause.kind == "where":
                for condition in clause.conditions:
                    self._where(condition)
        env.activation.defaults = yield self._defaults(tree.body, env)
        flow = yield self.body(tree, env, Flow(wires[:1]), Namespace())
        if not flow.ids:
            self.state.report(errors.nothing_here(tree.body.results[0].span, "a net has no result"))
        names = _result_names(tree.body, len(flow.ids))
        emitted = self.state.outputs
        self.state.outputs = []
        for name, node in zip(names, flow.ids, strict=False):
            if any(output.name == name for output in emitted):
                message = f"`{name}` is also the name of the result"
                self.state.report(errors.bad_emit(tree.body.results[0].span, message))
            self.state.add_output(name, node)
        self.state.outputs += emitted
        self._settle_biases()

    def _parameters(self, tree: ast.Declaration, env: Env) -> Routine[bool]:
        names = [p.name.text for p in tree.params]
        for name in self.given:
            if name not in names:
                self.state.report(
                    errors.unknown_parameter(tree.name.span, tree.name.text, name, names)
                )
                return False
        missing = []
        for param in tree.params:
            name = param.name.text
            if name in self.given:
                env.names[name] = self._from_outside(self.given[name])
            elif param.default is not None:
                self.place = name
                env.names[name] = yield self.value(param.default, env)
            else:
                missing.append(name)
            if name in env.names and not isinstance(env.names[name], Function):
                self.values[name] = env.names[name]
        if missing:
            help = " ".join(f"--set {name}=…" for name in missing)
            span = tree.name.span
            self.state.report(
                errors.missing_parameter(span, tree.name.text, missing, f"give it a value: {help}")
            )
        return not missing

    def _from_outside(self, value: Parameter) -> Any:
        """A Python value as the text would have it; a word may name a block."""
        if isinstance(value, str):
            known = self.look_up(value, self.env)
            return value if known is None else known
        try:
            return numbers.from_outside(value)
        except numbers.NumberError as problem:
            self.state.report(errors.bad_value(self.definition.tree.name.span, problem.message))
            return UNKNOWN

    def _inputs(self, tree: ast.Declaration, env: Env) -> Routine[tuple[int, ...]]:
        ids: list[int] = []
        for position, given in enumerate(tree.inputs):
            sizes = []
            small = [s for item in given.dims.items for s in self._symbols(item, env)]
            if small:
                self.state.report(errors.small_symbols(small))
                return ()
            for item in given.dims.items:
                sizes.append((yield self.number(item, env)))
            type = self._input_type(sizes, given.dims)
            if type is None:
                return ()
            name = self._input_name(given, first=position == 0)
            if not name:
                return ()
            node = self.state.add(INPUT, (), type, name, given.span, env.activation.frame)
            ids.append(node.id)
            if given.name:
                env.names[name] = Wires((node.id,))
        unknown = [s for s in self.at if s not in self.symbols]
        if unknown:
            message = f"`{unknown[0]}` is no symbol of this net's input"
            self.state.report(errors.bad_input(tree.inputs[0].span, message))
            return ()
        return tuple(ids)

    def _input_name(self, given: ast.Input, first: bool) -> str:
        """What the input is called; "" where it cannot be called so."""
        if given.name is None:
            if not first:
                message = "inputs after the first need a name: `[1, H, W] mask`"
                self.state.report(errors.bad_input(given.span, message))
            return "in" if first else ""
        name = given.name.text
        if name in catalogue() or name in self.definition.scope.names:
            self.state.broken = True  # reported where the text was resolved
            return ""
        if name == "self":
            message = "`self` cannot name an input: Python calls the module itself so"
            self.state.report(errors.bad_label(given.name.span, message))
            return ""
        return name

    def _symbols(self, item: ast.Expr, env: Env) -> list[Span]:
        """Binds the symbols of an input's shape; returns names that are not in capitals."""
        small: list[Span] = []
        nodes = list(ast.walk(item))
        called = {id(node.callee) for node in nodes if isinstance(node, ast.Call)}
        names = [n for n in nodes if isinstance(n, ast.Name) and id(n) not in called]
        for node in names:
            if node.name not in env.names:
                if node.name[0].isupper():
                    self._symbol(node.name, env)
                elif self.look_up(node.name, env) is None:
                    small.append(node.span)
        return small

    def _symbol(self, name: str, env: Env) -> None:
        """A capital name stands for a size >= 1, unless it was fixed."""
        self.symbols.add(name)
        if name in self.at:
            self.state.fixed.add(name)
            env.names[name] = self.at[name]
        else:
            self.state.facts.introduce(name)
            env.names[name] = Size.of(name)

    def _input_type(self, sizes: list[Any], dims: ast.Items) -> Type | None:
        if any(isinstance(size, Unknown) for size in sizes):
            return None
        limit = self.state.limits.dimension
        problem = ""
        if len(sizes) not in (1, 3):
            problem = f"an input has 1 or 3 sizes, not {len(sizes)}"
            if len(sizes) == 4:
                problem += ": the batch is implicit, leave it out"
        elif any(isinstance(s, bool) or not isinstance(s, int | Size) for s in sizes):
            problem = f"an input's sizes are whole numbers and symbols, got {_listed(sizes)}"
        elif isinstance(sizes[0], Size):
            problem = f"the number of channels must be known, and {sizes[0]} is a symbol"
        elif any(isinstance(s, int) and not 1 <= s <= limit for s in sizes):
            problem = f"an input's sizes are at least 1 and at most {limit:,}, got {_listed(sizes)}"
        if problem:
            self.state.report(errors.bad_input(dims.span, problem))
            return None
        for size in sizes:
            self.state.facts.reach(size)
        return Vector(sizes[0]) if len(sizes) == 1 else FeatureMap(*sizes)

    # --- where and assert -----------------------------------------------------------------

    def _where(self, condition: ast.Expr) -> None:
        """``H % 32 == 0`` and ``H >= 64``; on a size that was fixed, it is checked."""
        valid = _condition(condition, self.symbols)
        if valid is None:
            self.state.report(errors.bad_where(condition.span, "this is no condition on a size"))
            return
        symbol = valid.symbol
        if symbol in self.at:
            if not valid.contains(self.at[symbol]):
                message = f"{symbol}={self.at[symbol]} breaks `{condition.span.text}`"
                self.state.report(errors.bad_where(condition.span, message))
            return
        self.state.facts.declare(valid)
        if self.state.facts.allowed(symbol).is_empty:
            message = f"no {symbol} satisfies `where` as a whole"
            self.state.report(errors.bad_where(condition.span, message))

    def _budgets(self, graph: Graph) -> Routine[None]:
        clauses = [c for c in self.definition.tree.clauses if c.kind == "assert"]
        if not clauses:
            return
        sizes = graph.facts.reference()
        counted = {"params": parameters(graph), "macs": macs(graph, sizes)}
        for condition in (condition for clause in clauses for condition in clause.conditions):
            env = self.env
            for name, count in counted.items():
                env = env.child(name, count)
            condition = _at_sizes(condition, graph, env)
            value = yield self.truth(condition, env)
            if value is False:
                used = [n.name for n in ast.walk(condition) if isinstance(n, ast.Name)]
                known = [name for name in used if name in counted or "(" in name]
                shown = ", ".join(f"{name} = {env.find(name):,}" for name in known)
                at = ", ".join(f"{k}={v}" for k, v in sizes.items() if "macs" in used)
                message = f"the budget does not hold: {shown}{f' at {at}' if at else ''}"
                self.state.report(errors.over_budget(condition.span, message))

    # --- finishing ------------------------------------------------------------------------

    def _settle_biases(self) -> None:
        for i in self.state.open_biases:
            node = self.state.nodes[i]
            self.state.settle_bias(node, True)
        for node in self.state.nodes.values():
            if node.shared:
                node.op = self.state.by_path[node.path].op

    def _graph(self) -> Graph:
        """The whole network; it holds what a graph promises."""
        return self._made_so_far()

    def _made_so_far(self) -> Graph:
        state = self.state
        return Graph(
            self.definition.name, state.nodes, tuple(state.outputs), state.facts, self.values
        )


def expand_net(
    definition: Definition,
    limits: Limits,
    parameters: Mapping[str, Parameter] | None = None,
    at: Mapping[str, int] | None = None,
    chooser: Chooser = first_of_each,
    watch: Stopwatch | None = None,
) -> Expansion:
    """The graph of one net, or what is wrong with it."""
    found = Net(definition, limits, parameters, at, chooser, watch).expand()
    if found.graph is None and at:
        graph = Net(definition, limits, parameters, {}, chooser, watch).expand().graph
        if graph is not None:
            problems = blamed_on_sizes(found.diagnostics, graph.facts, at)
            return found._replace(diagnostics=problems)
    return found


def _listed(sizes: list[Any]) -> str:
    return "[" + ", ".join(map(numbers.spell, sizes)) + "]"


def _result_names(body: ast.Body, count: int) -> list[str]:
    """``out`` for one result; several are named by their label, wire or position."""
    if count == 1:
        return ["out"]
    names: list[str] = []
    for position, result in enumerate(body.results):
        last: ast.Expr = result
        while isinstance(last, ast.Chain | ast.Group | ast.Ascribed | ast.Tap):
            last = last.steps[-1] if isinstance(last, ast.Chain) else last.body
        name = f"out{position}"
        if isinstance(last, ast.Name):
            name = last.name
        elif isinstance(last, ast.Labelled) and all(isinstance(p, str) for p in last.label.parts):
            name = "".join(str(p) for p in last.label.parts)
        names.append(f"out{position}" if name in names or name.isdigit() else name)
    return names if len(names) == count else [f"out{i}" for i in range(count)]


def _condition(condition: ast.Expr, symbols: set[str]) -> Valid | None:
    """The set of sizes that a restriction leaves, or None if it is not of a known form."""
    if not isinstance(condition, ast.Compare):
        return None
    left, op, right = condition.left, condition.op, condition.right
    if isinstance(left, ast.Number):
        left, right = right, left
        op = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
    if not isinstance(right, ast.Number) or not isinstance(right.value, int):
        return None
    bound = right.value
    if isinstance(left, ast.Name) and left.name in symbols and op in (">", ">="):
        return Valid.at_least(left.name, max(1, bound + (op == ">")))
    if not isinstance(left, ast.Infix) or left.op != "%" or op != "==":
        return None
    symbol, modulus = left.operands
    if not isinstance(symbol, ast.Name) or symbol.name not in symbols:
        return None
    if not isinstance(modulus, ast.Number) or not isinstance(modulus.value, int):
        return None
    if not 0 <= bound < modulus.value <= 65536:
        return None
    return Valid.divisibility(symbol.name, modulus.value, bound)


def _at_sizes(condition: ast.Expr, graph: Graph, env: Env) -> ast.Expr:
    """``macs(H=320, W=320)`` becomes a name whose value is the count at those sizes."""
    if not isinstance(condition, ast.Compare):
        return condition
    sides = []
    for side in (condition.left, condition.right):
        if isinstance(side, ast.Call) and side.callee.name == "macs":
            sizes = graph.facts.reference()
            for argument in side.args or ():
                if argument.name and isinstance(argument.value, ast.Number):
                    sizes[argument.name.text] = int(argument.value.value)
            name = f"macs({', '.join(f'{k}={v}' for k, v in sizes.items())})"
            env.names[name] = macs(graph, sizes)
            side = ast.Name(side.span, name)
        sides.append(side)
    return ast.Compare(condition.span, condition.op, sides[0], sides[1], depth=condition.depth)
