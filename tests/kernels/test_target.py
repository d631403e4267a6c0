"""``compile --target`` and ``tune`` on a machine without a GPU."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
import torch

from cnndsl.kernels.aot import Compiled, Facts
from cnndsl.kernels.base import Config, Kernel
from cnndsl.kernels.plan import target
from cnndsl.kernels.plan.planner import plan
from cnndsl.kernels.problem import Problem
from tests.cli.runner import ROOT, cnndsl
from tests.kernels.planning import H100, flow_from

NET = """\
net Small: [8, 16, 16] = conv1: conv(16, 3) -> bn1: bn -> silu -> gap -> flatten -> fc: linear(4)
"""
WORDS = ("--target", "cuda:90", "--dtype", "bfloat16", "--batch", "4")
SCHEMA = json.loads((ROOT / "cnndsl" / "schemas" / "optimizer-1.json").read_text())


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.cnn").write_text(NET)
    return str(tmp_path / "net.cnn")


def test_a_folder_of_kernels(net: str, tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    run = cnndsl("compile", net, *WORDS, "-o", str(folder))
    assert (run.code, run.err) == (0, "")
    listing = json.loads((folder / "kernels.json").read_text())
    names = {path.name for path in folder.iterdir()}
    assert listing["schema"] == "cnndsl.kernels/1" and listing["net"] == "Small"
    assert names == {"kernels.json", *(kernel["file"] for kernel in listing["kernels"])}
    for kernel in listing["kernels"]:
        code = (folder / kernel["file"]).read_bytes()
        assert code[:4] == b"\x7fELF" and len(code) == kernel["bytes"]
        assert kernel["spilled_bytes"] == 0 < kernel["registers"] <= 255
        assert kernel["shared_bytes"] <= 227 * 1024
        assert kernel["problem"] in run.out
    assert any(kernel["problem"].startswith("conv(16, 3") for kernel in listing["kernels"])
    assert (
        sum(choice["kernels"] for choice in listing["plan"]["choices"])
        == (listing["plan"]["kernels"])
    )
    (folder / "000_old.cubin").write_bytes(b"of an earlier run")
    listing["kernels"].append({"file": "000_old.cubin"})
    (folder / "kernels.json").write_text(json.dumps(listing))
    assert cnndsl("compile", net, *WORDS, "-o", str(folder)).code == 0
    assert {path.name for path in folder.iterdir()} == names


def test_the_plan_in_a_report(net: str) -> None:
    words = ("compile", net, *WORDS, "--explain", "--run", "none")
    said, told = cnndsl(*words), cnndsl(*words, "--json")
    assert (said.code, told.code) == (0, 0)
    found = json.loads(told.out)
    jsonschema.validate(found, SCHEMA)
    for choice in found["plan"]["choices"]:
        assert choice["problem"] in said.out and choice["by"] in said.out
    assert "plan for H100 SXM (cuda:90), batch 4, bfloat16" in said.out
    assert "conv1" in said.out and "fold-affine" in said.out


def test_what_does_not_fit_is_not_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known only when it is compiled: the first choice spills, so another one is made."""
    flow = flow_from("[64, 14, 14] = conv(64, 3) -> hardswish")
    first = target.chosen(plan(flow, 256, torch.half, target.Chooser(H100, target.Refused())))
    asked: list[Config] = []

    def compiled(kernel: Kernel, problem: Problem, config: Config, _: int) -> Sequence[Compiled]:
        asked.append(config)
        spills = 8 if len(asked) == 1 else 0
        return [Compiled(Facts(32, spills, 1024, 0, 0, 0), {"cubin": b""})]

    monkeypatch.setattr(target, "compile_problem", compiled)
    cross = target.cross_compile(flow, 256, torch.half, H100)
    assert first and target.chosen(cross.plan) != first
    assert all(one.compiled.facts.spills == 0 for one in cross.built)


def test_tune_needs_a_gpu(net: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    run = cnndsl("tune", net, "--batch", "1", "8")
    assert run.code == 2 and not run.out
    assert run.err == "error: there is no GPU here: `tune` times kernels on one\n"
    assert cnndsl("tune", net, "--batch", "0").code == 2


def test_tune_takes_several_batches(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnndsl.cli import tune

    asked: list[int] = []
    monkeypatch.setattr(tune, "_need_gpu", lambda: None)
    monkeypatch.setattr(tune, "_tune", lambda net, batch, *_: asked.append(batch) or batch < 8)
    run = cnndsl("tune", net, "--batch", "1", "--batch", "4", "8", "32")
    assert (run.code, asked) == (0, [1, 4, 8])
    assert "goes on from here" in run.err
