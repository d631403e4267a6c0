"""``export onnx``: what is written, and above all what is not."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

import cnndsl as package
from cnndsl.engines.onnx import ops as onnx_ops
from cnndsl.exporters.onnx import export_onnx, is_ours
from cnndsl.exporters.proof import ExportError
from cnndsl.ops.activation import ReLU
from tests.cli.runner import cnndsl

NET = (
    "net Small: [3, H, W] =\n  conv1: conv(4, 3, stride=2) -> relu -> gap -> flatten -> linear(2)\n"
)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.cnn"
    path.write_text(NET)
    return str(path)


def test_a_model(file: str, tmp_path: Path) -> None:
    state = package.load(file).net().compile().state_dict()
    state["conv1.bias"] = torch.arange(4.0)
    save_file(state, tmp_path / "w.safetensors")
    out = tmp_path / "net.onnx"
    run = cnndsl(
        "export", "onnx", file, "-o", str(out), "--weights", str(tmp_path / "w.safetensors")
    )
    assert (run.code, run.err) == (0, "")
    assert "\nopset 13, 5 nodes, 4 weights\ntakes in [N, 3, H, W]; gives out [N, 2]\n" in run.out
    assert f"onnxruntime {onnxruntime.__version__} on [1, 3, 33, 34], [3, 3, 33, 34], " in run.out
    assert "differ from PyTorch's by at most " in run.out
    assert f"{out.stat().st_size:,} bytes" in run.out
    held = {t.name: t for t in onnx.load(out).graph.initializer}
    assert list(onnx.numpy_helper.to_array(held["conv1.bias"])) == [0, 1, 2, 3]


def test_random_weights_are_those_of_the_seed(file: str, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.onnx" for name in "abc"]
    for out, seed in zip(outs, "778", strict=True):
        assert cnndsl("export", "onnx", file, "-o", str(out), "--seed", seed).code == 0
    first, second, third = (out.read_bytes() for out in outs)
    assert first == second != third


def test_what_is_not_ours_is_kept(file: str, tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    out.write_bytes(b"\x08\x07\x12\x07pytorch")
    words = ["export", "onnx", file, "-o", str(out)]
    run = cnndsl(*words)
    assert run.code == 2 and "--force" in run.err
    assert out.read_bytes() == b"\x08\x07\x12\x07pytorch"
    assert cnndsl(*words, "--force").code == 0
    assert is_ours(str(out))
    assert cnndsl(*words).code == 0  # what we wrote, we replace


def refused(file: str, tmp_path: Path, *words: str) -> str:
    """What is said of an export that is refused; nothing is left behind."""
    before = sorted(path.name for path in tmp_path.iterdir())
    run = cnndsl("export", "onnx", file, "-o", str(tmp_path / "net.onnx"), *words)
    assert run.code == 2, run.out
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert "bug" not in run.err
    return run.err


def test_other_numbers_are_not_written(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(onnx_ops.RULES, ReLU, lambda op, xs, t, w, writer: writer.node("Abs", xs))
    said = refused(file, tmp_path)
    assert "computes `out` differently from PyTorch for [1, 3, 33, 34]: up to" in said


def test_an_operator_without_a_form_is_named(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(onnx_ops.RULES, ReLU)
    assert f"`relu` has no form in ONNX (`1`), {file}:2" in refused(file, tmp_path)


def test_a_model_that_the_checker_refuses(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(onnx_ops.RULES, ReLU, lambda op, xs, t, w, writer: writer.node("Oops", xs))
    assert "error: onnx.checker: " in refused(file, tmp_path)


def test_opsets(file: str, tmp_path: Path) -> None:
    assert "opset 12 is too low, 13 is the lowest" in refused(file, tmp_path, "--opset", "12")
    assert "opset 999 is unknown" in refused(file, tmp_path, "--opset", "999")
    gelu = tmp_path / "gelu.cnn"
    gelu.write_text("net A: [3, 4, 4] = act: gelu\n")
    said = refused(str(gelu), tmp_path, "--opset", "19")
    assert "opset 19 is too low, 20 is the lowest: `act` needs Gelu" in said


def test_libraries_that_are_not_there(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cnndsl.engines.found.find_spec", lambda name: None)
    said = refused(file, tmp_path)
    assert said == "error: onnx and onnxruntime are not installed: pip install 'cnndsl[onnx]'\n"


def test_more_than_a_file_holds() -> None:
    net = package.loads("net Big: [1000000] = linear(1000)").net()
    with pytest.raises(ExportError, match=r"Big has 4,000,004,000 bytes of weights: .* 2 GiB"):
        export_onnx(net)


def test_wrong_words(file: str, tmp_path: Path) -> None:
    assert "call it" in cnndsl("export", "onnx", file, "-o", str(tmp_path / "net.pt2")).err
    assert "Missing option '-o'" in cnndsl("export", "onnx", file).err
    assert "the levels are 0 and 1" in refused(file, tmp_path, "--optimize", "3")
    (tmp_path / "bad.cnn").write_text("net A: [3, H, W] = nothing(3)\n")
    out = str(tmp_path / "x.onnx")
    assert cnndsl("export", "onnx", str(tmp_path / "bad.cnn"), "-o", out).code == 1
    assert not Path(out).exists()
