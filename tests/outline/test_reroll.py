"""Any graph as text again: the same network, as short as a person would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import process_time

import pytest

import cnndsl
from cnndsl.graph.build import Builder
from cnndsl.graph.cost import weights_of
from cnndsl.graph.model import Graph, Output
from cnndsl.ops import Op, catalogue
from cnndsl.ops.sizes import Size
from cnndsl.ops.types import FeatureMap
from cnndsl.outline import reroll
from cnndsl.outline.reroll import Rolled, write_text
from cnndsl.outline.text_match import Mismatch, keeps_keys, matched
from cnndsl.source import Source
from cnndsl.syntax.formatter import format_source
from tests.networks import random_network
from tests.outline import lengths
from tests.outline.equal import flattened, network
from tests.outline.handwritten import EXAMPLES, lines
from tests.programs import graph_of

ZOO = lengths.nets()
BARS = {"ResNet50": (40, 60), "DenseNet121": (60, 60), "VGG19": (20, 20)}
"""Lines with all paths kept, and from a graph without names."""


def assert_same(graph: Graph, rolled: Rolled) -> None:
    """Loads without diagnostics, is formatted, and is the network with renamed modules."""
    program = cnndsl.loads(rolled.text)
    assert not program.diagnostics, rolled.text
    assert network(program.net().graph) == network(graph, rolled.paths), rolled.text
    assert format_source(Source("<rolled>", rolled.text))[0] == rolled.text
    weighty = {node.path for node in graph if weights_of(graph, node)}
    assert weighty <= set(rolled.paths)


def assert_kept(graph: Graph, rolled: Rolled) -> None:
    assert_same(graph, rolled)
    for node in graph:
        if weights_of(graph, node):
            assert rolled.paths[node.path] == node.path


@pytest.mark.parametrize(("file", "net"), ZOO, ids=[net for _, net in ZOO])
def test_the_zoo(file: str, net: str) -> None:
    graph = lengths.case(file, net).graph
    kept, free = lengths.kept(file, net), lengths.free(file, net)
    assert_kept(graph, kept)
    assert_same(flattened(graph), free)
    hand = lengths.case(file, net).hand
    assert (lines(hand), lines(kept.text), lines(free.text)) == lengths.read()[net]
    for text in (kept.text, free.text):
        assert lines(text) <= 1.5 * lines(hand)
        assert len(text) <= 1.5 * len(hand)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "net"), lengths.deeper(), ids=[net for _, net in lengths.deeper()]
)
def test_deeper_ones(file: str, net: str) -> None:
    case, kept, free = lengths.case(file, net), lengths.kept(file, net), lengths.free(file, net)
    assert_kept(case.graph, kept)
    assert_same(flattened(case.graph), free)
    assert max(lines(kept.text), lines(free.text)) <= 1.5 * lines(case.hand)


@pytest.mark.parametrize("net", BARS)
def test_the_bars(net: str) -> None:
    found = lengths.read()[net]
    assert found[1] <= BARS[net][0]
    assert found[2] <= BARS[net][1]


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed: int) -> None:
    graph = graph_of(random_network(seed, tiny=seed % 2 == 0))
    assert_kept(graph, write_text(graph, keep=True))
    assert_same(flattened(graph), write_text(flattened(graph)))


def test_few_networks_fall_back() -> None:
    """Every text above is right because it is checked; most are also re-rolled."""
    plain = 0
    for seed in range(20, 40):
        graph = flattened(graph_of(random_network(seed, tiny=True)))
        if not any(node.shared for node in graph):
            plain += reroll._attempt(graph, "Net", flat=True, keep=False) is None
    assert plain == 0


@pytest.mark.slow
def test_a_thousand_layers() -> None:
    graph = cnndsl.load(str(EXAMPLES / "resnet_cifar.cnn")).net("ResNet1202").graph
    start = process_time()
    kept = write_text(graph, keep=True)
    free = write_text(flattened(graph))
    assert process_time() - start < 10
    assert_kept(graph, kept)
    assert_same(flattened(graph), free)
    assert max(lines(kept.text), lines(free.text)) <= 10


# --- graphs from elsewhere ----------------------------------------------------------------------


def op(name: str, *args: object, **values: object) -> Op:
    return catalogue()[name](*args, **values)


def built(fill: Callable[[Builder, int], int]) -> Graph:
    builder = Builder("Net")
    start = builder.input(FeatureMap(3, Size.of("H"), Size.of("W")))
    return builder.graph([Output("out", fill(builder, start))])


def dense(builder: Builder, x: int) -> int:
    """As torchvision has it: each layer joins everything before it, in its own namespace."""
    made = [builder.add(op("conv", 8, 3, bias=False), [x], "conv0")]
    for k in range(1, 9):
        path = f"block.layer{k}"
        x = builder.add(op("concat"), made, f"{path}.concat")
        x = builder.add(op("bn"), [x], f"{path}.norm")
        x = builder.add(op("relu"), [x], f"{path}.relu")
        made.append(builder.add(op("conv", 4, 3, bias=False), [x], f"{path}.conv"))
    return builder.add(op("concat"), made, "block.concat")


def test_dense_joins_run() -> None:
    graph = built(dense)
    kept = write_text(graph, keep=True)
    assert_kept(graph, kept)
    assert "for i in 1..8 do (id | layer{i}: " in kept.text
    assert lines(kept.text) <= 5


def caffe(builder: Builder, x: int) -> int:
    for k in "abcd":
        left = builder.add(op("conv", 8, 1, bias=False), [x], f"res2{k}_branch2a")
        left = builder.add(op("bn"), [left], f"bn2{k}_branch2a")
        left = builder.add(op("relu"), [left], f"relu2{k}a")
        left = builder.add(op("conv", 3, 3, bias=True), [left], f"res2{k}_branch2b")
        x = builder.add(op("add"), [x, left], f"res2{k}")
    x = builder.add(op("flatten"), [builder.add(op("gap"), [x], "pool5")], "flat")
    return builder.add(op("linear", 10, bias=True), [x], "fc1000")


def test_names_that_stand_in_the_way_go_and_others_stay() -> None:
    graph = built(caffe)
    free = write_text(graph, name="Caffe")
    assert_same(graph, free)
    assert "res2" not in free.text
    assert "^4" in free.text
    assert "fc1000: linear(10)" in free.text
    assert "net Caffe: [3, H, W]" in free.text
    assert_kept(graph, write_text(graph, keep=True))


@pytest.mark.parametrize("name", ["resnet-50", "conv", "net", "1st", "x" * 65])
def test_a_name_that_no_net_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a network"):
        write_text(built(caffe), name=name)


def test_an_input_that_nothing_reads() -> None:
    builder = Builder("Net")
    size = FeatureMap(3, Size.of("H"), Size.of("W"))
    builder.input(size, "image")
    unread = builder.input(size, "mask")
    graph = builder.graph([Output("out", builder.add(op("relu"), [unread]))])
    rolled = write_text(graph)
    assert network(cnndsl.loads(rolled.text).net().graph) == network(graph, rolled.paths)


def test_given_modules_stay_where_they_cost_little() -> None:
    graph = cnndsl.load(str(EXAMPLES / "resnet.cnn")).net("ResNet18").graph
    assert write_text(graph).paths["layer4.1.conv2"] == "layer4.1.conv2"


def test_joins_hundreds_deep_are_written_plainly() -> None:
    def nested(builder: Builder, x: int) -> int:
        made = [x]
        for _ in range(300):
            made.append(builder.add(op("relu"), [made[-1]]))
        for early in reversed(made[:-1]):
            made.append(builder.add(op("add"), [early, made[-1]], "add"))
        return made[-1]

    graph = built(nested)
    assert_same(graph, write_text(graph))


# --- nothing wrong is ever handed out -------------------------------------------------------------

BASE = (
    "net Net: [3, H, W] = a: conv(8, 3) -> relu -> (b: conv(8, 1) | c: conv(8, 1)) -> add(id, id)"
)
OTHERS = {
    "a parameter": BASE.replace("a: conv(8, 3)", "a: conv(8, 5)"),
    "an operand": BASE.replace("add(id, id)", "add(id, id, id)"),
    "an order": BASE.replace("add(id, id)", "add(id, id) -> id").replace("| c", "* c"),
    "another step": BASE.replace("-> relu ->", "-> silu ->"),
    "a wire": BASE.replace("a: conv(8, 3) -> relu", "a: conv(8, 3) @x -> relu -> x"),
    "a fact": f"{BASE} where H % 2 == 0",
    "an output": BASE.replace("add(id, id)", "add(id, id), in"),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_another_network_is_no_match(what: str) -> None:
    graph, other = (cnndsl.loads(text).net().graph for text in (BASE, OTHERS[what]))
    order = [node.id for node in graph if node.inputs]
    assert matched(graph, graph, order)
    with pytest.raises(Mismatch):
        matched(graph, other, order)


def test_keys_are_looked_at() -> None:
    graph = cnndsl.loads(BASE).net().graph
    same = {node.path: node.path for node in graph}
    assert keeps_keys(graph, same)
    assert keeps_keys(graph, {**same, "1": "relu"})
    assert not keeps_keys(graph, {**same, "a": "conv1"})


def test_a_text_that_does_not_match_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = cnndsl.load(str(EXAMPLES / "resnet.cnn")).net("ResNet18").graph

    refused: list[str] = []

    def first_refused(given: Graph, written: Graph, order: Sequence[int]) -> dict[str, str]:
        if not refused:
            refused.append(written.name)
            raise Mismatch("no")
        return matched(given, written, order)

    monkeypatch.setattr(reroll, "matched", first_refused)
    rolled = write_text(graph, keep=True)
    assert_kept(graph, rolled)
    assert lines(rolled.text) > 20
