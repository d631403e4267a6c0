"""``torch.export`` programs: their sizes, their numbers, and that they need no cnndsl."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl as package
from cnndsl.backends.torch.export import export
from cnndsl.backends.torch.mark import is_ours
from cnndsl.exporters import aoti, pt2
from cnndsl.exporters.kernels import KERNELS
from cnndsl.exporters.proof import ExportError, Judge
from cnndsl.ops.congruence import Valid
from tests.cli.runner import cnndsl
from tests.exporters.drawn import network_of
from tests.networks import random_network

NET = """\
net Small: [3, H, W] =
     conv1: conv(4, 3, stride=2) -> bn1: bn -> relu -> maxpool(3, stride=2, ceil=yes)
  -> emit[train] aux: (gap -> flatten -> linear(3)) -> emit map: conv(2, 1)
  -> gap -> flatten -> fc: linear(5)
"""
_ALONE = """
import sys
sys.modules["cnndsl"] = None
import torch
if sys.argv[1] == "aoti":
    run = torch._inductor.aoti_load_package(sys.argv[2])
else:
    program = torch.export.load(sys.argv[2])
    print(sorted(program.state_dict))
    run = program.module()
inputs, expected = torch.load(sys.argv[3])
for x, wanted in zip(inputs, expected):
    with torch.no_grad():
        found = run(x)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)
print("same", [name for name in sys.modules if name.startswith("cnndsl.")])
"""
HEADS = """\
net Heads: [3, H, W] =
  x: conv(3, 3) -> emit[train] a: (s: scale -> y: conv(3, 1) -> z: conv(3, 1) -> again x)
  -> again a.y -> again x
"""


def loaded(data: Any) -> Any:
    return torch.export.load(io.BytesIO(data)).module()


def run_alone(kind: str, file: Path, out: Path, folder: Path) -> str:
    """What a process says that has no cnndsl, of sizes and batches the export has not seen."""
    torch.manual_seed(0)
    network = package.load(file).net().compile(optimize=0).eval()  # as the command draws it
    inputs = [torch.randn(shape) for shape in [(1, 3, 5, 3), (4, 3, 40, 61)]]
    with torch.no_grad():
        results = [network(x) for x in inputs]
    torch.save((inputs, [{"out": r.out, "map": r.map} for r in results]), folder / "data.pt")
    words = [sys.executable, "-I", "-c", _ALONE, kind, str(out), str(folder / "data.pt")]
    run = subprocess.run(words, capture_output=True, text=True, cwd=folder)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_program_runs_where_cnndsl_is_not(tmp_path: Path) -> None:
    file, out = tmp_path / "net.cnn", tmp_path / "net.pt2"
    file.write_text(NET)
    run = cnndsl("export", "pt2", str(file), "-o", str(out))
    assert run.code == 0, run.err
    assert "\ntakes [batch, 3, H, W]\ntorch.export on [1, 3, 33, 34], " in run.out
    assert is_ours(str(out))
    said = run_alone("pt2", file, out, tmp_path)
    assert said.startswith("['bn1.bias', 'bn1.num_batches_tracked', 'bn1.running_mean',")
    assert said.endswith("same []\n")


@pytest.mark.slow
def test_a_package_runs_where_cnndsl_is_not(tmp_path: Path) -> None:
    file, out = tmp_path / "net.cnn", tmp_path / "net.pt2"
    file.write_text(NET)
    run = cnndsl("export", "aoti", str(file), "-o", str(out))
    assert run.code == 0, run.err
    assert "\ntakes [batch, 3, H, W]\nAOTInductor on [1, 3, 33, 34], " in run.out
    assert is_ours(str(out))
    assert run_alone("aoti", file, out, tmp_path) == "same []\n"


def test_a_package_gets_its_inputs_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without values stands for a GPU, and nothing is compiled."""
    seen: list[str] = []

    def compiled(program: Any, package_path: str) -> None:
        seen.extend(tensor.device.type for tensor in program.state_dict.values())
        with zipfile.ZipFile(package_path, "w") as archive:
            archive.writestr("net/version", "1")

    def package_run(*inputs: torch.Tensor) -> torch.Tensor:
        seen.extend(x.device.type for x in inputs)
        return torch.zeros(1)

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compiled)
    monkeypatch.setattr("torch._inductor.aoti_load_package", lambda path: package_run)
    network = network_of(package.loads("net A: [3, 8, 8] = linear(2)").net())
    x = torch.zeros(2, 3, 8, 8)
    run = aoti._loaded(export(network, {"in": x}), tmp_path / "net.pt2", {}, "meta")
    assert [y.device.type for y in run(x)] == ["cpu"] and seen == ["meta"] * 3
    assert is_ours(str(tmp_path / "net.pt2"))


def test_one_sample_is_judged_by_one_sample() -> None:
    net = package.loads(NET).net()
    plan = pt2.Plan(optimize=1, batch=1)
    load = lambda traced: pt2.by_output(traced.module())  # noqa: E731
    program, proof = pt2.proven(net, network_of(net), plan, load, "torch.export")
    assert proof.shapes == ("[1, 3, 224, 224]",)
    assert program.notes[0] == "takes [1, 3, 224, 224]"


# --- sizes --------------------------------------------------------------------------------------

