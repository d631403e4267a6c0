"""Reports for programs follow the schemas that are shipped."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cnndsl as package
from tests.cli.runner import ROOT, cnndsl

EXAMPLES = sorted((ROOT / "examples").glob("*.cnn"))
Document = dict[str, Any]


def validator(name: str) -> Any:
    path = Path(package.__file__).parent / "schemas" / f"{name}-1.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def document(*words: str) -> Document:
    run = cnndsl(*words)
    assert run.out.isascii()
    return json.loads(run.out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_check(path: Path) -> None:
    found = document("check", str(path), "--json")
    validator("diagnostics").validate(found)
    assert (found["schema"], found["errors"]) == ("cnndsl.diagnostics/1", 0)
    assert [net["name"] for net in found["nets"]] == list(package.load(path).nets)


@pytest.mark.parametrize("command", ["check", "summary"])
def test_a_wrong_text(command: str) -> None:
    run = cnndsl(command, "-", "--json", stdin="net A: [3, H, W] = cnov(8, 3)\n")
    found = json.loads(run.out)
    validator("diagnostics").validate(found)
    assert (run.code, run.err, found["nets"]) == (1, "", [])
    assert found["diagnostics"][0]["code"] == "E0201"


def test_check_of_a_space() -> None:
    text = "net A: [3, H, W] = op: oneof(conv(8, 3), conv(8, 5))\n"
    found = json.loads(cnndsl("check", "-", "--json", stdin=text).out)
    validator("diagnostics").validate(found)
    assert found["nets"][0]["space"]["size"] == "2"


def test_check_as_sarif() -> None:
    run = cnndsl("check", "-", "--format", "sarif", stdin="net A: [3, H, W] = cnov(8, 3)\n")
    found = json.loads(run.out)
    assert run.err == ""
    assert found["runs"][0]["results"][0]["ruleId"] == "E0201"
    assert found["runs"][0]["tool"]["driver"]["version"] == package.__version__


@pytest.mark.parametrize("net", ["resnet:ResNet50", "unet:UNet", "mtcnn:PNet", "googlenet:"])
def test_summary(net: str) -> None:
    file, _, name = net.partition(":")
    which = ["--net", name] if name else []
    found = document("summary", str(ROOT / "examples" / f"{file}.cnn"), *which, "--json")
    validator("summary").validate(found)
    running = [layer for layer in found["layers"] if not layer["training_only"]]
    for total in ("parameters", "macs", "activation_bytes"):
        assert found["totals"][total] == sum(layer[total] for layer in running)
    assert found["totals"]["macs"] == found["net"]["macs"]
    assert found["totals"]["parameters"] == found["net"]["parameters"]


def test_ops() -> None:
    found = document("ops", "--json")
    validator("ops").validate(found)
    assert "conv" in {operator["name"] for operator in found["operators"]}
    assert len(document("ops", "conv", "--json")["operators"]) == 1


def test_a_graph_comes_back_with_its_names() -> None:
    text = """
net N: [3, H, W] =
     left: (one: conv(4, 3) -> two: bn -> relu) -> right: (one: conv(4, 3) -> two: bn -> relu)
  -> third: (one: conv(4, 3) -> two: bn -> relu)
"""
    there = cnndsl("export", "json", "-", stdin=text).out
    back = cnndsl("import", "json", "-", stdin=there)
    assert (back.code, back.err) == (0, "")
    graph = package.loads(back.out).net().graph
    assert graph.signature() == package.loads(text).net().graph.signature()
    few = cnndsl("import", "json", "-", "--limit", "nodes=4", stdin=there)
    assert (few.code, few.out) == (2, "")
    assert few.err == "error: <stdin>: nodes: has 10 entries, and at most 4 are read\n"


EXPLAIN = ["--explain", "--json", "--run", "none"]
SMALL = {
    "densenet": """
import "densenet.cnn" (DenseNet)
net Small: [3, H, W] = DenseNet(4, 2, 1, 2, 1, 10)
""",
    "googlenet": """
