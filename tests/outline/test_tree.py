"""Graphs as trees of namespaces, and things that are alike as families."""

from __future__ import annotations

from pathlib import Path

import pytest

import cnndsl
from cnndsl.outline.families import MISSING, Leaf, Solution, form, leaves, solve
from cnndsl.outline.tree import Space, declared, tree
from tests.graph.cases import CASES
from tests.networks import random_network

ROOT = Path(__file__).parents[2]


def made_right(text: str) -> Space:
    """The order is the graph's; what goes in and out is what the wires say."""
    graph = cnndsl.loads(text).net(chooser=lambda path, count: 0).graph
    whole = tree(graph)
    assert [node.id for node in whole.nodes()] == [node.id for node in graph if node.inputs]
    returned = {output.node for output in graph.outputs}
    for space in [whole, *whole.spaces()]:
        inside = {node.id for node in space.nodes()}
        read = {i for node in space.nodes() for i in node.inputs}
        elsewhere = {i for node in graph if node.id not in inside for i in node.inputs}
        assert set(space.inputs) == read - inside
        assert set(space.results) == inside & (elsewhere | returned)
        for item in space.items:
            if not isinstance(item, Space):
                assert (item.stands if item.again else item.space) == space.path
    return whole


@pytest.mark.parametrize("name", CASES)
def test_what_a_graph_can_hold(name: str) -> None:
    made_right(CASES[name])


def test_random_programs() -> None:
    for seed in range(5_000, 5_030):
        made_right(random_network(seed, tiny=True))


def test_the_call_that_a_namespace_comes_from() -> None:
    whole = tree(cnndsl.load(ROOT / "examples" / "resnet.cnn").net("ResNet50").graph)
    found = {space.path: declared(space) for space in whole.spaces()}
    assert {path: frame and frame.given[0] for path, frame in found.items() if frame} == {
        **{f"layer{i}": "Stage" for i in range(1, 5)},
        **{f"layer{i}.0.downsample": "Shortcut" for i in range(1, 5)},
        **{f"layer{i}.{j}": "Bottleneck" for i, n in enumerate((3, 4, 6, 3), 1) for j in range(n)},
    }


def test_a_label_around_several_calls_has_no_declaration() -> None:
    text = "block B(c) = conv(c, 1)\nnet N: [3, H, W] = a: (B(3) -> B(4)) -> b: B(5)"
    found = {space.path: declared(space) for space in tree(cnndsl.loads(text).net().graph).spaces()}
    assert found["a"] is None and found["b"] is not None and found["a.1"] is not None


# --- families -----------------------------------------------------------------------------------


def solved(*rows: dict[str, object], **more: object) -> Solution:
    """Members by their numbers; ``known`` and ``width`` as `solve` takes them."""
    members = [[Leaf(name, value) for name, value in row.items()] for row in rows]  # type: ignore[arg-type]
    known = more.get("known", [{} for _ in rows])
    width = more.get("width", [MISSING for _ in rows])
    return solve(members, known, width)[0]  # type: ignore[arg-type]


def test_equal_numbers_stay_numbers() -> None:
    found = solved({"a": 3, "b": 1}, {"a": 3, "b": 2})
    assert found.texts == ["3", "b"] and [p.name for p in found.parameters] == ["b"]


def test_numbers_that_move_together_are_one_parameter() -> None:
    found = solved(
        {"c": 4, "d": 16, "e": 2, "f": -4, "g": 4}, {"c": 7, "d": 28, "e": 3, "f": -7, "g": 7}
    )
    assert found.texts == ["c", "4 * c", "c // 2", "-c", "c"]


def test_true_is_not_one() -> None:
    assert solved({"a": 1, "b": True}, {"a": 0, "b": False}).texts == ["a", "b"]
    assert solved({"a": 1}, {"a": True}).texts == ["a"]


def test_sums_of_parameters() -> None:
    assert solved({"a": 1, "b": 5, "c": 6}, {"a": 2, "b": 9, "c": 11}).texts == ["a", "b", "a + b"]


def test_names_and_defaults_are_the_text_s() -> None:
    known = [{"k": 8, "stride": 2}, {"k": 8}, {"k": 16}]
    rows = [{"out": 8, "step": 2}, {"out": 8, "step": 1}, {"out": 16, "step": 1}]
    found = solved(*rows, known=known, width=[3, 8, 8])
    assert found.texts == ["k", "stride"]
    assert [(p.name, p.values, p.default) for p in found.parameters] == [
        ("k", (8, 8, 16), MISSING), ("stride", (2, 1, 1), 1),
    ]  # fmt: skip


def test_a_default_has_to_be_one_number() -> None:
    """Members without the argument differ: it is no parameter of that name with a default."""
    found = solved({"x": 2}, {"x": 1}, {"x": 3}, known=[{"s": 2}, {}, {}])
    assert found.parameters[0].default is MISSING and found.texts == [found.parameters[0].name]


def test_a_part_that_some_have() -> None:
    """It is there where the text's usual reasons say so; without them a flag says it."""
    rows = [
        {"in": 8, "out": 8, "stride": 1, "with_d": False, "d_in": MISSING, "d_stride": MISSING},
        {"in": 8, "out": 8, "stride": 2, "with_d": True, "d_in": 8, "d_stride": 2},
        {"in": 4, "out": 16, "stride": 1, "with_d": True, "d_in": 4, "d_stride": 1},
    ]
    known = [{"c": 8}, {"c": 8}, {"c": 16}]
    found = solved(*rows, known=known, width=[8, 8, 4])
    assert found.texts[:4] == ["in_channels", "c", "stride", "stride != 1 or in_channels != c"]
    assert found.texts[4:] == ["in_channels", "stride"]
    rows[1]["with_d"] = False
    assert solved(*rows, known=known, width=[8, 8, 4]).texts[3] == "in_channels != c"
    rows[2]["with_d"] = False
    rows[0]["with_d"] = True
    assert solved(*rows, known=known, width=[8, 8, 4]).texts[3] == "with_d"


def test_forms() -> None:
    one, two = ("call", "f", Leaf("a", 1)), ("call", "f", Leaf("b", 2))
    assert form(one) == form(two) != form(("call", "g", Leaf("a", 1)))
    assert [leaf.value for leaf in leaves((one, two))] == [1, 2]


@pytest.mark.parametrize("values", [(64, 64, 128), (1, 2, 3)])
def test_every_expression_gives_its_numbers(values: tuple[int, ...]) -> None:
    """The texts, computed with the parameters' values, are the members' numbers."""
    rows = [{"a": v, "b": 3 * v, "c": v // 2, "d": v + 5, "e": 2 * v + 5} for v in values]
    found = solved(*rows, known=[{"k": v + 5} for v in values], width=[v * 3 for v in values])
    for place, row in enumerate(rows):
        space = {p.name: p.values[place] for p in found.parameters}
        assert [eval(text, {}, dict(space)) for text in found.texts] == list(row.values())
