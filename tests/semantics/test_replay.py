"""A block that is called again is copied, and nobody can tell: not by the graph, the messages,
the places or the limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cnndsl
from cnndsl import Limits, Program
from cnndsl.diagnostics.text import render_all
from cnndsl.graph.model import Frame, Graph, Node
from cnndsl.limits import DEFAULT_LIMITS, Stopwatch
from cnndsl.semantics.net import Expansion, expand_net
from cnndsl.semantics.replay import Replay
from cnndsl.semantics.state import State
from tests.errors import reports
from tests.networks import random_network

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICK, PROGRAMS = 60, 5_000
_put = State._put


def looks(expansion: Expansion) -> Iterator[Any]:
    """Everything that an expansion says or that can be seen in what it made."""
    yield expansion.spent
    yield render_all(expansion.diagnostics)
    yield [(c.path, c.taken, c.span, c.open) for c in expansion.choices]
    yield dict(expansion.regions)
    for graph in (expansion.graph, expansion.partial):
        yield from _graph(graph) if graph is not None else ()


def _graph(graph: Graph) -> Iterator[Any]:
    frames: dict[int, int] = {}
    for n in graph:
        yield n.id, n.op, n.inputs, n.type, n.path, n.span, n.again, n.stands
        yield _calls(n.frame, frames)
    yield graph.outputs, graph.facts, dict(graph.nodes).keys()


def _calls(frame: Frame | None, known: dict[int, int]) -> list[Any]:
    """The calls around a node. A call is one and the same for all that stands in it."""
    found = []
    while frame is not None:
        number = known.setdefault(id(frame), len(known))
        name, given = frame.given or ("", {})
        places = {key: argument.span for key, (_, argument) in given.items()}
        found.append((number, frame.call, frame.path, frame.span, name, places))
        frame = frame.parent
    return found


def expansions(program: Program, limits: Limits = DEFAULT_LIMITS) -> list[Expansion]:
    names = program.library.main.names
    given = [names[n] for n in program.nets if n in names and not program.requires(n)]
    return [expand_net(definition, limits) for definition in given]


def assert_told_alike(program: Program, limits: Limits = DEFAULT_LIMITS) -> None:
    copied = [list(looks(e)) for e in expansions(program, limits)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "call", lambda *_: None)
        assert copied == [list(looks(e)) for e in expansions(program, limits)]


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the calls that are copied during a test."""
    found, copied = [], Replay.copied

    def counted(self: Replay, call: Any, *rest: Any) -> Any:
        flow = copied(self, call, *rest)
        if flow is not None:
            found.append(call.path)
        return flow

    monkeypatch.setattr(Replay, "copied", counted)
    return found


# --- what is copied -------------------------------------------------------------------------------

B = "block B(c = 8, k = 3) = conv(c, k) -> bn -> relu\n"
NET = "net N: [8, H, W] = "
COPIED = {
    "a chain": (f"{B}{NET}B -> B -> B(8)", ["1", "2"]),
    "a power": (f"{B}{NET}s: B^4", ["s.1", "s.2", "s.3"]),
    "a power of powers": (f"{B}{NET}(B^2 -> relu)^2", ["1", "3", "4"]),
    "of its own kind only": (f"{B}{NET}B(4) -> B(8) -> B(4) -> B(8)", ["2", "3"]),
    "what is only equal": (f"block D(s) = conv(8, 3, stride=s)\n{NET}D(1) -> D(yes)", []),
    "inside another": (f"{B}block C(n) = B -> B^n\n{NET}C(2) -> C(2)", ["0.1", "0.2", "1"]),
    "deeper inside": (f"{B}block C = B -> a: (B -> B)\n{NET}C -> B", ["0.a.1", "1"]),
    "an open bias": (f"block C = conv(8, 3)\n{NET}C -> C -> bn -> C", ["1", "3"]),
    "a block that is given": (f"{B}block C(f) = f -> f\n{NET}C(B) -> C(B)", ["0.1", "1"]),
    "a layer that is given": (f"block C(f) = f -> f\n{NET}C(relu -> bn) -> C(relu -> bn)", []),
    "wires in a list":
        (f"block P = relu, tanh\nblock C(fs) = for f in fs do (id + f)\n"
         f"{NET}let a, b = P C([a, b]) -> C([a, b])", []),
    "layers in a list":
        (f"block C(fs) = for f in fs do f\n"
         f"{NET}C([relu, tanh -> relu]) -> C([relu, tanh -> relu]) -> C([relu])", []),
    "numbers in a list":
        (f"block C(cs) = for c in cs do conv(c, 3)\n{NET}C([8, 8]) -> C([8, 8])", ["1"]),
    "one wire twice":
        (f"block P = relu, tanh\nblock J[a, b] = a + b\n{NET}let p, q = P "
         "J[p, p] -> J[p, q] -> J[q, q] -> J[q, p]", ["3", "4"]),
    "a wire as a value":
        (f"block P = relu, tanh\nblock J(a) = id + a\n{NET}let p, q = P J(p) -> J(q)", ["2"]),
    "its own input": (f"block R = id + f: B\n{B}{NET}R^3", ["1", "2"]),
    "one that does nothing": (f"block O = id\n{NET}relu -> O -> O", ["2"]),
    "other sizes": (f"block D = conv(8, 3, stride=2)\n{NET}D^3 -> relu", []),
    "sizes asked for": (f"block D = conv(in.channels, 3)\n{NET}D -> D -> conv(4, 1) -> D", ["1"]),
    "in a scope": (f"{B}block S = with bn(momentum=0.2): B\n{NET}B -> S -> B -> S", ["2", "3"]),
    "an ascription": (f"block D = conv(8, 3) :: [8, H, W]\n{NET}D -> D", ["1"]),
    "a tap": (f"block D = conv(8, 3) @t -> relu -> (id | t)\n{NET}D -> conv(8, 1) -> D", ["2"]),
    "a second output": (f"block D = emit a: relu\n{NET}relu -> D -> D", []),
    "a choice": (f"block D = oneof(relu, tanh)\n{NET}D -> D", []),
    "again, inside": (f"block D = a: conv(8, 3) -> again a\n{NET}D -> D", []),
    "again, from outside": (f"{B}{NET}a: B -> b: B -> again a -> again b", ["b"]),
    "a warning": (f"block D(x) = relu + conv(8, 3)\n{NET}D(1) -> D(1)", []),
    "an error": (f"block D = conv(9, 3, groups=3)\n{NET}D -> D -> D", ["2"]),
    "a name that is missing":
        (f"import \"none.cnn\" (X)\nblock D = X -> relu\n{NET}D -> D -> D", []),
    "behind an error": (f"{B}{NET}B -> conv(9, 3, groups=3) -> B -> B -> B", ["3", "4"]),
    "a recursion": (f"block A(n) = if n > 0 then (relu -> A(n-1))\n{NET}A(3) -> A(3)", ["1"]),
}  # fmt: skip


