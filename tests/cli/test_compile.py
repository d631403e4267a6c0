"""``compile``: a module that ran, and a program that others can load."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import cnndsl as package
from cnndsl.backends.torch.export import export
from cnndsl.backends.torch.mark import is_ours
from cnndsl.backends.torch.trial import draw, run
from cnndsl.cli import photograph
from cnndsl.cli.files import Failure
from tests.cli.runner import ROOT, cnndsl

CHINA = str(ROOT / "examples" / "images" / "china.jpg")
NET = """\
net Small(classes = 6): [3, H, W] =
     conv1: conv(4, 3, stride=2) -> bn1: bn -> relu
  -> emit[train] aux: (gap -> flatten -> linear(3)) -> gap -> flatten -> fc: linear(classes)
"""
HEADS = """\
net Heads: [3, H, W] =
  conv1: conv(4, 3, stride=2) -> emit map: conv(2, 1) -> gap -> flatten -> linear(5)
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.cnn"
    path.write_text(NET)
    return str(path)


def timeless(text: str) -> str:
    """Times are what differs between two runs."""
    return re.sub(r"\d[\d.]* m?s\b", "TIME", text)


def test_a_drawn_input(file: str) -> None:
    run = cnndsl("compile", file, "--at", "H=32,W=48", "--batch", "2", "--seed", "5")
    assert (run.code, run.err) == (0, "")
    assert timeless(run.out) == (
        "Small: input [3, 32, 48] · output [6] · stride 2 · 146 parameters + 15 parameters in "
        "training heads · 41.50 KMAC at 32x48\n"
        "built in TIME after TIME of importing torch; random weights, seed 5\n"
        "ran on numbers drawn with seed 5, [2, 3, 32, 48]\n"
        "first run TIME, then TIME (median of 5), computed by the torch engine\n"
        "out: [2, 6], all finite\n"
        "the weights are random: only shapes and times mean anything\n"
    )


def test_a_photograph(file: str) -> None:
    run = cnndsl("compile", file, "--run", CHINA, "--set", "classes=7", "--batch", "2")
    assert run.code == 0
    assert "china.jpg, 640x427, fitted to [2, 3, 224, 224] and normalised as ImageNet" in run.out
    assert "out: [2, 7], all finite" in run.out


def test_several_outputs(tmp_path: Path) -> None:
    path = tmp_path / "net.cnn"
    path.write_text(HEADS)
    run = cnndsl("compile", str(path), "--at", "H=9,W=9")
    assert "\nout: [1, 5], all finite\nmap: [1, 2, 5, 5], all finite\n" in run.out


def test_numbers_that_are_not_finite_are_told(tmp_path: Path) -> None:
    path = tmp_path / "net.cnn"
    path.write_text("net A: [3, 4, 4] = conv1: conv(2, 1) -> conv2: conv(1, 1, bias=no)\n")
    state = package.load(path).net().compile().state_dict()
    weights = str(tmp_path / "w.safetensors")
    for key, value in (("conv1.weight", 0.0), ("conv1.bias", 1e20), ("conv2.weight", 1e20)):
        state[key].fill_(value)
    save_file(state, weights)
    run = cnndsl("compile", str(path), "--weights", weights)
    assert re.search(r"out: \[1, 1, 4, 4\], 16 of 16 numbers are not finite", run.out)
    state["conv1.bias"].fill_(float("inf"))
    save_file(state, weights)
    run = cnndsl("compile", str(path), "--weights", weights)
    assert run.code == 2 and run.err.startswith(f"error: {weights}: ") and "bug" not in run.err


# --- levels and engines -----------------------------------------------------------------------


def test_who_computed_is_told(file: str) -> None:
    small = ["compile", file, "--at", "H=9,W=9"]
    assert "computed by the torch engine\n" in cnndsl(*small, "--engine", "torch").out
    assert "computed by the onnxruntime engine\n" in cnndsl(*small, "--engine", "onnxruntime").out
    assert "computed by the plain module\n" in cnndsl(*small, "--optimize", "0").out


def test_why_the_plain_module_computed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.cnn"
    path.write_text("net A: [3, 4, 4] = conv1: conv(2, 1) -> bn1: bn\n")
    state = package.load(path).net().compile().state_dict()
    for key in ("conv1.weight", "bn1.weight"):  # their product is folded into the convolution
        state[key].fill_(1e30)
    save_file(state, tmp_path / "w.safetensors")
    run = cnndsl("compile", str(path), "--weights", str(tmp_path / "w.safetensors"))
    assert "by the plain module: `conv1`: weight is not finite in float32\n" in run.out


