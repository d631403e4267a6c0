"""``verify``: silent on what the compiler makes, and not on anything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import cnndsl
from cnndsl.graph.model import Graph, Node, Output
from cnndsl.graph.verify import InternalError, verify
from cnndsl.ops import find_op
from cnndsl.ops.congruence import Valid
from cnndsl.ops.types import UNKNOWN, FeatureMap
from tests.graph.cases import CASES

TEXT = "net N: [8, H, W] = t: conv(8, 3) -> bn -> (id + in) -> again t -> emit e: relu -> u: (gap)"


def fresh() -> Graph:
    return cnndsl.loads(TEXT).net().graph


def node(graph: Graph, op: str) -> Node:
    return next(n for n in graph if n.op.name == op)


@pytest.mark.parametrize("name", CASES)
def test_what_the_compiler_makes_is_sound(name: str) -> None:
    verify(cnndsl.loads(CASES[name]).net().graph)


def put(name: str, /, **values: Any) -> Callable[[Graph], Graph]:
    def damage(graph: Graph) -> Graph:
        for key, value in values.items():
            setattr(node(graph, name), key, value)
        return graph

    return damage


def again(**values: Any) -> Callable[[Graph], Graph]:
    def damage(graph: Graph) -> Graph:
        for key, value in values.items():
            setattr(next(n for n in graph if n.shared), key, value)
        return graph

    return damage


def drop(op: str) -> Callable[[Graph], Graph]:
    def damage(graph: Graph) -> Graph:
        gone = node(graph, op).id
        return replace(graph, nodes={i: n for i, n in graph.nodes.items() if i != gone})

    return damage


def outputs(*found: Output) -> Callable[[Graph], Graph]:
    return lambda graph: replace(graph, outputs=found)


def op(name: str, *args: Any) -> Any:
    found = find_op(name)
    assert found is not None
    return found(*args)


def restrict(graph: Graph) -> Graph:
    graph.facts.restrict(Valid.divisibility("H", 2))
    return graph


DAMAGES: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "an input that reads": (put("input", inputs=(1,)), "an input reads"),
    "a step that reads nothing": (put("bn", inputs=()), "reads nothing"),
    "an operand that comes later": (put("bn", inputs=(3,)), "%3 is read and comes later"),
    "an operand that is itself": (put("bn", inputs=(2,)), "%2 is read and comes later"),
    "an operand that is gone": (drop("bn"), "%2 is read and does not exist"),
    "no inputs": (lambda g: replace(g, nodes={}), "without inputs"),
    "a node under another's key": (put("bn", id=7), "kept as %2"),
    "two modules at one path": (put("bn", path="t"), "its path is that of %1"),
    "a share without an owner": (again(path="u"), "nobody owns"),
    "a share of another operator": (again(op=op("conv", 8, 5)), "another operator"),
    "a namespace that was left": (put("bn", path="u.0.0"), "its namespace was left"),
    "another type": (put("bn", type=FeatureMap(8, 3, 3)), "inference gives [8, H, W]"),
    "no type": (put("bn", type=UNKNOWN), "unknown"),
    "a rule that does not hold": (put("add", op=op("flatten")), "a rule does not hold"),
    "operands that differ": (put("conv", op=op("conv", 4, 3)), ""),
    "sizes that nobody derived": (restrict, "other sizes are valid"),
    "no outputs": (outputs(), "outputs"),
    "two outputs of one name": (outputs(Output("a", 1), Output("a", 2)), "['a', 'a']"),
    "an output that is gone": (outputs(Output("a", 99)), "a is %99"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(name: str) -> None:
    damage, words = DAMAGES[name]
    graph = damage(fresh())
    with pytest.raises(InternalError) as found:
        verify(graph)
    assert words in str(found.value)


def test_the_error_names_the_node() -> None:
    graph = put("bn", type=UNKNOWN)(fresh())
    with pytest.raises(InternalError) as found:
        verify(graph)
    assert found.value.node is node(graph, "bn")


def test_sharing_needs_equal_weights() -> None:
    """The operator may be the same and its weights differ: they depend on the input."""
    graph = cnndsl.loads("net N: [8, H, W] = t: bn -> conv(4, 1) -> again t").net
    found = graph().diagnostics
    assert [d.code for d in found] == ["E0207"]  # the text cannot make such a graph
    sound = cnndsl.loads("net N: [8, H, W] = t: bn -> conv(4, 1) -> u: bn").net().graph
    last = list(sound)[-1]
    last.path, last.again = "t", True
    with pytest.raises(InternalError, match="other weights"):
        verify(sound)
