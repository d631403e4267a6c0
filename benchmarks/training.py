"""Training steps on this CPU beside the layers that torchvision makes, interleaved in one run.

    python -m benchmarks.training [--batch 8] [--size 128] [--rounds 5] [-o FILE.csv]

A step is forward, cross entropy, backward and SGD. Ours is `compile()` in training mode, in the
layouts that it chooses; besides, both run with parameters and inputs channels last. Before anything
is timed, one forward of each must leave the same running statistics, to the bit, if convolutions
get their inputs in the same layouts. Only ratios mean anything.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cnndsl
from benchmarks.networks import RESULTS, ROOT
from cnndsl.backends.torch.training import laid_out
from cnndsl.engines.live.training import Freedom
from cnndsl.engines.timing import interleaved
from tests.references import torchvision_models

NETS = {
    "resnet18": ("resnet", "ResNet18"),
    "resnet50": ("resnet", "ResNet50"),
    "mobilenet_v2": ("mobilenet_v2", "MobileNetV2"),
    "densenet121": ("densenet", "DenseNet121"),
}


def step(model: Any, x: Tensor, labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def run() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return run


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    file, net = NETS[name]
    peer = getattr(torchvision_models(), name)
    state = peer(weights=None).state_dict()
    x = torch.randn(options.batch, 3, options.size, options.size)
    labels = torch.randint(1000, (options.batch,))
    models, runs = {}, {}
    for label in ("ours", "peer", "ours channels_last", "peer channels_last"):
        ours = label.startswith("ours")
        text = ROOT / "examples" / f"{file}.cnn"
        model = cnndsl.compile(text, net) if ours else peer(weights=None)
        model.load_state_dict(state)
        layout = torch.channels_last if label.endswith("last") else torch.contiguous_format
        models[label] = model.train().to(memory_format=layout)
        runs[label] = step(model, x.contiguous(memory_format=layout), labels)
    for layout in ("", " channels_last"):
        same_statistics(models[f"ours{layout}"], models[f"peer{layout}"], x)
    times = interleaved(runs, options.rounds, best_of=1)
    return {
        "net": name,
        "batch": options.batch,
        "size": options.size,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "ratio": ratio(times["ours"], times["peer"]),
        "ratio channels_last": ratio(times["ours channels_last"], times["peer channels_last"]),
        "ours over peer channels_last": ratio(times["ours"], times["peer channels_last"]),
        "ours channels_last over ours": ratio(times["ours channels_last"], times["ours"]),
        **{f"{k} ms": round(1000 * statistics.median(v), 1) for k, v in times.items()},
    }


def same_statistics(ours: Any, peer: Any, x: Tensor) -> None:
    """One forward in training mode, without randomness; AssertionError if a buffer differs."""
    for model in (ours, peer):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    hooks = []
    if ours._live.freedom(ours, [x]) is Freedom.LAYOUTS:
        for part in peer.modules():
            if isinstance(part, torch.nn.Conv2d):
                hooks.append(part.register_forward_pre_hook(_laid_out))
    with torch.no_grad():
        ours(x), peer(x)
    for hook in hooks:
        hook.remove()
    for (key, a), b in zip(ours.named_buffers(), peer.buffers(), strict=True):
        assert torch.equal(a, b), key


def _laid_out(convolution: Any, arguments: Any) -> Any:
    return laid_out(convolution, *arguments)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """How many times as fast as the other, the median over rounds."""
    return round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--nets", nargs="+", choices=sorted(NETS), default=list(NETS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "training.csv")
    options = parser.parse_args()
    rows = []
    for name in options.nets:
        rows.append(compare(name, options))
        print(rows[-1], flush=True)
        with open(options.output, "w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
