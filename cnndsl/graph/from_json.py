"""A graph from JSON that another program wrote: ``cnndsl.graph/1``, checked as it is built.

Read are names, symbols with what is declared of them, inputs with their types, and each step's
operator, parameters, operands and path. Everything else in the document follows from these: where
it is there, it must say the same. ``place`` is not read, nor are fields that are not known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from cnndsl.diagnostics.suggest import did_you_mean
from cnndsl.graph.as_json import SCHEMA, node_to_json, symbols_to_json
from cnndsl.graph.build import Builder
from cnndsl.graph.infer import JoinError
from cnndsl.graph.json_reading import At, JsonProblem
from cnndsl.graph.model import Graph, Output
from cnndsl.graph.names import NameProblem, check_names, is_word
from cnndsl.graph.spelling import LARGEST_MODULUS
from cnndsl.graph.verify import InternalError
from cnndsl.limits import DEFAULT_LIMITS, Limits, OutOfTime, Stopwatch
from cnndsl.ops import catalogue
from cnndsl.ops.base import Op, RuleError
from cnndsl.ops.congruence import Valid
from cnndsl.ops.sizes import Dim, Size, plus, times
from cnndsl.ops.types import FeatureMap, Type, Vector

__all__ = ["MOST_BYTES", "JsonProblem", "graph_from_json", "read_graph"]

MOST_BYTES = 64 << 20
"""Of one document: 100,000 steps, with some room."""
_SYMBOLS = 64
_CONDITIONS = 16  # congruences of one symbol
_LARGEST_MINIMUM = 10**12 - 1  # 12 digits, as a text may have them


def read_graph(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The graph of a JSON document; JsonProblem where it is none."""
    if len(data) > MOST_BYTES:
        raise JsonProblem("", f"the document has {len(data):,} bytes, past {MOST_BYTES:,}")
    try:
        document = json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except UnicodeDecodeError as problem:
        raise JsonProblem("", f"byte {problem.start:,} is no UTF-8") from None
    except JsonProblem:
        raise
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise JsonProblem("", f"this is no JSON: {problem.msg.lower()} ({where})") from None
    except ValueError:  # CPython refuses to read it
        raise JsonProblem("", "this is no JSON that can be read: a number is too long") from None
    except RecursionError:
        raise JsonProblem("", "this is no JSON that can be read: it nests too deep") from None
    return graph_from_json(document, limits)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise JsonProblem("", f"an object has `{key}` twice")
        record[key] = value
    return record


def _no_constant(name: str) -> None:
    raise JsonProblem("", f"`{name}` is no number of JSON")


def graph_from_json(data: Any, limits: Limits = DEFAULT_LIMITS) -> Graph:
    """The graph that ``graph_to_json`` gave, or another program in its place.

    ``data``: what ``json.loads`` gives, from anywhere. The graph is verified, its names are names
    that a text can give, and it has the signature of the one that was written.
    Raises JsonProblem, which names the place in the document.
    """
    watch = Stopwatch(limits.seconds)
    try:
        with watch:
            return _Reader(At(data), limits, watch).graph()
    except OutOfTime:
        raise JsonProblem("", f"this takes longer than {limits.seconds:g} s") from None


