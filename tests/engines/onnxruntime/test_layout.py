"""Forms that keep onnxruntime's blocked layout change no number, and keep it indeed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import cnndsl
from cnndsl.engines.base import Job
from cnndsl.engines.choose import ENGINES
from cnndsl.engines.derived import derived
from cnndsl.engines.onnx.model import onnx_model
from cnndsl.engines.onnxruntime import layout as ort_layout
from cnndsl.engines.onnxruntime.engine import OrtEngine
from cnndsl.engines.onnxruntime.layout import keep_blocks
from cnndsl.passes.flow import Flow

onnxruntime = pytest.importorskip("onnxruntime")
GATE = "gap -> conv(8, 1) -> relu -> conv({c}, 1) -> sigmoid"
TEXT = "net N: [16, 12, 10] = conv({c}, 3) -> (id * ({gate})) -> conv(16, 3) -> relu"

NARROW = "net N: [16, 12, 10] = conv(32, 1) -> conv(32, 3, groups=8) -> conv(16, 1) -> relu"


def job(text: str, batch: int = 2) -> Job:
    net = cnndsl.loads(text).net()
    torch.manual_seed(0)
    return Job(Flow(net.graph), net.compile(optimize=0).state_dict(), ((batch, 16, 12, 10),))


def kinds(given: Job, path: Path, *, keep: bool) -> Counter[str]:
    """The operators that onnxruntime runs."""
    import onnx

    model = onnx_model(given.flow, derived(given), given.sizes, 2)
    if keep:
        keep_blocks(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def text(channels: int, gate: str = GATE) -> str:
    return TEXT.format(c=channels, gate=gate.format(c=channels))


def test_a_network_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others would run: a measure for what ours gains."""
    kept = []
    monkeypatch.setattr(ort_layout, "keep_blocks", kept.append)
    OrtEngine(as_written=True).build(job(text(32)))
    assert not kept
    OrtEngine().build(job(text(32)))
    assert kept


@pytest.mark.parametrize("written", [text(32), NARROW], ids=["gate", "groups"])
def test_what_stays_in_blocks(written: str, tmp_path: Path) -> None:
    given = job(written)
    before, after = (kinds(given, tmp_path / "model.onnx", keep=keep) for keep in (False, True))
    if not before["ReorderOutput"]:
        pytest.skip("onnxruntime has no blocks on this machine")
    if written is NARROW and torch.backends.cpu.get_cpu_capability() != "AVX2":
        pytest.skip("blocks of 8 are those of AVX2")
    assert after["ReorderOutput"] < before["ReorderOutput"]
    assert after["ReorderInput"] < before["ReorderInput"]


@pytest.mark.parametrize(
    ("written", "spread"),
    [
        (text(32), True),
        (text(20), False),  # no whole blocks
        (text(32, "conv({c}, 3) -> sigmoid"), False),  # one factor for each pixel
        ("net N: [16, 12, 10] = gap -> sigmoid -> (w: scale)", False),  # no map
        ("net N: [16, 12, 10] = (id * (gap -> sigmoid -> emit gate: id))", True),
        (text(32, "gap -> conv({c}, 1) -> relu"), False),  # not blocked itself, perhaps
        ("net N: [16, 12, 10] = gap -> conv(32, 1) -> (id * (conv(32, 1) -> sigmoid))", False),
    ],
)
def test_same_numbers(written: str, spread: bool) -> None:
    given = job(written)
    model = onnx_model(given.flow, derived(given), given.sizes, 2)
    keep_blocks(model)
    assert any(node.op_type == "Resize" for node in model.graph.node) is spread
    assert_same(given, written)


def assert_same(given: Job, written: str) -> None:
    x = torch.randn(given.shapes[0])
    plain = cnndsl.loads(written).net().compile(optimize=0).eval()
    plain.load_state_dict(dict(given.parameters))
    with torch.no_grad():
        true = plain(x)
    found = ENGINES["onnxruntime"].build(given)(x)
    true = [true] if isinstance(true, torch.Tensor) else [*true]
    torch.testing.assert_close(list(found), true, rtol=1e-4, atol=1e-5)


HEAD = "conv(32, 3) -> relu -> gap -> flatten -> linear(300)"


@pytest.mark.parametrize(
    ("body", "batch", "convolved"),
    [
        (HEAD, 1, 1),
        (HEAD.replace("300", "300, bias=no"), 1, 1),
        (f"{HEAD} -> relu -> linear(7)", 1, 1),  # the second has no map before it
        ("conv(32, 3) -> relu -> gap -> flatten -> (linear(10) | emit b: linear(7))", 1, 0),
        ("conv(32, 3) -> relu -> gap -> flatten -> emit b: id -> linear(10)", 1, 0),
        (HEAD, 2, 0),  # each would read all weights
        (HEAD.replace("gap", "maxpool(6)"), 1, 0),  # several pixels
        (HEAD.replace("32", "20"), 1, 0),  # no whole blocks
    ],
)
def test_the_flattening_goes_behind(body: str, batch: int, convolved: int) -> None:
    written = f"net N: [16, 12, 10] = {body}"
    given = job(written, batch)
    model = onnx_model(given.flow, derived(given), given.sizes, batch)
    size, linear = model.ByteSize(), count(model, "Gemm")
    keep_blocks(model)
    assert (count(model, "Conv"), count(model, "Gemm")) == (1 + convolved, linear - convolved)
    assert count(model, "Flatten") == 1 and model.ByteSize() < 1.1 * size
    assert_same(given, written)


def count(model: Any, kind: str) -> int:
    return sum(node.op_type == kind for node in model.graph.node)


@pytest.mark.parametrize(
    ("groups", "channels", "packed"),
    [(4, 16, 2), (8, 16, 2), (8, 32, 2), (2, 16, 2), (16, 16, 16), (4, 4, 4), (1, 8, 1)],
)
def test_narrow_groups(
    groups: int, channels: int, packed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = f"net N: [16, 12, 10] = conv({channels}, 3, groups={groups}) -> relu"
    given = job(written)
    for capability in ("AVX2", "AVX512"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda c=capability: c)
        model = onnx_model(given.flow, derived(given), given.sizes, 2)
        keep_blocks(model)
        (node,) = (node for node in model.graph.node if node.op_type == "Conv")
        (found,) = (a.i for a in node.attribute if a.name == "group")
        assert found == (packed if capability == "AVX2" else groups)
        assert_same(given, written)
