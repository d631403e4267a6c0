"""The language's laws, each on thousands of random networks that have no error.

Two texts mean the same when their graphs have one signature: operators, wires, module paths,
types, outputs and valid sizes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

import cnndsl
from cnndsl.graph.printer import print_graph
from cnndsl.source import Source
from cnndsl.syntax import ast
from cnndsl.syntax.formatter import format_source
from tests.motifs import starts_with_norm
from tests.networks import random_network
from tests.programs import graph_of, parsed, split_net

PROGRAMS = 5_000
PART = 250
"""Programs in one test, so that workers share the load."""
Law = Callable[[list[str], random.Random], list[str]]


class Program(NamedTuple):
    """A network's text, with the chain of its result taken apart."""

    before: str
    steps: tuple[str, ...]
    after: str

    @staticmethod
    def read(text: str) -> Program:
        before, net = split_net(text)
        result = parsed(net)[1].declarations[0].body.results[0]
        start, end = result.span.start, result.span.end
        steps = result.steps if isinstance(result, ast.Chain) else (result,)
        texts = tuple(step.span.text for step in steps)
        return Program(f"{before}\n{net[:start]}", texts, net[end:])

    def with_steps(self, steps: list[str]) -> str:
        # `id` first: behind a `let`, an opening bracket would call what stands before it.
        return self.before + " -> ".join(["id", *steps]) + self.after


@pytest.mark.parametrize("first", range(0, PROGRAMS, PART))
def test_the_laws_hold(first: int) -> None:
    for seed in range(first, first + PART):
        text = random_network(seed)
        graph = graph_of(text)
        meaning = graph.signature()
        changed = rewritten(text, LAWS, seed)
        if graph_of(changed).signature() != meaning:
            pytest.fail(blamed(text, meaning, seed))
        printed = print_graph(graph)
        assert graph_of(printed).signature() == meaning, f"what is printed\n{text}\n{printed}"


def rewritten(text: str, laws: list[Law], seed: int) -> str:
    """The text after each of the laws, in another layout."""
    program, rng = Program.read(text), random.Random(seed)
    steps = list(program.steps)
    for law in laws:
        steps = law(steps, rng)
    before, net = split_net(program.with_steps(steps))
    formatted, problems = format_source(Source("<text>", net))
    assert formatted is not None, problems
    return f"{before}\n{formatted}"


def blamed(text: str, meaning: object, seed: int) -> str:
    """The first law that breaks without the others; else all together, or the layout alone."""
    for laws in ([], *([law] for law in LAWS), LAWS):
        changed = rewritten(text, laws, seed)
        if graph_of(changed).signature() != meaning:
            break
    return "\n".join([*(str(law.__doc__) for law in laws), text, changed])


# --- the laws: each gives steps that mean the same ------------------------------------------------


def unit_of_joins(steps: list[str], rng: random.Random) -> list[str]:
    """``f + none`` and ``none | f`` are ``f``.

    A bias is settled along one chain and not across a join, so norms stay where they are.
    """
    normed = [starts_with_norm(step) for step in [*steps, ""]]
    places = [i for i in range(len(steps)) if not normed[i] and not _next(normed, steps, i)]
    forms = ["(({}) + none)", "(none | ({}))", "(none + ({}) + none)", "add(none, ({}))",
             "concat(({}), none, none)", "mean(({}), none)"]  # fmt: skip
    if not places:
        return steps
    place = rng.choice(places)
    return [*steps[:place], rng.choice(forms).format(steps[place]), *steps[place + 1 :]]


def _next(normed: list[bool], steps: list[str], place: int) -> bool:
    """Whether a norm is the next step that does something."""
    place += 1
    while place < len(steps) and steps[place] == "id":
        place += 1
    return normed[place]


def powers(steps: list[str], rng: random.Random) -> list[str]:
    """``f^1`` is ``f``, and ``f^0`` is ``id``."""
    place, empty = rng.randrange(len(steps)), f"({rng.choice(steps)})^0"
    found = [*steps[:place], f"({steps[place]})^1", *steps[place + 1 :]]
    found.insert(rng.randint(0, len(found)), empty)
    return found


def unit_of_then(steps: list[str], rng: random.Random) -> list[str]:
    """``id -> f`` and ``f -> id`` are ``f``."""
    found = list(steps)
    for _ in range(3):
        found.insert(rng.randint(0, len(found)), rng.choice(["id", "(id)", "(id -> id)"]))
    return found


def associativity(steps: list[str], rng: random.Random) -> list[str]:
    """``(f -> g) -> h`` and ``f -> (g -> h)`` are ``f -> g -> h``."""
    first, last = sorted(rng.sample(range(len(steps) + 1), 2))
    group = f"({' -> '.join(steps[first:last])})"
    return [*steps[:first], group, *steps[last:]]


LAWS: list[Law] = [unit_of_joins, powers, unit_of_then, associativity]
"""In the order in which one text goes through all of them: the first looks at steps as written."""


def test_a_square_is_two_applications() -> None:
    def net(body: str) -> object:
        return cnndsl.loads(f"net N: [8, H, W] = {body}").net().graph.signature()

    assert net("x: ((conv(8, 3) -> relu)^3)") == net(
        "x: ((conv(8, 3) -> relu)^2 -> (conv(8, 3) -> relu))"
    )
    assert net("conv(8, 3)^2 -> bn") == net("conv(8, 3) -> conv(8, 3) -> bn")


# --- what the laws compare -----------------------------------------------------------------------


@pytest.mark.parametrize("word", ["emit", "again", "let ", "^0", "Dense(", "with ", "H, W"])
def test_programs_are_of_many_kinds(word: str) -> None:
    nets = [split_net(random_network(seed))[1] for seed in range(500)]
    assert sum(word in net for net in nets) > 20


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("relu -> conv(8, 1)", "conv(8, 1) -> relu"),
        ("a: conv(8, 1)", "b: conv(8, 1)"),
        ("conv(8, 1) -> bn", "conv(8, 1, bias=yes) -> bn"),
        ("(conv(8, 1) + id)", "(id + conv(8, 1))"),
        ("(relu + id)", "(relu | id) -> slice(0, 8)"),
        ("a: relu -> again a", "a: relu -> b: relu"),
        ("emit e: relu", "emit[train] e: relu"),
        ("emit e: relu", "emit f: relu"),
        ("relu, tanh", "tanh, relu"),
        ("relu where H % 2 == 0", "relu where H % 4 == 0"),
        ("relu -> id", "relu -> id -> relu^1"),
        ("conv(8, 3)", "conv(8, 5)"),
    ],
)
def test_the_signature_tells_networks_apart(one: str, other: str) -> None:
    signatures = [
        cnndsl.loads(f"net N: [8, H, W] = {b}").net().graph.signature() for b in (one, other)
    ]
    assert signatures[0] != signatures[1]