def test_the_level_and_the_dtype_arrive(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    real = package.Compilation.compile

    def spy(net: package.Compilation, **given: object) -> object:
        seen.append(given)
        return real(net, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(package.Compilation, "compile", spy)
    cnndsl("compile", file, "--at", "H=9,W=9")
    cnndsl("compile", file, "--at", "H=9,W=9", "--dtype", "bfloat16", "--run", "none")
    cnndsl("compile", file, "--at", "H=9,W=9", "--optimize", "0", "--run", "none")
    assert seen == [
        {"optimize": 1, "engine": "torch", "dtype": None},
        {"optimize": 1, "engine": "torch", "dtype": torch.bfloat16},
        {"optimize": 0, "engine": "torch", "dtype": None},
    ]


@pytest.mark.parametrize("more", [[], ["--explain", "--run", "none"]], ids=["run", "explain"])
def test_an_engine_that_is_not_installed(
    file: str, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnndsl.engines.found.find_spec", lambda name: None)
    run = cnndsl("compile", file, "--engine", "openvino", *more)
    assert run.code == 2
    assert run.err == (
        "error: --engine openvino: openvino and onnx are not installed: "
        "pip install 'cnndsl[openvino]'\n"
    )


def test_every_engine_stands_in_the_help() -> None:
    from cnndsl.engines.choose import AUTO, ENGINES

    text = cnndsl("compile", "--help").out
    assert all(name in text for name in (AUTO, *ENGINES))


_WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from cnndsl.cli import app
app.main(sys.argv[1:], prog_name="cnndsl")
"""


def test_explaining_needs_no_torch(file: str) -> None:
    words = [sys.executable, "-c", _WITHOUT_TORCH, "compile", file, "--explain", "--run", "none"]
    run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stderr) == (0, "")
    assert "one kernel: conv -> relu" in run.stdout
    alone = subprocess.run(words[:-2], capture_output=True, text=True, cwd=ROOT)
    assert alone.returncode == 1
    assert "torch" in alone.stderr  # told after the report
    assert "one kernel: conv -> relu" in alone.stdout


def test_explaining_and_running(file: str) -> None:
    run = cnndsl("compile", file, "--explain", "--json", "--at", "H=9,W=9")
    assert run.code == 0
    assert json.loads(run.out)["net"] == "Small"
    assert "computed by the torch engine" in run.err


# --- weights ----------------------------------------------------------------------------------


def weights(file: str, path: Path, **changed: torch.Tensor | None) -> str:
    """A .safetensors file of the net's own keys, some replaced or (None) left out."""
    state = package.load(file).net().compile().state_dict()
    state |= {key.replace("__", "."): value for key, value in changed.items()}
    kept = {key: value.contiguous() for key, value in state.items() if value is not None}
    save_file(kept, path)
    return str(path)


def test_given_weights_are_used_and_ranked(file: str, tmp_path: Path) -> None:
    bias = torch.tensor([0.0, 5.0, 1.0, 4.0, 2.0, 3.0])
    zero = torch.zeros(6, 4)
    path = weights(file, tmp_path / "w.safetensors", fc__weight=zero, fc__bias=bias)
    run = cnndsl("compile", file, "--weights", path, "--run", CHINA)
    assert run.code == 0, run.err
    assert "highest: 1 (5.000), 3 (4.000), 5 (3.000), 4 (2.000), 2 (1.000)\n" in run.out
    assert "random" not in run.out


def test_heads_of_training_may_be_absent(file: str, tmp_path: Path) -> None:
    path = weights(
        file, tmp_path / "w.safetensors", aux__2__weight=None, aux__2__bias=None,
        bn1__num_batches_tracked=None, more=torch.zeros(1),
    )  # fmt: skip
    run = cnndsl("compile", file, "--weights", path)
    assert run.code == 0, run.err
    assert "7 tensors from" in run.out
    assert "1 of it unused" in run.out


def test_weights_that_do_not_fit(file: str, tmp_path: Path) -> None:
    path = weights(
        file, tmp_path / "w.safetensors", conv1__weight=None, fc__weight=torch.zeros(10, 4)
    )
    run = cnndsl("compile", file, "--weights", path)
    assert run.code == 2
    assert "w.safetensors does not fit Small:\n  8 of 10 tensors fit\n" in run.err
    assert "\n    fc.weight  [10, 4] → [6, 4]\n" in run.err
    assert "\n  1 tensor missing, of 1 module:\n    conv1: weight\n" in run.err


def test_weights_under_other_names_are_never_taken_in_silence(file: str, tmp_path: Path) -> None:
    state = package.load(file).net().compile().state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "w.pth")
    run = cnndsl("compile", file, "--weights", str(tmp_path / "w.pth"))
    assert run.code == 0, run.err
    assert "10 tensors from" in run.out
    assert "\n    10 by structure, order and shapes:\n      module.** -> **\n" in run.out


def test_weights_that_are_none(file: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x80\x04cbuiltins\nexit\n.")  # a pickle that would end the process
    assert cnndsl("compile", file, "--weights", str(path)).code == 2
    assert "no such file" in cnndsl("compile", file, "--weights", str(path) + "x").err


# --- photographs ------------------------------------------------------------------------------


def test_a_photograph_is_cut_around_its_middle(tmp_path: Path) -> None:
    path = tmp_path / "wide.png"
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(path)
    found = photograph.read_photograph(str(path), 3, 10, 10)
    assert found.size == (30, 10)
    assert found.values.shape == (3, 10, 10)
    white = [(1 - mean) / deviation for mean, deviation in
             zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]  # fmt: skip
    assert np.allclose(found.values.mean(axis=(1, 2)), white, atol=1e-5)
    assert photograph.read_photograph(str(path), 1, 5, 5).values.shape == (1, 5, 5)


def test_photographs_of_strangers(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, cut = tmp_path / "text.jpg", tmp_path / "cut.jpg"
    text.write_text("no photograph")
    cut.write_bytes(Path(CHINA).read_bytes()[:5000])
    for path in (text, cut, tmp_path / "nowhere.jpg", tmp_path):
        run = cnndsl("compile", file, "--run", str(path))
        assert run.code == 2, path
        assert "bug" not in run.err
    for most in (100, 640 * 427 - 1):  # Pillow only warns of the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(Failure, match="too many pixels"):
            photograph.read_photograph(CHINA, 3, 8, 8)
    with pytest.raises(Failure, match="4 channels"):
        photograph.read_photograph(CHINA, 4, 8, 8)


def test_nets_that_take_no_photograph(tmp_path: Path) -> None:
    path = tmp_path / "net.cnn"
    path.write_text("net A: [5] = linear(2)\n")
    assert "takes a vector" in cnndsl("compile", str(path), "--run", CHINA).err


# --- programs ---------------------------------------------------------------------------------

_LOADED = """
import sys, torch
program = torch.export.load(sys.argv[1])
result = program.module()(torch.ones(3, 3, 9, 9))
shapes = {k: list(v.shape) for k, v in result.items()} if isinstance(result, dict) else {}
print(sorted(program.state_dict), shapes, "cnndsl" in sys.modules)
"""


def test_an_exported_program_runs_without_cnndsl(tmp_path: Path) -> None:
    path, out = tmp_path / "net.cnn", tmp_path / "net.pt2"
    path.write_text(HEADS)
    run = cnndsl("compile", str(path), "--at", "H=9,W=9", "-o", str(out), "--run", "none")
    assert run.code == 0, run.err
    assert f"{out.stat().st_size:,} bytes" in run.out
    assert "takes [batch, 3, 9, 9]" in run.out
    assert "ran on" not in run.out
    loaded = subprocess.run(
        [sys.executable, "-c", _LOADED, str(out)], capture_output=True, text=True, cwd=tmp_path
    )
    assert loaded.stdout == (
        "['4.bias', '4.weight', 'conv1.bias', 'conv1.weight', 'map.bias', 'map.weight'] "
        "{'out': [3, 5], 'map': [3, 2, 5, 5]} False\n"
    ), loaded.stderr


def test_an_exported_program_computes_the_same(file: str, tmp_path: Path) -> None:
    out = tmp_path / "net.pt2"
    assert cnndsl("compile", file, "--at", "H=9,W=9", "--seed", "3", "-o", str(out)).code == 0
    torch.manual_seed(3)
    network = package.load(file).net(at={"H": 9, "W": 9}).compile(optimize=0).eval()
    x = torch.randn(5, 3, 9, 9)
    with torch.no_grad():
        loaded = torch.export.load(out).module()(x)
        assert torch.equal(loaded, network(x).out)


@pytest.mark.parametrize("training", [True, False])
def test_a_trial_and_an_export_leave_the_mode_as_it_was(file: str, training: bool) -> None:
    network = package.load(file).net().compile(optimize=0).train(training)
    inputs = draw({"in": (2, 3, 9, 9)}, 0)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    exported = export(network, inputs).module()
    outputs = run(network, inputs).outputs
    assert network.training == training
    assert list(outputs) == ["out"]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with torch.no_grad():
        assert torch.equal(exported(inputs["in"]), outputs["out"])


def test_what_is_not_ours_is_kept(file: str, tmp_path: Path) -> None:
    out = tmp_path / "net.pt2"
    words = ["compile", file, "--at", "H=9,W=9", "--run", "none", "-o", str(out)]
    torch.save({"mine": torch.ones(1)}, out)
    before = out.read_bytes()
    run = cnndsl(*words)
    assert run.code == 2
    assert "--force" in run.err
    assert out.read_bytes() == before
    assert not is_ours(str(out))
    assert cnndsl(*words, "--force").code == 0
    assert is_ours(str(out))
    assert cnndsl(*words).code == 0  # what we wrote, we replace


def test_a_failed_write_keeps_the_old_program(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    out = tmp_path / "net.pt2"
    out.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    run = cnndsl("compile", file, "--at", "H=9,W=9", "--run", "none", "-o", str(out), "--force")
    assert run.code == 2
    assert "no space left" in run.err
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.cnn", "net.pt2"]


def test_a_program_on_stdout(file: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cnndsl", "compile", file, "--at", "H=9,W=9", "-o", "-"]
    run = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    (tmp_path / "net.pt2").write_bytes(run.stdout)
    assert is_ours(str(tmp_path / "net.pt2"))
    assert b"wrote -" in run.stderr


def test_memory_that_is_not_there(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnndsl.backends.torch import trial

    def fail(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(trial, "run", fail)
    run = cnndsl("compile", file)
    assert run.code == 2
    assert "not enough memory" in run.err
    assert "bug" not in run.err
    run = cnndsl("compile", file, "--at", "H=60000,W=60000")
    assert "too large to be run" in run.err
