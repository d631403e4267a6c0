"""Fused steps as operators of ours, or as PyTorch's: by choice, and with the same numbers."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl as package
import cnndsl.kernels.library  # registers the operator
from cnndsl.exporters import aoti, pt2
from cnndsl.exporters.kernels import KERNELS, count
from cnndsl.exporters.proof import ExportError, Judge
from tests.cli.runner import cnndsl
from tests.exporters.drawn import network_of

ROOT = Path(__file__).parents[3]
NET = """\
net Small: [3, H, W] =
     conv1: conv(4, 3, stride=2) -> bn1: bn -> relu -> maxpool(3, stride=2, ceil=yes)
  -> emit[train] aux: (gap -> linear(3)) -> emit map: (id + conv: conv(4, 3))
  -> gap -> flatten -> fc: linear(5)
"""
_WITH_CNNDSL = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
try:
    torch.export.load(sys.argv[2])
except RuntimeError:
    print("not without the operator")
import cnndsl.kernels.library
program = torch.export.load(sys.argv[2]).module()
inputs, expected = torch.load(sys.argv[3])
for x, wanted in zip(inputs, expected):
    with torch.no_grad():
        found = program(x)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
print("same")
"""
_ALONE = """
import sys
sys.modules["cnndsl"] = None
import torch
inputs, expected = torch.load(sys.argv[2])
with torch.no_grad():
    found = torch._inductor.aoti_load_package(sys.argv[1])(*inputs)
for name, value in expected.items():
    torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
print("same")
"""