import "googlenet.cnn" (Inception)
net Small: [3, H, W] =
  stem: conv(8, 3) -> bn -> relu -> maxpool(3, stride=2, ceil=yes)
  -> inception1: Inception(4, 2, 4, 2, 4, 4) -> inception2: Inception(4, 4, 8, 2, 4, 4)
  -> gap -> flatten -> dropout(0.2) -> fc: linear(10)
""",
    "unet": """
import "unet.cnn" (DoubleConv, Down, Up)
net Small: [3, H, W] =
  inc: DoubleConv(4) @x1 -> down1: Down(8) @x2 -> down2: Down(16) -> up1: Up(8)[x2]
  -> up2: Up(4)[x1] -> outc: conv(2, 1)
""",
}
"""Networks in the manner of larger ones."""


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_explain(kind: str, engine: str) -> None:
    words = ["compile", "-", "--root", str(ROOT / "examples"), "--engine", engine, *EXPLAIN]
    run = cnndsl(*words, stdin=SMALL[kind])
    found = json.loads(run.out)
    validator("optimizer").validate(found)
    fired = [event for event in found["events"] if event["fired"]]
    assert len(fired) == sum(found["rewrites"].values()) > 0
    for total in ("macs", "kernels"):
        saved = sum(event["saved"][total] for event in fired)
        assert found[total]["before"] - found[total]["after"] == saved
    assert found["macs"]["after"] < found["macs"]["before"] or kind != "densenet"
    assert (found["unfused"] is None) == (engine == "auto")


def test_doctor() -> None:
    run = cnndsl("doctor", "--json")
    found = json.loads(run.out)
    validator("doctor").validate(found)
    assert (run.code, found["problems"]) == (0, [])
    assert found["limits"]["nodes"] == 100_000
    ours = "onnxruntime onnxruntime-winograd onnxruntime-winograd-squares"
    assert (
        list(found["engines"]) == f"torch inductor {ours} openvino openvino-winograd triton".split()
    )
    assert found["engines"]["torch"] is None


@pytest.mark.parametrize(
    ("name", "words", "spoil"),
    [
        ("summary", ["summary", "{resnet}", "--net", "ResNet18"], lambda d: d.pop("totals")),
        ("summary", ["summary", "{resnet}", "--net", "ResNet18"],
         lambda d: d["layers"][3].update(macs=-1)),
        ("ops", ["ops"], lambda d: d["operators"][0].update(parameters=None)),
        ("optimizer", ["compile", "{lenet}", "--explain", "--run", "none"],
         lambda d: d["events"][0].update(line=0)),
        ("doctor", ["doctor"], lambda d: d.update(schema="cnndsl.doctor/2")),
        ("diagnostics", ["check", "{resnet}"], lambda d: d["nets"][0].update(stride=[32])),
    ],
)  # fmt: skip
def test_schemas_refuse_what_is_not_ours(
    name: str, words: list[str], spoil: Callable[[Document], object]
) -> None:
    files = {stem: str(ROOT / "examples" / f"{stem}.cnn") for stem in ("lenet", "resnet")}
    found = document(*(word.format(**files) for word in words), "--json")
    assert validator(name).is_valid(found)
    spoiled = copy.deepcopy(found)
    spoil(spoiled)
    assert not validator(name).is_valid(spoiled)


def test_doctor_tells_of_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnndsl.cli import doctor

    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "lark" else real(name))
    run = cnndsl("doctor")
    assert run.code == 1
    assert "problem   lark is missing" in run.out


def test_doctor_tells_which_engines_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnndsl.engines.found.find_spec", lambda name: None)
    monkeypatch.setenv("CNNDSL_CACHE", "somewhere")
    run = cnndsl("doctor")
    assert run.code == 0  # they are extras
    assert "engines   torch, inductor\n" in run.out
    assert "not onnxruntime: onnxruntime and onnx are not installed: pip install" in run.out
    assert "cache     somewhere, written by engine=auto alone\n" in run.out
