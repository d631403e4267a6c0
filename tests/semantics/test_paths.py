"""Module paths: what labels may be, and how `again` names a module by its path."""

from __future__ import annotations

import pytest

import cnndsl


def net(body: str, blocks: str = "") -> cnndsl.Compilation:
    return cnndsl.loads(f"{blocks}\nnet N: [8, H, W] = {body}").net()


def codes(body: str, blocks: str = "") -> list[str]:
    return [d.code for d in net(body, blocks).diagnostics]


@pytest.mark.parametrize(
    ("body", "shared"),
    [
        ("t: conv(8, 3) -> again t", ["t"]),
        ("t: (conv(8, 3) -> relu) -> again t", ["t.0", "t.1"]),
        ("t: (a: conv(8, 3) -> b: relu) -> again t.b", ["t.b"]),
        ("1: (2: (3: (4: relu -> c: tanh))) -> again 1.2.3.4 -> again 1.2.3.c",
         ["1.2.3.4", "1.2.3.c"]),
        ("for i in 3..4 do t{i}: conv(8, 3) -> for i in 3..4 do again t{i}", ["t3", "t4"]),
        ("for i in 1..2 do s{i}-0: (c: conv(8, 1)) -> again s{2}-0.c", ["s2-0.c"]),
        ("block: (net: conv(8, 3) -> in: relu) -> again block.net -> again block.in",
         ["block.net", "block.in"]),
        ("t: split(1) -> again t", ["t"]),
    ],
)  # fmt: skip
def test_a_path_names_the_module(body: str, shared: list[str]) -> None:
    assert [node.path for node in net(body).graph if node.shared] == shared


def test_inside_a_block_the_path_starts_there() -> None:
    blocks = "block B = t: conv(8, 3) -> relu -> again t"
    graph = net("B -> x: B", blocks).graph
    assert [node.path for node in graph if node.shared] == ["0.t", "x.t"]


@pytest.mark.parametrize(
    "body",
    [
        "again t -> t: relu",  # later
        "x: (relu -> again x)",  # itself
        "relu -> again 0",  # a position is no label
        "t: (relu) -> again t.1",
        "for i in 1..2 do t{i}: relu -> again t{3}",
    ],
)
def test_only_what_was_labelled_before_is_known(body: str) -> None:
    assert codes(body) == ["E0207"]


def test_a_repetition_makes_no_new_module() -> None:
    """Sizes may decide what a module holds; `again` cannot add to it."""
    blocks = "block B = if in.height < 9 then conv(8, 3)"
    text = f"{blocks}\nnet N: [8, 16, 16] = x: B -> maxpool(2) -> again x"
    found = cnndsl.loads(text).net().diagnostics
    assert [d.code for d in found] == ["E0207"]
    assert "no such module" in found[0].message


def test_other_weights_are_an_error() -> None:
    assert codes("t: conv(4, 3) -> again t") == ["E0207"]
    assert codes("t: conv(8, 3) -> bn -> again t -> again t") == []


def test_operators_that_only_compare_equal_are_kept_apart() -> None:
    """One is no `yes`: each step gets the operator that its own values make."""
    graph = net("a: conv(8, 3, bias=yes) -> b: conv(8, (3, 3)) -> c: conv(8, 3)").graph
    assert [node.op.text() for node in graph][1:] == ["conv(8, 3, bias=yes)"] * 3
    assert codes("a: conv(8, 3, bias=yes) -> b: conv(8, 3, bias=1)") == ["E0303"]
    assert codes("a: conv(8, 3, groups=1) -> b: conv(8, 3, groups=yes)") == ["E0303"]


def test_an_input_cannot_have_a_layers_name() -> None:
    found = cnndsl.loads("net N: [8, H, W] relu = tanh").net().diagnostics
    assert "E0202" in [d.code for d in found]


@pytest.mark.parametrize("value", [1e-40, float("inf"), float("nan")])
def test_a_parameter_is_a_number_of_bounded_length(value: float) -> None:
    program = cnndsl.loads("net N(p = 0.5): [8, H, W] = dropout(p)")
    assert [d.code for d in program.net(p=value).diagnostics] == ["E0303"]


@pytest.mark.parametrize("value", ["a b", "x.y", "forward", ""])
def test_a_label_holds_only_words_of_the_language(value: str) -> None:
    program = cnndsl.loads("net N(p = 1): [8, H, W] = a{p}: relu")
    assert "E0215" in [d.code for d in program.net(p=value).diagnostics]
    assert program.net(p="row").graph.nodes[1].path == "arow"


def test_a_label_is_no_longer_than_a_name() -> None:
    loops = "for i in 100000000000..100000000000 do "
    assert codes(f"{loops}{'a' * 52}{{i}}: relu") == []
    assert codes(f"{loops}{'a' * 53}{{i}}: relu") == ["E0215"]