def outputs(network: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found = network(x)
    return {"out": found.out, "map": found.map}


def run(program: str, folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *words], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_of_kernels_runs_where_cnndsl_is(tmp_path: Path) -> None:
    file, out = tmp_path / "net.cnn", tmp_path / "net.pt2"
    file.write_text(NET)
    done = cnndsl("export", "pt2", str(file), "-o", str(out), "--kernels", "triton")
    assert done.code == 0, done.err
    assert re.search(
        r"\ntakes \[batch, 3, H, W\]\n"
        r"\d+ steps as cnndsl::chain: `import cnndsl.kernels.library` before it is loaded\n"
        r"on a GPU these are Triton kernels; the proof ran on the CPU, where they are PyTorch's\n"
        r"torch.export on \[1, 3, 33, 34\], \[3, 3, 33, 34\], \[1, 3, 47, 48\], \[3, ",
        done.out,
    )
    torch.manual_seed(0)
    network = package.load(file).net().compile(optimize=0).eval()  # as the command draws it
    inputs = [torch.randn(shape) for shape in [(1, 3, 5, 3), (4, 3, 40, 61)]]
    torch.save((inputs, [outputs(network, x) for x in inputs]), tmp_path / "data.pt")
    said = run(_WITH_CNNDSL, tmp_path, str(ROOT), str(out), str(tmp_path / "data.pt"))
    assert said == "not without the operator\nsame\n"


@pytest.mark.parametrize("kernels", KERNELS)
def test_operators_are_there_by_choice(kernels: str) -> None:
    """Rewritten first, sizes fixed by the text."""
    net = package.loads(NET.replace("H, W", "20, 21")).net()
    network = network_of(net)
    exported = pt2.export_pt2(net, network, optimize=1, kernels=kernels)
    program = torch.export.load(io.BytesIO(exported.data))
    found = count(program)
    assert (found >= 3) if kernels == "triton" else (found == 0)  # both convolutions, and fc
    said = [note for note in exported.notes if note.startswith(f"{found} steps as cnndsl::chain")]
    assert len(said) == (kernels == "triton")
    (x,) = Judge(net, network).inputs({}, 5)
    results = program.module()(x)
    for name, value in outputs(network, x).items():
        torch.testing.assert_close(results[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("optimize", "steps"), [(0, 5), (1, 3)])
def test_steps_are_fused_as_asked(optimize: int, steps: int) -> None:
    """With their norms and activations, which are steps of their own only while not rewritten."""
    text = """net A: [3, 20, 20] =
         conv(4, 3) -> bn -> relu -> conv(4, 3) -> bn -> relu -> gap -> linear(2)"""
    exported = pt2.export_pt2(package.loads(text).net(), optimize=optimize, kernels="triton")
    program = torch.export.load(io.BytesIO(exported.data))
    assert count(program) == steps


def test_sizes_are_free_where_inner_ones_may_be_1() -> None:
    """PyTorch asks which of them are, of tensors that are channels last."""
    text = """net A: [3, H, W] =
         conv(4, 3, stride=2) -> relu -> maxpool(3, stride=2, padding=1)
      -> (id + c: (conv(4, 3) -> relu -> conv(4, 3))) -> relu -> conv(8, 3, stride=2) -> gap"""
    exported = pt2.export_pt2(package.loads(text).net(), kernels="triton")
    assert exported.notes[0] == "takes [batch, 3, H, W]"


def test_a_net_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnndsl.kernels.module.taking", lambda problem, capability: [])
    exported = pt2.export_pt2(package.loads("net A: [3, 4, 4] = relu").net(), kernels="triton")
    assert "no step fits a Triton kernel: all are PyTorch's own operators" in exported.notes


@pytest.mark.slow
def test_a_package_of_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a GPU, for one sample of one size; but on the CPU."""
    monkeypatch.setattr(aoti, "GPU", "cpu")
    monkeypatch.setattr(aoti, "_has_gpu", lambda: True)
    net = package.loads(NET).net()
    network = network_of(net)
    exported = aoti.export_aoti(net, network, kernels="triton")
    assert exported.notes[:3] == (
        "takes [1, 3, 224, 224]",
        "H is fixed at 224: kernels are compiled for one size",
        "W is fixed at 224: kernels are compiled for one size",
    )
    assert exported.notes[3].endswith("steps as Triton kernels, compiled for the GPU that is here")
    assert exported.proof.shapes == ("[1, 3, 224, 224]",)
    (tmp_path / "net.pt2").write_bytes(exported.data)
    x = torch.randn(1, 3, 224, 224)
    torch.save(([x], outputs(network, x)), tmp_path / "data.pt")
    assert run(_ALONE, tmp_path, "net.pt2", "data.pt") == "same\n"


# --- refusals -----------------------------------------------------------------------------------


def refused(folder: Path, form: str, kernels: str = "triton") -> str:
    file, out = folder / "net.cnn", folder / "net.pt2"
    file.write_text(NET)
    done = cnndsl("export", form, str(file), "-o", str(out), "--kernels", kernels)
    assert done.code == 2 and not out.exists()
    return done.err


def test_compiled_kernels_want_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert refused(tmp_path, "aoti") == (
        "error: AOTInductor compiles Triton kernels for the GPU that is there, and there is none "
        "here; `export pt2 --kernels triton` needs none\n"
    )


@pytest.mark.parametrize("form", ["pt2", "aoti"])
def test_triton_is_missing(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnndsl.engines.triton_engine.find_spec", lambda name: None)
    assert "triton is not installed: pip install triton" in refused(tmp_path, form)


def test_other_kernels_are_unknown(tmp_path: Path) -> None:
    assert "'cuda' is not one of 'plain', 'triton'" in refused(tmp_path, "pt2", "cuda")
    net = package.loads(NET).net()
    for export in (pt2.export_pt2, aoti.export_aoti):
        with pytest.raises(ValueError, match="kernels='cuda': there are plain, triton"):
            export(net, kernels="cuda")


def test_weights_that_are_not_finite() -> None:
    """Kernels get weights that were computed once; what is not finite is not folded."""
    net = package.loads(NET).net()
    network = network_of(net)
    network.fc.bias.data[0] = float("nan")
    with pytest.raises(ExportError, match="nothing was written"):
        pt2.export_pt2(net, network, kernels="triton")
