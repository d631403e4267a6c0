"""What the commands that export weights hand on; the exports themselves have tests of their own."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl as package
from cnndsl.exporters.proof import Exported, ExportError, Proof
from tests.cli.runner import cnndsl

NET = "net Small: [3, H, W] = conv1: conv(4, 3) -> bn1: bn -> relu -> gap\n"
KINDS = {"onnx": ("onnx", ".onnx"), "pt2": ("pt2", ".pt2"), "aoti": ("aoti", ".pt2")}


class Taken:
    """Stands for an export, and keeps what it was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, torch.Tensor], dict[str, Any]]] = []

    def __call__(self, net: Any, network: Any, **options: Any) -> Exported:
        self.calls.append((network.state_dict(), options))
        return Exported(b"data", ("a note",), Proof("nothing", 0.0, 0.0, ()))


@pytest.fixture
def taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Taken:
    monkeypatch.chdir(tmp_path)
    found = Taken()
    for name, _ in KINDS.values():
        home = import_module(f"cnndsl.exporters.{name}")
        monkeypatch.setattr(home, f"export_{name}", found)
        if hasattr(home, "refuse"):
            monkeypatch.setattr(home, "refuse", lambda net, *_: None)
    Path("net.cnn").write_text(NET)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_options_reach_the_export(kind: str, taken: Taken) -> None:
    out = f"out{KINDS[kind][1]}"
    run = cnndsl("export", kind, "net.cnn", "-o", out)
    assert (run.code, run.err) == (0, "") and Path(out).read_bytes() == b"data"
    assert "\na note\nnothing on " in run.out and run.out.endswith(f"\nwrote {out}, 4 bytes\n")
    usual = int(kind == "aoti")
    more = ["--opset", "17"] if kind == "onnx" else ["--kernels", "triton"]
    words = ["--optimize", str(1 - usual), "--seed", "7", "--force", *more]
    assert cnndsl("export", kind, "net.cnn", "-o", out, *words).code == 0
    (first, plain), (second, other) = taken.calls
    assert (plain["optimize"], other["optimize"]) == (usual, 1 - usual)
    assert other.get("opset") == (17 if kind == "onnx" else None)
    kernels = (plain.get("kernels"), other.get("kernels"))
    assert kernels == ((None, None) if kind == "onnx" else ("plain", "triton"))
    assert not torch.equal(first["conv1.weight"], second["conv1.weight"])


@pytest.mark.parametrize("words", [["w.safetensors"], ["net.cnn", "--weights", "w.safetensors"]])
def test_trained_weights_reach_the_export(words: list[str], taken: Taken) -> None:
    net = package.loads(NET).net()
    torch.manual_seed(9)
    module = net.compile(optimize=0)
    net.save("w.safetensors", module)
    run = cnndsl("export", "onnx", *words, "-o", "out.onnx")
    assert run.code == 0 and "6 tensors from w.safetensors\n" in run.out
    ((found, _),) = taken.calls
    assert all(torch.equal(found[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("kind", ["onnx", "aoti"])
def test_what_is_missing_is_told_before_the_work(
    kind: str, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(net: Any, *_: Any) -> None:
        raise ExportError("there is no tool")

    monkeypatch.setattr(import_module(f"cnndsl.exporters.{kind}"), "refuse", refuse)
    run = cnndsl("export", kind, "net.cnn", "-o", f"out{KINDS[kind][1]}")
    assert (run.code, run.err) == (2, "error: there is no tool\n")
    assert not taken.calls and "random weights" not in run.out


def test_a_seed_is_of_random_weights_alone(tmp_path: Path) -> None:
    file, weights = tmp_path / "net.cnn", tmp_path / "net.safetensors"
    file.write_text("net A: [3, H, W] = conv(4, 3)\n")
    net = package.load(file).net()
    net.save(weights, net.compile(optimize=0))
    words = ["export", "onnx", str(file), "-o", str(tmp_path / "net.onnx"), "--seed", "3"]
    for given in ([*words, "--weights", str(weights)], [*words[:2], str(weights), *words[3:]]):
        run = cnndsl(*given)
        assert run.code == 2
        assert "--seed is of random weights, and these come from" in run.err
    assert not (tmp_path / "net.onnx").exists()
