"""``graph_from_json``: what was written comes back, and nothing else gets in."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest

import cnndsl
from cnndsl.graph.as_json import graph_to_json
from cnndsl.graph.from_json import JsonProblem, graph_from_json, read_graph
from cnndsl.graph.model import Graph
from cnndsl.graph.printer import print_graph
from tests.graph.cases import CASES
from tests.graph.damage import damaged
from tests.networks import random_network
from tests.programs import graph_of

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.cnn"))


def graph(text: str) -> Graph:
    return cnndsl.loads(text).net().graph


def assert_comes_back(before: Graph) -> None:
    after = read_graph(json.dumps(graph_to_json(before)).encode())
    assert after.signature() == before.signature()


# --- there and back -------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_every_graph_comes_back(name: str) -> None:
    assert_comes_back(graph(CASES[name]))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_first_net_of_every_example_comes_back(path: Path) -> None:
    program = cnndsl.load(path)
    assert_comes_back(program.net(program.nets[0]).graph)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_comes_back(path: Path) -> None:
    program = cnndsl.load(path)
    for name in program.nets:
        assert_comes_back(program.net(name).graph)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_come_back(seed: int) -> None:
    assert_comes_back(graph_of(random_network(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60, 1060))
def test_many_random_networks_come_back(seed: int) -> None:
    assert_comes_back(graph_of(random_network(seed)))


def test_what_follows_from_the_rest_may_be_left_out() -> None:
    before = graph(CASES["blocks"])
    document = graph_to_json(before)
    for node in document["nodes"]:
        if node["op"] != "input":
            del node["type"]
        del node["shared"], node["stands"], node["weights"], node["place"]
        for key in ("dilation", "groups"):  # the operator's defaults
            node["parameters"].pop(key, None)
    for symbol in document["symbols"]:
        del symbol["minimum"], symbol["modulus"], symbol["residues"], symbol["text"]
    assert graph_from_json(document).signature() == before.signature()


def test_ids_are_anyone_s_and_fields_may_be_added() -> None:
    before = graph(CASES["dense block"])
    document = graph_to_json(before)
    document["author"] = "somebody"
    for node in document["nodes"]:
        node["id"], node["colour"] = 7 * node["id"] + 3, [1, {}]
        node["inputs"] = [7 * i + 3 for i in node["inputs"]]
    for output in document["outputs"]:
        output["node"] = 7 * output["node"] + 3
    assert graph_from_json(document).signature() == before.signature()


# --- what is refused, and where -------------------------------------------------------------

TEXT = """
net N: [3, H, W] = stem: conv(8, 3) -> (left: conv(4, 1) | right: (bn -> conv(4, 1))) -> again stem2
  where H % 4 == 0"""
BASE: Any = graph_to_json(
    graph(TEXT.replace("again stem2", "stem2: conv(8, 1) -> again stem2 -> relu"))
)
ADDRESS = tuple[str | int, ...]
WRONG: dict[str, tuple[ADDRESS, Any, str]] = {
    "schema": (("schema",), "cnndsl.graph/2", "schema: this reads `cnndsl.graph/1`"),
    "net": (("name",), "conv", "name: `conv` cannot name a network"),
    "operator": (("nodes", 1, "op"), "cnov", "op: no operator `cnov`, did you mean `conv`?"),
    "pieces": (("nodes", 1, "op"), "split", "nodes[1].op: `split` stands for several steps"),
    "late input": (("nodes", 2, "op"), "input", "nodes[2].op: no operator `input`; an input"),
    "no inputs": (("nodes", 0, "op"), "relu", "nodes: a network starts with its inputs"),
    "unknown parameter": (
        ("nodes", 1, "parameters", "padd"), 1,
        "nodes[1].parameters: `conv` has no parameter `padd`",
    ),
    "bad parameter": (
        ("nodes", 1, "parameters", "out"), 0,
        "nodes[1].parameters.out: `out` is at least 1, got 0",
    ),
    "open bias": (
        ("nodes", 1, "parameters", "bias"), None, "nodes[1].parameters: `bias` is true or false"
    ),
    "infinite": (
        ("nodes", 3, "parameters", "eps"), float("inf"), "nodes[3].parameters.eps: is no value"
    ),
    "no wire": (("nodes", 1, "inputs", 0), 9, "nodes[1].inputs[0]: no node before this has the id"),
    "join": (("nodes", 5, "inputs"), [2], "nodes[5].inputs: a join has at least two operands"),
    "another join": (("nodes", 5, "op"), "max", "nodes[7]: it needs other weights than %6"),
    "arity": (("nodes", 1, "inputs"), [0, 0], "nodes[1]: `conv` needs 1 input"),
    "groups": (
        ("nodes", 1, "parameters", "groups"), 2,
        "nodes[1].parameters.groups: groups=2 does not divide 3 input channels",
    ),
    "twice": (("nodes", 2, "id"), 1, "nodes[2].id: a node before this has the id 1"),
    "same path": (("nodes", 6, "path"), "left", "nodes[6].path: another step has this path"),
    "nothing to repeat": (("nodes", 7, "path"), "new", "nodes[7].path: no step before this has"),
    "another operator": (
        ("nodes", 7, "parameters", "out"), 4, "nodes[7]: it shares the module of %6"
    ),
    "reserved": (("nodes", 1, "path"), "forward", "nodes[1].path: `forward` cannot be a label"),
    "no label": (("nodes", 1, "path"), "a b", "nodes[1].path: `a b` cannot be a label"),
    "markup": (("nodes", 1, "path"), "<b>\x1b[1m", "`<b>\\x1b[1m` cannot be a label"),
    "empty": (("nodes", 1, "path"), "", "nodes[1].path: a step has a path"),
    "deep": (("nodes", 1, "path"), "a." * 40 + "a", "a path has at most 32 levels, this has 41"),
    "step and namespace": (
        ("nodes", 1, "path"), "right", "nodes[3].path: `right` is a step and a namespace"
    ),
    "namespace left": (("nodes", 8, "path"), "right.2", "nodes[8]: its namespace was left before"),
    "input's name": (("nodes", 0, "path"), "self", "nodes[0].path: `self` cannot name an input"),
    "input's size": (
        ("nodes", 0, "type", "height", "divisor"), 2, "an input's size is a multiple of its symbol"
    ),
    "symbols": (("symbols", 0, "name"), "W", "symbols: lists what the inputs bring in"),
    "impossible": (
        ("symbols", 0, "declared", "congruences"),
        [{"modulus": 2, "remainder": 0}, {"modulus": 2, "remainder": 1}],
        "symbols[0].declared: no H satisfies all of it",
    ),
    "symbol": (("symbols", 0, "modulus"), 8, "symbols[0].modulus: 4 follows from the rest"),
    "type": (("nodes", 1, "type", "channels"), 9, "nodes[1].type.channels: 8 follows from the"),
    "weights": (
        ("nodes", 1, "weights", 0, "shape", 1), 4, "nodes[1].weights[0].shape[1]: 3 follows"
    ),
    "shared": (("nodes", 7, "shared"), False, "nodes[7].shared: true follows from the rest"),
    "output": (("outputs", 0, "name"), "logits", "outputs: the only result is called `out`"),
    "no result": (("outputs", 0, "emitted"), True, "a network has a result that is not emitted"),
    "no outputs": (("outputs",), [], "the outputs are []"),
    "truth": (("outputs", 0, "emitted"), 1, "outputs[0].emitted: needs true or false, got 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_place(name: str) -> None:
    address, value, message = WRONG[name]
    document = copy.deepcopy(BASE)
    owner: Any = document
    for key in address[:-1]:
        owner = owner[key]
    owner[address[-1]] = value
    with pytest.raises(JsonProblem) as caught:
        graph_from_json(document)
    assert message in str(caught.value)


def test_two_sizes_at_a_join() -> None:
    document = graph_to_json(graph("net N: [3, H, W] = maxpool(2) @a -> relu -> (id + a)"))
    document["nodes"][3]["inputs"] = [2, 0]
    with pytest.raises(JsonProblem, match=r"nodes\[3\].inputs: .* height floor\(H/2\) and H"):
        graph_from_json(document)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this is no JSON: expecting value (line 1, column 1)"),
        (b"\xff", "byte 0 is no UTF-8"),
        (b"[1]", "needs an object, got a list"),
        (b'{"a": 1, "a": 2}', "an object has `a` twice"),
        (b'{"a": NaN}', "`NaN` is no number of JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number is too long"),
        (b"[" * 1_000_000, "it nests too deep"),
        (b" " * ((64 << 20) + 1), "past 67,108,864"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_bytes_that_are_no_document(data: bytes, message: str) -> None:
    with pytest.raises(JsonProblem) as caught:
        read_graph(data)
    assert message in str(caught.value)


def test_limits() -> None:
    with pytest.raises(JsonProblem, match="at most 3 are read"):
        graph_from_json(BASE, cnndsl.Limits(nodes=3))
    with pytest.raises(JsonProblem, match="this takes longer than 0 s"):
        graph_from_json(BASE, cnndsl.Limits(seconds=0))
    with pytest.raises(JsonProblem, match=r"past the limit of 5$"):
        graph_from_json(BASE, cnndsl.Limits(elements=5))


def _attack(document: Any, seed: int, count: int) -> int:
    """How many damaged documents still gave a graph; each of these has a text of its own."""
    accepted = 0
    for data in damaged(document, seed, count):
        started = time.process_time()
        try:
            found = read_graph(data)
        except JsonProblem as problem:
            assert str(problem).isprintable()
        else:
            accepted += 1
            assert graph(print_graph(found)).signature() == found.signature()
        assert time.process_time() - started < 2
    return accepted


@pytest.mark.parametrize("name", ["heads", "again from a group", "several inputs", "labels"])
def test_damaged_documents_give_problems_or_graphs(name: str) -> None:
    assert _attack(graph_to_json(graph(CASES[name])), seed=len(name), count=120)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_many_damaged_documents(name: str) -> None:
    _attack(graph_to_json(graph(CASES[name])), seed=1, count=1000)
