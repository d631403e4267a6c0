"""``to_json`` and ``to_networkx``: graphs for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import networkx
import pytest

import cnndsl
from tests.graph.cases import CASES

SCHEMA: Any = json.loads(
    (Path(cnndsl.__file__).parent / "schemas" / "graph-1.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def document(text: str, name: str = "a file.cnn") -> Any:
    found = cnndsl.loads(text, name=name).net().to_json()
    return json.loads(json.dumps(found, allow_nan=False))


def test_the_shipped_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", CASES)
def test_every_graph_follows_the_schema(name: str) -> None:
    VALIDATOR.validate(document(CASES[name]))


@pytest.mark.parametrize(
    "path",
    [
        ("schema",), ("name",), ("symbols",), ("nodes",), ("outputs",), ("symbols", 0, "modulus"),
        ("nodes", 1, "path"), ("nodes", 1, "parameters"), ("nodes", 1, "type", "channels"),
        ("nodes", 1, "weights", 0, "shape"), ("nodes", 1, "type", "height", "offset"),
        ("nodes", 1, "place", "line"), ("outputs", 0, "train"),
    ],
)  # fmt: skip
def test_the_schema_asks_for_every_field(path: tuple[str | int, ...]) -> None:
    found = document("net N: [3, H, W] = conv(8, 3, stride=2) -> relu")
    owner: Any = found
    for key in path[:-1]:
        owner = owner[key]
    del owner[path[-1]]
    assert not VALIDATOR.is_valid(found)


def test_a_graph_in_full() -> None:
    text = "net N: [3, H, 9] = conv(8, (1, 3), stride=2) -> emit[train] e: (gap -> flatten)"
    found = document(f"{text}\n  where H % 4 == 0")
    declared = {"minimum": 1, "congruences": [{"modulus": 4, "remainder": 0}]}
    assert found["symbols"] == [
        {
            "name": "H", "minimum": 4, "modulus": 4, "residues": [0], "text": "H % 4 == 0",
            "declared": declared,
        }
    ]  # fmt: skip
    conv = found["nodes"][1]
    assert conv.pop("parameters") == {
        "out": 8, "kernel": [1, 3], "stride": [2, 2], "padding": [0, 0, 1, 1],
        "dilation": [1, 1], "groups": 1, "bias": True,
    }  # fmt: skip
    height = {
        "text": "floor((H+1)/2)", "symbol": "H", "scale": 1, "offset": 1, "divisor": 2,
        "constant": 0, "table": [],
    }  # fmt: skip
    assert conv == {
        "id": 1, "op": "conv", "inputs": [0], "path": "0", "shared": False, "stands": None,
        "type": {"kind": "map", "channels": 8, "height": height, "width": 5},
        "weights": [
            {"key": "0.weight", "shape": [8, 3, 1, 3], "buffer": False},
            {"key": "0.bias", "shape": [8], "buffer": False},
        ],
        "place": {"file": "a file.cnn", "line": 1, "column": 20},
    }  # fmt: skip
    assert found["outputs"] == [
        {"name": "out", "node": 1, "emitted": False, "train": False},
        {"name": "e", "node": 3, "emitted": True, "train": True},
    ]


def test_a_bare_weight_and_a_buffer_have_their_keys() -> None:
    found = document("net N: [3, H, W] = bn -> gamma: scale -> again gamma")
    keys = [[w["key"] for w in node["weights"]] for node in found["nodes"]]
    assert keys[2:] == [["gamma"], []]
    assert [w["buffer"] for w in found["nodes"][1]["weights"]] == [False, False, True, True, True]


def test_names_are_as_they_are() -> None:
    """JSON's own escapes are all there is: no name is changed on its way."""
    evil = 'a"b\\c\n</script>\u2028é'
    found = cnndsl.loads("net N: [3, H, W] = relu", name=evil).net().to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["nodes"][1]["place"]["file"] == evil
    assert json.dumps(found).isascii()


def test_the_same_text_gives_the_same_bytes() -> None:
    text = CASES["derived restrictions"]
    assert json.dumps(document(text)) == json.dumps(document(text))


# --- networkx -------------------------------------------------------------------------------


def test_networkx_keeps_operands_apart() -> None:
    graph = cnndsl.loads("net N: [8, H, W] = relu -> (id + in + id)").net().to_networkx()
    assert list(graph.edges(keys=True)) == [(0, 1, 0), (0, 2, 1), (1, 2, 0), (1, 2, 2)]
    assert networkx.is_directed_acyclic_graph(graph)


def test_networkx_has_what_the_graph_says() -> None:
    net = cnndsl.loads("net N: [8, H, W] = t: conv(4, 1) -> emit[train] e: gap").net()
    graph = net.to_networkx()
    assert graph.nodes[1] == {"op": "conv(4, 1, bias=yes)", "path": "t", "type": "[4, H, W]"}
    assert graph.graph["name"] == "N"
    assert graph.graph["outputs"][1] == {"name": "e", "node": 2, "emitted": True, "train": True}
    graph.remove_node(1)
    assert len(net.graph) == 3  # a copy: what others do to it stays theirs
