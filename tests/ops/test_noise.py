"""Dropout, drop-path and joins: inert in evaluation, the right statistics in training."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnndsl.ops.modules import DropPath, Join, NetDraw
from cnndsl.ops.types import FeatureMap
from tests.ops.cases import read

X = FeatureMap(1, 1, 1)
ROUNDS = 2000


def _ones(rows: int = 1) -> Tensor:
    return torch.ones(rows, 1, 1, 1)


class Net(nn.Module):
    """A network as the compiler builds it: one draw for all, started in training."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        self.draw = NetDraw()
        self.parts = nn.ModuleDict(parts)
        for module in self.parts.modules():
            if hasattr(module, "draw"):
                module.draw = self.draw

    def forward(self, *xs: Tensor) -> list[Tensor]:
        if self.training:
            self.draw.start()
        joins = (part for part in self.parts.values())
        return [part(*xs[: getattr(part, "columns", 1)]) for part in joins]


@pytest.mark.parametrize(
    "text",
    [
        "dropout",
        "dropout2d",
        "droppath(0.5)",
        "droppath(0.5, mode=batch)",
        "droppath(0.5, mode=network)",
    ],
)
def test_noise_is_inert_in_evaluation_and_keeps_the_mean_in_training(text: str) -> None:
    module: Any = read(text).torch(X)
    assert torch.equal(module.eval()(_ones()), _ones())
    torch.manual_seed(0)
    module.train()
    values = torch.stack([module(_ones(4)) for _ in range(ROUNDS)])
    assert set(values.flatten().tolist()) == {0.0, 2.0}
    assert abs(values.mean().item() - 1) < 0.06


@pytest.mark.parametrize(("mode", "together"), [("row", False), ("batch", True), ("network", True)])
def test_drop_path_drops_rows_alone_or_together(mode: str, together: bool) -> None:
    torch.manual_seed(0)
    module = DropPath(0.5, mode).train()
    batches = [module(_ones(8)).flatten().tolist() for _ in range(50)]
    assert all(len(set(rows)) == 1 for rows in batches) is together


def test_drop_path_scales_the_survivors_and_keeps_the_type() -> None:
    torch.manual_seed(0)
    for mode in ("row", "batch", "network"):
        module = DropPath(0.2, mode).train()
        values = torch.cat([module(_ones(4).half()) for _ in range(ROUNDS)])
        assert values.dtype == torch.half
        assert (values == 0).float().mean().item() == pytest.approx(0.2, abs=0.04)
        assert values.max().item() == pytest.approx(1.25, abs=1e-3)


def test_a_dropped_path_still_gives_gradients() -> None:
    module = DropPath(0.999, "network").train()
    x = _ones().requires_grad_()
    torch.manual_seed(0)
    module(x).sum().backward()
    assert x.grad is not None and x.grad.item() == 0


def _operands(columns: int) -> list[Tensor]:
    """Operand j holds 2^j, so that a mean tells who survived."""
    return [torch.full((1, 1, 1, 1), 2.0**j) for j in range(columns)]


def _survivors(value: float, columns: int) -> tuple[int, ...]:
    for mask in range(1, 2**columns):
        kept = [j for j in range(columns) if mask >> j & 1]
        if abs(sum(2.0**j for j in kept) / len(kept) - value) < 1e-6:
            return tuple(kept)
    raise AssertionError(value)


def test_a_join_is_the_plain_mean_in_evaluation_and_without_drop() -> None:
    xs = _operands(3)
    assert Join(3, 0.5, 0.5).eval()(*xs).item() == pytest.approx(7 / 3)
    assert Join(3, 0.0, 0.5).train()(*xs).item() == pytest.approx(7 / 3)


def test_local_drop_path_keeps_each_operand_with_its_probability_and_never_none() -> None:
    torch.manual_seed(0)
    join = Join(3, 0.3, 0.0).train()
    kept = [_survivors(join(*_operands(3)).item(), 3) for _ in range(ROUNDS)]
    # P(kept) = 0.7 + P(all dropped)/3: the one that survives then is drawn evenly.
    for column in range(3):
        share = sum(column in one for one in kept) / ROUNDS
        assert share == pytest.approx(0.7 + 0.3**3 / 3, abs=0.04)


def test_global_drop_path_keeps_the_same_column_in_all_joins() -> None:
    torch.manual_seed(0)
    net = Net(deep=Join(2, 0.15, 1.0), end=Join(4, 0.15, 1.0)).train()
    assert net.draw.columns == 4
    counts = [0] * 4
    for _ in range(ROUNDS):
        deep, end = net(*_operands(4))
        (column,) = _survivors(end.item(), 4)
        counts[column] += 1
        assert _survivors(deep.item(), 2) == ((column,) if column < 2 else (0, 1))
    assert all(count / ROUNDS == pytest.approx(0.25, abs=0.04) for count in counts)


def test_a_share_of_the_forwards_is_global() -> None:
    torch.manual_seed(0)
    # Local mode drops next to nothing here, so a single survivor means global mode.
    net = Net(a=Join(3, 1e-9, 0.25), b=Join(3, 1e-9, 0.25)).train()
    single = 0
    for _ in range(ROUNDS):
        a, b = (_survivors(value.item(), 3) for value in net(*_operands(3)))
        assert a == b
        single += len(a) == 1
    assert single / ROUNDS == pytest.approx(0.25, abs=0.04)


def test_net_drop_paths_share_one_draw() -> None:
    torch.manual_seed(0)
    a, b, c = (DropPath(p, "network") for p in (0.5, 0.5, 0.2))
    net = Net(a=a, b=b, c=c).train()
    dropped = [[value.item() == 0 for value in net(_ones())] for _ in range(ROUNDS)]
    assert all(a == b and (a or not c) for a, b, c in dropped)
    assert sum(a for a, _, _ in dropped) / ROUNDS == pytest.approx(0.5, abs=0.04)


def _trace(net: nn.Module) -> list[float]:
    torch.manual_seed(3)
    return [value.item() for _ in range(50) for value in net(*_operands(3))]


def test_a_seed_repeats_the_noise_and_copies_share_their_own_draw() -> None:
    net = Net(a=Join(3, 0.3, 0.5), b=Join(2, 0.3, 0.5), c=DropPath(0.5, "network")).train()
    first = _trace(net)
    assert len(set(first)) > 5
    for twin in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert _trace(twin) == first
        assert all(part.draw is twin.draw for part in twin.parts.values())
    assert list(net.state_dict()) == []


def test_making_a_network_uses_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Net(a=Join(3, 0.3, 0.5), c=DropPath(0.5, "network"))
    assert torch.equal(torch.rand(1), expected)


def test_a_join_exports_in_evaluation() -> None:
    net = Net(a=Join(2, 0.3, 0.5), c=DropPath(0.5, "network")).eval()
    xs = tuple(_operands(2))
    program = torch.export.export(net, xs).module()
    assert [v.item() for v in program(*xs)] == [v.item() for v in net(*xs)] == [1.5, 1.0]