@pytest.mark.parametrize("what", COPIED)
def test_calls_alike_are_copied(what: str, copies: list[str]) -> None:
    text, expected = COPIED[what]
    program = cnndsl.loads(text)
    assert_told_alike(program)
    assert copies == expected


def test_the_time_may_end_inside_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy may be as large as half of the network."""
    put: list[Node] = []
    monkeypatch.setattr(State, "_put", lambda state, node: put.append(node) or _put(state, node))
    monkeypatch.setattr(Stopwatch, "over", property(lambda _: len(put) > 30))
    (expansion,) = expansions(cnndsl.loads(f"{B}block C = B^8\n{NET}C -> C"))
    assert [d.code for d in expansion.diagnostics] == ["E0216"] and len(put) == 31


def test_most_of_a_resnet_is_copied(copies: list[str]) -> None:
    cnndsl.load(EXAMPLES / "resnet.cnn").net("ResNet152").graph  # noqa: B018
    assert len(copies) == 50 - 2 * 4, "the first two of a stage differ in their inputs"


# --- that nobody can tell -------------------------------------------------------------------------

NESTED = """\
def count(n) = if n > 0 then count(n - 1) else 0
block Idle = if count(4) > 0 then relu
block Slow = relu -> Idle
block Unit(c) = conv: conv(c, 3) -> norm: bn
block Two(c) = a: Unit(c) -> relu -> b: (unit: Unit(c) + id)
block Four(c) = Two(c)^2
block Deep(n, c) = Four(c) -> if n > 0 then Deep(n - 1, c)
net N: [8, H, W] = Four(8) -> x: (y: (Four(8))) -> Deep(2, 8) -> Two(8) -> p: (Two(8))^3
  -> Idle -> Idle -> Slow^2 -> Idle -> Slow -> Idle
  -> (for c in [8, 16, 16] do Unit(c)) -> Unit(16) -> conv(8, 1)
  -> (for i in 1..3 do (if i > 1 then Two(8)))
"""


@pytest.mark.parametrize("limit", ["nodes", "steps", "idle_steps", "call_depth", "path"])
def test_every_limit_is_met_at_its_place(limit: str) -> None:
    program = cnndsl.loads(NESTED)
    assert [e.diagnostics for e in expansions(program)] == [()]
    most = {"nodes": 130, "steps": 720, "idle_steps": 100}.get(limit, 8)
    for value in range(1, most, max(most // 40, 1)):
        assert_told_alike(program, replace(DEFAULT_LIMITS, **{limit: value}))


def test_one_looks_ahead_in_time() -> None:
    """What is too large is refused where it becomes large, and not behind a great copy."""
    text = f"block A(n) = if n > 0 then (A(n - 1) -> A(n - 1)) else relu\n{NET}A(13)"
    assert_told_alike(cnndsl.loads(text), replace(DEFAULT_LIMITS, nodes=5_000))


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.cnn")), ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    if path.stem not in ("nas", "resnet_cifar"):  # a space, and 1202 layers: long, and one block
        assert_told_alike(cnndsl.load(path))


def test_faulty_networks() -> None:
    for _, case in reports.cases().values():
        assert_told_alike(cnndsl.loads(case.files[reports.MAIN], root=EXAMPLES))


@pytest.mark.parametrize(
    "seeds", [range(QUICK), pytest.param(range(QUICK, PROGRAMS), marks=pytest.mark.slow)], ids=len
)
def test_random_networks(seeds: range) -> None:
    for seed in seeds:
        assert_told_alike(cnndsl.loads(random_network(seed)))
