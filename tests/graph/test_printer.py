"""``print_graph``: what is printed reads back to the same graph, and reads well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import cnndsl
from cnndsl.graph.model import Graph
from cnndsl.graph.printer import print_graph
from cnndsl.graph.verify import verify
from cnndsl.ops.types import FeatureMap
from tests.graph.cases import CASES
from tests.ops.cases import CASES as OPERATORS
from tests.ops.cases import read

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.cnn"))


def graph(text: str, **limits: int) -> Graph:
    return cnndsl.loads(text, limits=cnndsl.Limits(**limits)).net().graph


@pytest.mark.parametrize("name", CASES)
def test_what_is_printed_reads_back_to_the_same_graph(name: str) -> None:
    before = graph(CASES[name])
    verify(before)
    after = graph(print_graph(before))
    verify(after)
    assert after.signature() == before.signature()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_reads_back(path: Path) -> None:
    program = cnndsl.load(path)
    for name in program.nets:
        before = program.net(name).graph
        assert graph(print_graph(before)).signature() == before.signature()


@pytest.mark.parametrize("name", CASES)
def test_printing_what_was_printed_changes_nothing(name: str) -> None:
    once = print_graph(graph(CASES[name]))
    assert print_graph(graph(once)) == once


@pytest.mark.parametrize(
    ("text", "x"),
    [(text, xs[0]) for text, xs in OPERATORS if not read(text).join and read(text).name != "split"],
)
def test_every_operator_reads_back(text: str, x: object) -> None:
    """By the language's own parser: every word and number it prints is one it takes."""
    before = graph(f"net N: {x} = {text} -> relu")
    assert graph(print_graph(before)).signature() == before.signature()
    if isinstance(x, FeatureMap):
        assert text.partition("(")[0] in print_graph(before)


def test_a_residual_block_as_it_is_printed() -> None:
    text = """
    block B(c) = (conv1: conv(c, 3) -> bn1: bn -> relu + downsample: (conv(c, 1) -> bn)) -> relu
    net N: [3, H, W] = conv1: conv(8, 7, stride=2) -> layer1: (B(16)^2) -> fc: conv(5, 1)
      where H % 2 == 0
    """
    printed = """\
net N: [3, H, W] =
     conv1: conv(8, 7, stride=2) @v1 -> layer1: (
          0: (
               conv1: conv(16, 3) -> bn1: bn -> relu @v2 -> v1
            -> downsample: (conv(16, 1) -> bn) -> (v2 + id) -> relu @v3
          ) -> 1: (
               conv1: conv(16, 3) -> bn1: bn -> relu @v4 -> v3
            -> downsample: (conv(16, 1) -> bn) -> (v4 + id) -> relu
          )
     ) -> fc: conv(5, 1)
  where H % 2 == 0
"""
    assert print_graph(graph(text)) == printed


def test_a_short_network_takes_one_line() -> None:
    text = "net N: [3, H, W] = conv(8, 3) -> (id + id) -> head: (gap -> flatten -> linear(2))\n"
    assert print_graph(graph(text)) == text


def test_an_open_choice_prints_as_the_alternative_that_stands_in() -> None:
    printed = print_graph(graph("net N: [8, H, W] = oneof(tanh, relu) -> conv(oneof(4, 6), 1)"))
    assert printed == "net N: [8, H, W] = tanh -> conv(4, 1)\n"


def test_lines_have_a_bounded_width() -> None:
    text = "net N: [8, H, W] = " + " -> ".join(f"a{i}: conv(8, 3)" for i in range(100))
    assert max(map(len, print_graph(graph(text)).splitlines())) <= 88


def test_the_text_is_as_long_as_the_graph() -> None:
    """Also where it nests: indentation ends, and namespaces are opened once."""
    inner = "(conv(8, 3) -> relu)^{}"
    lengths = []
    for repeats in (100, 1000):
        nested = inner.format(repeats)
        for i in range(30):
            nested = f"a{i}: ({nested})"
        lengths.append(len(print_graph(graph(f"net N: [8, H, W] = {nested}"))))
    assert lengths[1] < 11 * lengths[0]


def test_names_are_given_only_to_what_is_read_from_afar() -> None:
    text = "net N: [8, H, W] = relu -> tanh -> (id + in) -> sigmoid -> (conv(8, 1) + relu)"
    assert re.findall(r"@(\w+)", print_graph(graph(text))) == ["v1", "v2"]


def test_a_name_of_ours_is_no_input_and_no_layer() -> None:
    inputs, steps = "[8, H, W] v1, [8, H, W] v3", "relu @a -> tanh @b -> gelu -> (a + b)"
    printed = print_graph(graph(f"net N: {inputs} = {steps} -> (id + v1 + v3)"))
    assert re.findall(r"@(\w+)", printed) == ["v2", "v4"]


def test_deep_namespaces_need_the_nesting_that_they_have() -> None:
    """Past the limits for strangers, a printed text is as deep as the names it gives."""
    blocks = ["block B0 = conv(8, 3) -> relu"]
    for i in range(1, 60):
        blocks.append(f"block B{i} = relu -> a: b: B{i - 1}")
    text = "\n".join([*blocks, "net N: [8, H, W] = B59"])
    before = graph(text, path=200)
    assert max(node.path.count(".") for node in before) > 100
    assert graph(print_graph(before), nesting=400, path=200).signature() == before.signature()
