"""What a text's network computes in training: statistics of the batch, and noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import cnndsl

SHAPE = (4, 3, 5)
VECTOR = (12,)
ROWS = 8
FORWARDS = 400


def network(body: str, *shapes: tuple[int, ...]) -> Any:
    """The plain module of one net in float64, in training."""
    inputs = ", ".join(f"{list(shape)} x{i}" for i, shape in enumerate(shapes or (SHAPE,)))
    text = f"net N: {inputs} =\n  {body}"
    return cnndsl.loads(text).net().compile(optimize=0).double().train()


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


# --- batch norm -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SHAPE, VECTOR])
@pytest.mark.parametrize("momentum", [0.1, 0.7, 0, 1])
def test_batch_norm_learns_the_batches(shape: tuple[int, ...], momentum: float) -> None:
    net = network(f"bn: bn(eps=0.5, momentum={momentum})", shape)
    mean, var = torch.zeros(shape[0]).double(), torch.ones(shape[0]).double()
    for step in range(1, 4):
        x = step * drawn(ROWS, *shape) + step
        dims = [0, 2, 3][: x.dim() - 1]
        average, spread = x.mean(dims), x.var(dims, correction=0)
        channel = (1, -1, 1, 1)[: x.dim()]
        wanted = (x - average.view(channel)) / (spread.view(channel) + 0.5).sqrt()
        torch.testing.assert_close(net(x), wanted, rtol=1e-9, atol=1e-9)
        mean = (1 - momentum) * mean + momentum * average  # of a sample's own variance, n - 1
        var = (1 - momentum) * var + momentum * x.var(dims, correction=1)
        torch.testing.assert_close(net.bn.running_mean, mean, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(net.bn.running_var, var, rtol=1e-9, atol=1e-9)
        assert net.bn.num_batches_tracked.item() == step


def test_momentum_is_a_tenth_unless_said() -> None:
    net = network("bn: bn")
    net(drawn(ROWS, *SHAPE) + 10)
    wanted = 0.1 * (drawn(ROWS, *SHAPE) + 10).mean((0, 2, 3))
    torch.testing.assert_close(net.bn.running_mean, wanted)


@pytest.mark.parametrize("text", ["group_norm(2)", "layer_norm", "lrn(3)", "prelu"])
def test_other_layers_train_as_they_evaluate(text: str) -> None:
    net, x = network(text), drawn(ROWS, *SHAPE)
    assert torch.equal(net(x), net.eval()(x))


# --- noise ----------------------------------------------------------------------------------


def kept(net: Any, *xs: Tensor) -> Tensor:
    """Which values survive, ``[FORWARDS, ROWS, C, H, W]``, after what survives is checked."""
    torch.manual_seed(0)
    return torch.stack([net(*xs) for _ in range(FORWARDS)])


SHARED = {
    "dropout": (), "dropout2d": (3, 4), "droppath": (2, 3, 4),
    "droppath, mode=batch": (1, 2, 3, 4), "droppath, mode=network": (1, 2, 3, 4),
}  # fmt: skip
"""The axes along which one number is drawn for all."""


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_noise_zeroes_its_share_and_scales_the_rest(kind: str, p: float) -> None:
    name, _, mode = kind.partition(", ")
    net = network(f"{name}({', '.join(filter(None, [f'p={p}', mode]))})")
    values = kept(net, torch.ones(ROWS, *SHAPE, dtype=torch.float64))
    assert set(values.flatten().tolist()) == {0.0, 1 / (1 - p)}
    together = SHARED[kind]
    draws = values.amax(together) if together else values
    assert torch.equal(draws, values.amin(together) if together else values)
    assert _independent(draws.flatten() > 0, 1 - p)
    x = drawn(ROWS, *SHAPE)
    assert torch.equal(net.eval()(x), x)


def _independent(survives: Tensor, share: float) -> bool:
    """Within five deviations of the share, and so are neighbours that both survive."""
    first, second = survives.double(), survives.roll(1).double()
    near = 5 * (share * (1 - share) / len(first)) ** 0.5
    both = 5 * (share**2 * (1 - share**2) / len(first)) ** 0.5 * 1.5  # neighbours overlap
    return bool(abs(first.mean() - share) < near and abs((first * second).mean() - share**2) < both)


@pytest.mark.parametrize(("mode", "agree"), [("row", False), ("batch", False), ("network", True)])
def test_a_net_wide_draw_is_one_for_all_its_layers(mode: str, agree: bool) -> None:
    """Of two layers with p 0.3 and 0.6 the second drops whenever the first does."""
    body = f"(a: droppath(0.3, mode={mode})) | (b: droppath(0.6, mode={mode}))"
    values = kept(network(body), torch.ones(1, *SHAPE, dtype=torch.float64))
    first, second = values[:, 0, 0, 0, 0] > 0, values[:, 0, SHAPE[0], 0, 0] > 0
    assert bool((second <= first).all()) is agree
    assert 0.6 < first.double().mean() < 0.8 and 0.3 < second.double().mean() < 0.5


@pytest.mark.parametrize(("drop", "share"), [(0.5, 0), (0.2, 0), (0.5, 1), (0.3, 0.5)])
def test_a_join_averages_the_columns_that_are_left(drop: float, share: float) -> None:
    """Bits 1, 2 and 4 tell from a mean which columns are in it."""
    columns = [torch.full((1, 1, 1, 1), 2.0**i, dtype=torch.float64) for i in range(3)]
    shapes = [(1, 1, 1)] * 3
    net = network(f"join(x0, x1, x2, drop={drop}, share={share})", *shapes)
    means = kept(net, *columns).flatten().tolist()
    sets = {(1,): 1.0, (2,): 2.0, (4,): 4.0, (1, 2): 1.5, (1, 4): 2.5, (2, 4): 3.0,
            (1, 2, 4): 7 / 3}  # fmt: skip
    seen = {ones: means.count(value) / FORWARDS for ones, value in sets.items()}
    assert sum(seen.values()) == pytest.approx(1)
    for ones in sets:
        keep = (1 - drop) ** len(ones) * drop ** (3 - len(ones))
        # when all three are dropped, one of them stays after all
        local = keep + (drop**3 / 3 if len(ones) == 1 else 0)
        wanted = (1 - share) * local + (share / 3 if len(ones) == 1 else 0)
        assert abs(seen[ones] - wanted) < 5 * (wanted * (1 - wanted) / FORWARDS) ** 0.5 + 1e-12
    assert net.eval()(*columns).item() == pytest.approx(7 / 3)


def test_the_kept_column_is_one_for_all_joins() -> None:
    shapes = [(1, 1, 1)] * 2
    body = (
        "let a = join(x0, x1, drop=0.5, share=1)\n  let b = join(x0, x1, drop=0.5, share=1)\n  a, b"
    )
    net = network(body, *shapes)
    xs = [torch.full((1, 1, 1, 1), float(i), dtype=torch.float64) for i in range(2)]
    torch.manual_seed(0)
    pairs = {tuple(value.item() for value in net(*xs)) for _ in range(50)}
    assert pairs == {(0.0, 0.0), (1.0, 1.0)}


# --- gradients ------------------------------------------------------------------------------


def test_gradients_are_pytorchs() -> None:
    net = network(
        "c: conv(6, 3, stride=2) -> b: bn -> relu -> avgpool(2) -> flatten -> l: linear(3)"
    )
    x = drawn(ROWS, 4, 3, 5).requires_grad_()
    weights = {
        name: value.detach().clone().requires_grad_() for name, value in net.named_parameters()
    }
    y = F.conv2d(x, weights["c.weight"], None, 2, 1)
    y = F.batch_norm(y, None, None, weights["b.weight"], weights["b.bias"], training=True)
    y = F.avg_pool2d(y.clamp(min=0), 2).flatten(1)
    wanted = torch.autograd.grad(
        F.linear(y, weights["l.weight"], weights["l.bias"]).square().sum(), [x, *weights.values()]
    )
    got = torch.autograd.grad(net(x).square().sum(), [x, *net.parameters()])
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
