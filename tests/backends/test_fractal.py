"""FractalNet in training: columns that are dropped are computed all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnndsl
from tests.backends.ddp import assert_runs_in_a_group

TEXT = """
block Fractal(C, c) =
  if C == 1 then (conv: conv(c, 1) -> bn: bn)
  else join(first: Fractal(C-1, c) -> second: Fractal(C-1, c), short: Fractal(1, c))

net Small(share = 0.5): [3, H, W] =
  with join(drop=0.4, share=share):
    a: Fractal(3, 4) -> droppath(0.1, mode=network) -> b: Fractal(2, 4)
"""


def build(**parameters: Any) -> Any:
    torch.manual_seed(0)
    return cnndsl.loads(TEXT).net(**parameters).compile(optimize=0).train()


def image() -> Tensor:
    return torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def test_every_draw_is_in_one_compiled_graph() -> None:
    model = build()
    torch._dynamo.reset()
    graphs: list[Any] = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    seen = set()
    for seed in range(12):
        results = []
        for run in (compiled, model):
            torch.manual_seed(seed)
            results.append(run(image()))
        assert torch.equal(*results)
        seen.add(results[0].sum().item())
    assert len(graphs) == 1 and len(seen) > 3


@pytest.mark.parametrize("share", [0, 1])
def test_every_parameter_has_a_gradient_and_every_norm_sees_the_batch(share: int) -> None:
    dropped = 0
    for seed in range(6):
        model = build(share=share)
        torch.manual_seed(seed)
        model(image()).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        dropped += sum(not p.grad.any() for p in model.parameters())
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(norms) == 10 and all(norm.num_batches_tracked == 1 for norm in norms)
    assert dropped  # else the draws above dropped nothing, and nothing was tested


def trained_by_ddp() -> None:
    wrapped = nn.parallel.DistributedDataParallel(build(share=1))
    for seed in range(6):
        torch.manual_seed(seed)
        wrapped(image()).sum().backward()


def test_plain_ddp_trains_it(tmp_path: Path) -> None:
    """Two steps: the second would find that the first left parameters without a gradient."""
    assert_runs_in_a_group("tests.backends.test_fractal", "trained_by_ddp", tmp_path)


def test_a_dropped_column_counts_for_nothing() -> None:
    """One kept column is that column, bit by bit."""
    text = "net N: [3, H, W] = join(relu, tanh, drop=0.3, share=1)"
    model: Any = cnndsl.loads(text).net().compile(optimize=0).train()
    x, seen = image(), set()
    for seed in range(20):
        torch.manual_seed(seed)
        found = model(x)
        alone = [torch.equal(found, y) for y in (torch.relu(x), torch.tanh(x))]
        assert sum(alone) == 1
        seen.add(alone[0])
    assert seen == {True, False}