class _Reader:
    """Reads one document from front to back."""

    def __init__(self, root: At, limits: Limits, watch: Stopwatch) -> None:
        self.root, self.limits, self.watch = root, limits, watch
        self.ids: dict[int, int] = {}
        self.owners: set[str] = set()

    def graph(self) -> Graph:
        schema = self.root.get("schema")
        if schema.value != SCHEMA:
            raise schema.problem(f"this reads `{SCHEMA}`, got `{schema.text()}`")
        self.builder = Builder(self.root.get("name").text(), self.limits)
        nodes = self.root.get("nodes").items(self.limits.nodes)
        count = next((i for i, at in enumerate(nodes) if at.get("op").value != "input"), len(nodes))
        if not count:
            raise self.root.get("nodes").problem("a network starts with its inputs")
        for at in nodes[:count]:
            self._number(at, self._input(at))
        self._symbols()
        for at in nodes[count:]:
            self.watch.check()
            self._number(at, self._step(at))
        graph = self._whole(nodes)
        self._agree(graph, nodes)
        return graph

    # --- symbols --------------------------------------------------------------------------

    def _symbols(self) -> None:
        """After the inputs, which bring them in, and before the first step."""
        stated = self.root.get("symbols").items(_SYMBOLS)
        names = [at.get("name").text() for at in stated]
        known = self.builder.facts.symbols
        if names != known:
            listed = ", ".join(known) or "none"
            message = f"lists what the inputs bring in, in their order: {listed}"
            raise self.root.get("symbols").problem(message)
        for name, at in zip(names, stated, strict=True):
            self.watch.check()
            declared = at.find("declared")
            if declared is not None and declared.value is not None:
                self._declare(name, declared)

    def _declare(self, symbol: str, at: At) -> None:
        least = at.get("minimum").whole(1, _LARGEST_MINIMUM)
        self.builder.where(Valid.at_least(symbol, least))
        for condition in at.get("congruences").items(_CONDITIONS):
            modulus = condition.get("modulus").whole(1, LARGEST_MODULUS)
            remainder = condition.get("remainder").whole(0, modulus - 1)
            self.builder.where(Valid.divisibility(symbol, modulus, remainder))
        if self.builder.facts.allowed(symbol).is_empty:
            raise at.problem(f"no {symbol} satisfies all of it")

    # --- nodes ----------------------------------------------------------------------------

    def _number(self, at: At, found: int) -> None:
        id = at.get("id")
        if self.ids.setdefault(id.whole(), found) != found:
            raise id.problem(f"a node before this has the id {id.value}")

    def _input(self, at: At) -> int:
        wires = at.find("inputs")
        if wires is not None and wires.items(0):
            raise wires.problem("an input reads nothing")
        type = self._type(at.get("type"))
        try:
            return self.builder.input(type, at.get("path").text())
        except RuleError as problem:
            raise at.get("type").problem(problem.message) from None

    def _type(self, at: At) -> Type:
        kind, most = at.get("kind"), self.limits.dimension
        if kind.value == "vector":
            return Vector(at.get("features").whole(1, most))
        if kind.value != "map":
            raise kind.problem(f"is `map` or `vector`, got `{kind.text()}`")
        channels = at.get("channels").whole(1, most)
        return FeatureMap(channels, self._size(at.get("height")), self._size(at.get("width")))

    def _size(self, at: At) -> Dim:
        """A number, or a whole multiple of a symbol with a number added, as a text has it."""
        most = self.limits.dimension
        if not isinstance(at.value, dict):
            return at.whole(1, most)
        symbol = at.get("symbol")
        if not is_word(symbol.text(), self.limits) or not symbol.text()[0].isupper():
            raise symbol.problem("is a name that starts with a capital letter")
        if at.get("divisor").value != 1 or at.get("table").value != []:
            raise at.problem("an input's size is a multiple of its symbol plus a number")
        scale = at.get("scale").whole(1, most)
        added = scale * at.get("offset").whole(-most, most) + at.get("constant").whole(-most, most)
        return plus(times(Size.of(symbol.text()), scale), added)

    def _step(self, at: At) -> int:
        op = self._operator(at)
        wires = [self._wire(wire) for wire in at.get("inputs").items(self.limits.fan_in)]
        if op.join and len(wires) < 2:
            raise at.get("inputs").problem("a join has at least two operands")
        path = at.get("path")
        stands = self._stands(at, op, path.text())
        if not path.text():
            raise path.problem("a step has a path")
        try:
            return self.builder.add(op, wires, path.text(), stands=stands)
        except JoinError as problem:
            left, right = problem.sizes
            message = f"{problem.message}: {problem.axis} {left} and {right}"
            raise at.get("inputs").problem(message) from None
        except RuleError as problem:
            raise _blamed(at, problem) from None

    def _wire(self, at: At) -> int:
        found = self.ids.get(at.whole())
        if found is None:
            raise at.problem(f"no node before this has the id {at.value}")
        return found

    def _stands(self, at: At, op: Op, path: str) -> str | None:
        """Where a step is repeated; a path is used twice only by a step that says so."""
        stated = at.find("stands")
        stands = None if stated is None or stated.value is None else stated.text()
        if op.join:
            return stands
        known = path in self.owners
        self.owners.add(path)
        if known and stands is None:
            raise at.get("path").problem("another step has this path, and `stands` is null")
        if stands is not None and not known:
            raise at.get("path").problem("no step before this has the path that it repeats")
        return stands

    def _operator(self, at: At) -> Op:
        name = at.get("op")
        kind = catalogue().get(name.text())
        if kind is None:
            near = did_you_mean(name.text()[: self.limits.identifier], catalogue())
            tail = f", did you mean `{near}`?" if near else ""
            where = "; an input comes before all steps" if name.value == "input" else tail
            raise name.problem(f"no operator `{name.text()}`{where}")
        if kind.pieces is not Op.pieces:
            raise name.problem(f"`{name.value}` stands for several steps: write each piece")
        parameters = at.get("parameters")
        values = {}
        for key in parameters.record():
            if key not in kind.params:
                raise parameters.problem(f"`{kind.name}` has no parameter `{key}`")
            values[key] = parameters.get(key).parameter()
        try:
            op = kind(**values)
        except RuleError as problem:
            raise _blamed(at, problem) from None
        if op.auto_bias and op.values["bias"] is None:
            raise parameters.problem("`bias` is true or false: only a text leaves it open")
        return op

    # --- the whole ------------------------------------------------------------------------

    def _whole(self, nodes: list[At]) -> Graph:
        try:
            graph = self.builder.graph(list(self._outputs()))
            check_names(graph, self.limits)
        except RuleError as problem:
            cause = problem.__cause__
            at = nodes[cause.node.id] if isinstance(cause, InternalError) and cause.node else None
            raise (at or self.root).problem(problem.message) from None
        except NameProblem as problem:
            raise self._named(problem, nodes).problem(str(problem)) from None
        return graph

    def _named(self, problem: NameProblem, nodes: list[At]) -> At:
        if problem.node is not None:
            return nodes[problem.node].get("path")
        return self.root.get("name" if problem.output is None else "outputs")

    def _outputs(self) -> Iterable[Output]:
        for at in self.root.get("outputs").items(self.limits.fan_in):
            emitted, train = at.find("emitted"), at.find("train")
            yield Output(
                at.get("name").text(),
                self._wire(at.get("node")),
                emitted is not None and emitted.flag(),
                train is not None and train.flag(),
            )

    def _agree(self, graph: Graph, nodes: list[At]) -> None:
        """What follows from the rest is as the document has it, where it has it."""
        for at, node in zip(nodes, graph, strict=True):
            self.watch.check()
            found = node_to_json(graph, node)
            for key in ("type", "shared", "weights"):
                stated = at.find(key)
                if stated is not None:
                    _compare(found[key], stated)
        symbols = self.root.get("symbols").items(_SYMBOLS)
        for symbol, at in zip(symbols_to_json(graph), symbols, strict=True):
            for key in ("minimum", "modulus", "residues"):
                said = at.find(key)
                if said is not None:
                    _compare(symbol[key], said)


def _blamed(at: At, problem: RuleError) -> JsonProblem:
    """The problem at the parameter or the operand that it is about."""
    if problem.operand is not None:
        return JsonProblem(f"{at.place}.inputs[{problem.operand}]", problem.message)
    parameters = at.get("parameters")
    if problem.param is not None and problem.param in parameters.record():
        return parameters.get(problem.param).problem(problem.message)
    return at.problem(problem.message)


def _compare(found: Any, stated: At) -> None:
    """JsonProblem where the document says something else; it may say more."""
    if isinstance(found, dict):
        for key, value in found.items():
            _compare(value, stated.get(key))
    elif isinstance(found, list):
        items = stated.items(len(stated.value) if isinstance(stated.value, list) else 0)
        if len(items) != len(found):
            raise stated.problem(f"has {len(items)} entries, and {len(found)} follow from the rest")
        for value, item in zip(found, items, strict=True):
            _compare(value, item)
    elif found != stated.value or isinstance(found, bool) is not isinstance(stated.value, bool):
        raise stated.problem(f"{json.dumps(found)} follows from the rest of the document")
