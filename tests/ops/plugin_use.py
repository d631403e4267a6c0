"""What a process with the test package does with its operators; prints it as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import cnndsl
from tests.cli.runner import cnndsl as run

TEXT = """\
net Pooled(classes = 10): [3, H, W] =
     stem: conv(8, 3) -> bn: bn -> square(0.5)
  -> t: tiles(2) -> mix: conv(16, 1) -> relu
  -> pool: gem -> flatten -> fc: linear(classes)
"""
WRONG = """\
net A: [3, H, W] =
     conv(8, 3)
  -> tiles(16)
net B: [3, H, W] = tiles(2.5) -> gem
net C: [3, H, W] = gem(power=2) -> squre
net D: [12] = gem
net E: [3, 9, 9] = square(2) -> half
net F: [3, 1, 9] = gem(-1) -> tiles(2)
net G: [3, 1, 9] = tiles(2)
"""


def commands() -> dict[str, Any]:
    """Exit code and output of the command line on both texts."""
    Path("right.cnn").write_text(TEXT, encoding="utf-8")
    Path("wrong.cnn").write_text(WRONG, encoding="utf-8")
    lines = [
        "check right.cnn", "check wrong.cnn --json", "check wrong.cnn", "summary right.cnn",
        "ops", "ops gem", "fmt right.cnn --explicit --diff", "doctor",
    ]  # fmt: skip
    runs = {line: run(*line.split()) for line in lines}
    return {line: (run.code, run.out, run.err) for line, run in runs.items()}


def facts() -> dict[str, Any]:
    """What the API says without a module."""
    net = cnndsl.loads(TEXT).net()
    again = cnndsl.loads(net.to_text()).net()
    return {
        "params": net.params,
        "macs": net.macs(H=32, W=32),
        "min": net.min_size,
        "shapes": net.output_shapes(H=33, W=32),
        "reads back": net.graph.signature() == again.graph.signature(),
        "json": [node["op"] for node in net.to_json()["nodes"]],
    }


def modules() -> dict[str, Any]:
    """Both levels' modules, compared with the network written in PyTorch."""
    torch.manual_seed(0)
    net = cnndsl.loads(TEXT).net()
    plain, fast = net.compile(optimize=0).eval(), net.compile(optimize=1).eval()
    state = plain.state_dict()
    state["bn.running_mean"].normal_()
    state["pool"].fill_(2.5)
    fast.load_state_dict(state)
    x = torch.randn(2, 3, 17, 12)
    with torch.no_grad():
        outputs = [plain(x), fast(x)]
    wanted = _by_hand(state, x)
    plain.train()(x).sum().backward()
    return {
        "state": {key: list(value.shape) for key, value in state.items()},
        "start": net.compile(optimize=0).state_dict()["pool"].tolist(),
        "errors": [(output - wanted).abs().max().item() for output in outputs],
        "size": wanted.abs().max().item(),
        "rewrites": net.explain().to_json()["rewrites"],
        "gradient": plain.get_parameter("pool").grad is not None,
    }


def _by_hand(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    y = F.conv2d(x, w["stem.weight"], padding=1)
    y = F.batch_norm(y, w["bn.running_mean"], w["bn.running_var"], w["bn.weight"], w["bn.bias"])
    y = (0.5 * y * y)[:, :, :16, :12]
    y = torch.stack([y[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], 2).flatten(1, 2)
    y = F.conv2d(y, w["mix.weight"], w["mix.bias"]).clamp(min=1e-6)
    y = y.pow(w["pool"]).mean((2, 3)).pow(1 / w["pool"])
    return F.linear(y, w["fc.weight"], w["fc.bias"])


def main() -> None:
    print(json.dumps({"commands": commands(), "facts": facts(), "modules": modules()}))