FREE = {
    "everything that asks for sizes": (
        "[4, H, W] = conv(4, 3, stride=2) -> channel_shuffle(2) -> layer_norm -> maxpool(2, "
        "ceil=yes) -> (id + conv(4, 3)) -> avgpool(3, stride=2, padding=1, ceil=yes) "
        "-> upsample(2, mode=bilinear) -> adaptive_avgpool(2)"
    ),
    "divisible": "[3, H, W] = (maxpool(4) -> conv(3, 3) -> upsample(4) + id)",
    "a remainder": "[3, H, W] = conv(2, 3, stride=3) where H % 3 == 2",
    "two inputs of one size": "[3, H, W] a, [2, H, W] b = (a | b) -> conv(2, 3)",
}


@pytest.mark.parametrize("name", FREE)
def test_sizes_are_as_free_as_the_text_says(name: str) -> None:
    net = package.loads(f"net Net: {FREE[name]}").net()
    assert net.ok, net.diagnostics
    network = network_of(net)
    exported = pt2.export_pt2(net, network)
    assert len(exported.notes) == 1
    program = pt2.by_output(loaded(exported.data))
    smallest = {s: net.facts.allowed(s).next() for s in net.facts.symbols}
    for sizes in (smallest, {s: net.facts.allowed(s).next(v + 1) for s, v in smallest.items()}):
        inputs = Judge(net, network).inputs(sizes, 1)
        with torch.no_grad():
            torch.testing.assert_close(program(*inputs)[0], network(*inputs), rtol=1e-4, atol=1e-4)
    if net.facts.allowed("H").modulus > 1:
        wrong = [torch.randn(1, 3, 13, 16)]
        with pytest.raises(Exception, match=r"size|of the form"):
            program(*wrong)


def test_sizes_that_cannot_be_stated_are_fixed() -> None:
    net = package.loads("net Net: [3, H, W] = conv(2, 3)").net()
    net.facts.restrict(Valid("H", 4, (0, 1)))  # as a join of unlike sizes may ask
    exported = pt2.export_pt2(net)
    assert exported.notes == (
        "takes [batch, 3, 224, W]",
        "H is fixed at 224: torch.export cannot state H % 4 in {0, 1}",
    )
    assert loaded(exported.data)(torch.randn(3, 3, 224, 5)).shape == (3, 2, 224, 5)


def test_what_cannot_be_traced_for_all_sizes_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnndsl.engines.traceable._FORMS", ())
    net = package.loads("net Net: [3, H, W] = maxpool(3, stride=2, ceil=yes)").net()
    exported = pt2.export_pt2(net)
    assert exported.notes[:2] == (
        "takes [batch, 3, 224, 224]",
        "H is fixed at 224: torch.export cannot trace it for every size",
    )
    assert loaded(exported.data)(torch.randn(3, 3, 224, 224)).shape == (3, 3, 112, 112)


def test_heads_are_left_out_but_for_what_is_used_again() -> None:
    net = package.loads(HEADS).net()
    assert net.ok, net.diagnostics
    network = network_of(net)
    program = torch.export.load(io.BytesIO(pt2.export_pt2(net, network).data))
    names = {key.rpartition(".")[0] for key in program.state_dict}
    assert names == {"x", "a.y"}  # not a.s, a.z
    assert {"a.s", "a.z.weight"} <= set(network.state_dict())


def test_a_rewritten_program() -> None:
    net = package.loads(NET).net()
    network = network_of(net)
    exported = pt2.export_pt2(net, network, optimize=1)
    program = torch.export.load(io.BytesIO(exported.data))
    assert not any("running_mean" in key for key in program.state_dict)


@pytest.mark.parametrize("seed", range(400, 401))
def test_random_networks(seed: int) -> None:
    net = package.loads(random_network(seed, tiny=True)).net()
    pt2.export_pt2(net, network_of(net, seed), optimize=seed % 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2000, 2100))
def test_many_random_networks(seed: int) -> None:
    net = package.loads(random_network(seed, tiny=True)).net()
    kernels = KERNELS[seed // 2 % 2]
    pt2.export_pt2(net, network_of(net, seed), optimize=seed % 2, kernels=kernels)


# --- refusals -----------------------------------------------------------------------------------


def test_other_numbers_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = tmp_path / "net.cnn", tmp_path / "net.pt2"
    file.write_text("net A: [3, 6, 6] = relu\n")
    real = pt2.by_output
    monkeypatch.setattr(pt2, "by_output", lambda p: lambda *xs: [y + 1e-3 for y in real(p)(*xs)])
    run = cnndsl("export", "pt2", str(file), "-o", str(out))
    assert run.code == 2 and not out.exists()
    assert "torch.export computes `out` differently from PyTorch for [1, 3, 6, 6]: up to" in run.err


def test_a_compiler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = tmp_path / "net.cnn", tmp_path / "net.pt2"
    file.write_text(NET)
    monkeypatch.setattr("shutil.which", lambda name: None)
    run = cnndsl("export", "aoti", str(file), "-o", str(out))
    assert run.code == 2 and not out.exists()
    assert "inductor needs a C++ compiler, and none was found" in run.err
    with pytest.raises(ExportError):
        aoti.export_aoti(package.loads(NET).net())
