"""What the operators compute, where PyTorch has no module of the same name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnndsl.ops.base import Op
from cnndsl.ops.types import FeatureMap, Vector
from tests.ops.cases import read

X = FeatureMap(12, 6, 5)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


def _run(text: str, x: Tensor, *rest: Tensor, kind: Any = X) -> Tensor:
    output = read(text).torch(kind)(x, *rest)
    assert isinstance(output, Tensor)
    return output


def test_layer_norm_is_over_the_channels_at_each_position() -> None:
    module: Any = read("layer_norm(eps=0.001)").torch(X)
    nn.init.normal_(module.weight)
    nn.init.normal_(module.bias)
    x = _random(2, 12, 6, 5)
    last = functional.layer_norm(x.permute(0, 2, 3, 1), (12,), module.weight, module.bias, 0.001)
    assert torch.equal(module(x), last.permute(0, 3, 1, 2))


def test_linear_on_a_feature_map_acts_at_each_position() -> None:
    module: Any = read("linear(4)").torch(X)
    x = _random(2, 12, 6, 5)
    last = functional.linear(x.permute(0, 2, 3, 1), module.weight, module.bias)
    torch.testing.assert_close(module(x), last.permute(0, 3, 1, 2))


def test_softmax_sums_to_1_over_the_channels() -> None:
    for kind, x in ((X, _random(2, 12, 6, 5)), (Vector(12), _random(2, 12))):
        total = _run("softmax", x, kind=kind).sum(1)
        torch.testing.assert_close(total, torch.ones_like(total))
        torch.testing.assert_close(
            _run("log_softmax", x, kind=kind).exp(), _run("softmax", x, kind=kind)
        )


def test_prelu_has_a_slope_for_each_channel() -> None:
    module: Any = read("prelu(num_parameters=12, init=0.5)").torch(X)
    assert module.weight.tolist() == [0.5] * 12
    nn.init.normal_(module.weight)
    x = _random(2, 12, 6, 5)
    slope = module.weight.view(12, 1, 1)
    assert torch.equal(module(x), torch.where(x > 0, x, slope * x))


def test_bias_is_there_unless_settled_otherwise() -> None:
    for text in ("conv(4, 3)", "conv(4, 3, bias=auto)", "conv(4, 3, bias=yes)"):
        module: Any = read(text).torch(X)
        assert module.bias is not None
    op = read("conv(4, 3)")
    assert op.auto_bias and op.values["bias"] is None
    settled = op.replace(bias=False)
    assert [weight.name for weight in settled.weights(X)] == ["weight"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crop((1, 2, 0, 3))", lambda x: x[:, :, 1:-2, :-3]),
        ("crop(1)", lambda x: x[:, :, 1:-1, 1:-1]),
        ("pad((1, 0, 2, 3), value=7)", lambda x: functional.pad(x, (2, 3, 1, 0), value=7)),
        ("pad((1, 2), mode=reflect)", lambda x: functional.pad(x, (2, 2, 1, 1), mode="reflect")),
        ("pad(3, mode=replicate)", lambda x: functional.pad(x, (3,) * 4, mode="replicate")),
        ("slice(3, 7)", lambda x: x[:, 3:7]),
        ("gap", lambda x: x.mean((2, 3), keepdim=True)),
        ("gmp", lambda x: x.amax((2, 3), keepdim=True)),
        ("flatten", lambda x: x.reshape(2, -1)),
        ("flatten(order=hwc)", lambda x: x.permute(0, 2, 3, 1).reshape(2, -1)),
        ("flatten(order=whc)", lambda x: x.permute(0, 3, 2, 1).reshape(2, -1)),
        ("flatten(order=hcw)", lambda x: x.permute(0, 2, 1, 3).reshape(2, -1)),
        ("scale(by=0.25)", lambda x: 0.25 * x),
        ("channel_shuffle(3)", lambda x: x.view(2, 3, 4, 6, 5).transpose(1, 2).reshape(x.shape)),
        ("upsample((2, 3))", lambda x: x.repeat_interleave(2, 2).repeat_interleave(3, 3)),
    ],
)
def test_values_land_where_they_should(text: str, expected: Any) -> None:
    x = _random(2, 12, 6, 5)
    torch.testing.assert_close(_run(text, x), expected(x))


def test_padded_channels_are_zero_and_behind_unless_said() -> None:
    x = _random(2, 12, 6, 5)
    behind, around = _run("pad_channels(16)", x), _run("pad_channels(16, before=1)", x)
    assert torch.equal(behind[:, :12], x) and not behind[:, 12:].any()
    assert torch.equal(around[:, 1:13], x) and not around[:, 0].any() and not around[:, 13:].any()


def test_a_learned_scale_is_a_bare_weight_of_one_factor_per_channel() -> None:
    op: Any = read("scale(init=0.5)")
    for kind, x in ((X, _random(2, 12, 6, 5)), (Vector(12), _random(2, 12))):
        (weight,) = op.weights(kind)
        initial = op.initial(kind)
        assert weight.name == "" and weight.shape == tuple(initial.shape)
        assert torch.equal(op.torch(kind)(x, initial), x * 0.5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", lambda a, b, c: a + b + c),
        ("mul", lambda a, b, c: a * b * c),
        ("mean", lambda a, b, c: (a + b + c) / 3),
        ("join", lambda a, b, c: (a + b + c) / 3),
        ("max", lambda a, b, c: torch.maximum(torch.maximum(a, b), c)),
        ("concat", lambda a, b, c: torch.cat((a, b, c), 1)),
    ],
)
def test_joins_take_any_number_of_operands(name: str, expected: Any) -> None:
    xs = [_random(2, 12, 6, 5) + i for i in range(3)]
    op = read(name)
    assert torch.equal(op.torch(X, X, X)(*xs), expected(*xs))
    assert torch.equal(op.torch(X)(xs[0]), xs[0])


def test_a_gate_spreads_over_the_positions() -> None:
    gate = FeatureMap(12, 1, 1)
    x, g = _random(2, 12, 6, 5), _random(2, 12, 1, 1)
    op: Op = read("mul")
    assert op.infer(X, gate) == X
    assert torch.equal(op.torch(X, gate)(x, g), x * g)
