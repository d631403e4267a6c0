"""The order in which a network runs: every value is there when it is read, and gone after."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import cnndsl
from cnndsl.backends.torch.plan import Scope, Step, plan
from tests import programs
from tests.graph.cases import CASES
from tests.networks import random_network

graph_of = cache(programs.graph_of)
GRAPHS = [*CASES.values(), *map(random_network, range(200))]


def steps(scope: Scope) -> Iterator[tuple[Scope, Step]]:
    for step in scope.steps:
        yield scope, step
        if step.scope is not None:
            yield from steps(step.scope)


def run(scope: Scope, most: list[int]) -> None:
    """Walks a namespace as a module does; KeyError for a value that is not there."""
    values = dict.fromkeys(scope.inputs)
    for step in scope.steps:
        for i in step.reads:
            values[i]
        if step.scope is not None:
            run(step.scope, most)
            assert (len(step.scope.inputs), len(step.scope.outputs)) == (
                len(step.reads),
                len(step.writes),
            )
        values.update(dict.fromkeys(step.writes))
        most.append(len(values))
        for i in step.release:
            del values[i]
    assert set(scope.outputs) <= set(values)


@pytest.mark.parametrize("text", GRAPHS)
def test_every_value_is_there_when_it_is_read(text: str) -> None:
    run(plan(graph_of(text)), [])


@pytest.mark.parametrize("text", GRAPHS)
def test_every_step_that_matters_runs_once(text: str) -> None:
    """A namespace that is repeated stands for its steps' second application."""
    graph = graph_of(text)
    needed = graph.reaching(output.node for output in graph.outputs)
    ran = Counter(step.node.path for _, step in steps(plan(graph)) if step.node is not None)
    assert ran == Counter(node.path for node in graph if node.inputs and node.id in needed)


@pytest.mark.parametrize("text", GRAPHS)
def test_nothing_is_kept_after_its_last_reader(text: str) -> None:
    """What is left at the end of a namespace is what it gives."""
    graph = graph_of(text)
    read = {i for node in graph for i in node.inputs} | {o.node for o in graph.outputs}
    for scope in {id(scope): scope for scope, _ in steps(plan(graph))}.values():
        kept = {*scope.inputs, *(i for step in scope.steps for i in step.writes)}
        kept -= {i for step in scope.steps for i in step.release}
        results = {output.node for output in graph.outputs}
        assert {i for i in kept if i in read} <= {*scope.outputs, *results}


def widest(text: str) -> int:
    most: list[int] = []
    run(plan(graph_of(text)), most)
    return max(most)


def test_a_chain_holds_two_values_and_a_residual_three() -> None:
    assert widest("net N: [8, H, W] = relu^50") == 2
    assert widest("net N: [8, H, W] = (id + (relu -> tanh -> relu))^50") == 3
    assert widest("net N: [8, H, W] = relu @a -> relu^50 -> (id + a)") == 3


def test_as_many_tensors_are_alive_as_planned() -> None:
    model = (
        cnndsl.loads("net N: [2, H, W] = (a: (relu -> tanh -> sigmoid))^1 -> relu^20")
        .net()
        .compile()
    )
    alive: list[weakref.ref[Tensor]] = []
    counts: list[int] = []

    def watch(_module: Any, _inputs: Any, output: Tensor) -> None:
        alive.append(weakref.ref(output))
        counts.append(sum(ref() is not None for ref in alive))

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(watch)
    with torch.no_grad():
        model(torch.zeros(1, 2, 4, 4))
    assert len(counts) == 23 and max(counts) == 2


# --- which namespaces are units -------------------------------------------------------------------


def units(text: str) -> list[str]:
    return [step.scope.path for _, step in steps(plan(graph_of(text))) if step.scope is not None]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ("a: (relu -> b: (tanh -> relu)) -> c: (relu)", ["a", "a.b", "c"]),
        ("a: relu", []),
        ("a: (relu -> tanh) -> again a", ["a", "a"]),
        ("a: (b: (relu -> tanh) -> relu) -> again a.b", ["a", "a.b", "a.b"]),
        ("x: (a: (relu) -> again x.a -> c: (relu))", ["x", "x.a", "x.a", "x.c"]),
        ("a: ((id + id) -> r: relu) -> again a -> again a.r", ["a", "a"]),
        ("a: ((id + in) -> relu) -> again a", ["a"]),  # one wire to it, and then two
        ("a: (relu @t -> tanh) -> again a -> (id + t)", ["a"]),  # `t` is the second one's
        ("a: (b: (relu) -> c: (tanh)) -> again a", ["a", "a.b", "a.c", "a", "a.b", "a.c"]),
        ("a: (relu @t -> tanh) -> b: (relu -> (id + t))", ["a", "b"]),
        ("a: (relu + tanh)", ["a"]),
        ("emit[train] e: (gap -> flatten) -> b: (relu)", ["e", "b"]),
    ],
)  # fmt: skip
def test_a_namespace_is_a_unit_unless_it_is_used_again(body: str, paths: list[str]) -> None:
    assert units(f"net N: [8, H, W] = {body}") == paths


def test_the_outermost_call_of_a_head_is_marked() -> None:
    """Nothing inside it: `again` may call that where eval mode goes."""
    text = """
    block B = relu -> emit[train] e: (gap -> h: (flatten -> linear(2))) -> tanh
    net N: [8, H, W] = b: B -> emit[train] f: gap -> relu
    """
    marked = {
        (step.scope.path if step.scope else f"{step.node.path}")
        for _, step in steps(plan(graph_of(text)))
        if step.train and (step.scope or step.node)
    }
    assert marked == {"b.e", "f"}


def test_a_dead_value_is_never_computed() -> None:
    model = cnndsl.loads("net N: [3, H, W] = let a = x: conv(4, 3) relu").net().compile()
    ran: list[str] = []
    model.x.register_forward_hook(lambda *_: ran.append("x"))
    model(torch.zeros(1, 3, 4, 4))
    assert not ran and "x.weight" in model.state_dict()
