"""A module that runs a rewritten network is never stale, and steps aside when it has to."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import cnndsl
from cnndsl.engines.live.watch import Watch
from cnndsl.engines.torch_engine import TorchEngine
from tests.engines.live.twins import TEXT, assert_follows, pair, picture


def test_names_are_those_of_the_plain_module() -> None:
    fast, plain = pair()
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in fast.named_modules()] == [n for n, _ in plain.named_modules()]
    assert_follows(fast, plain)


def load(fast: nn.Module) -> None:
    fast.load_state_dict({k: v * 2 for k, v in fast.state_dict().items()})


def load_assigned(fast: nn.Module) -> None:
    fast.load_state_dict({k: v * 2 for k, v in fast.state_dict().items()}, assign=True)


def in_place(fast: Any) -> None:
    with torch.no_grad():
        fast.fc.weight.mul_(3)


def one_value(fast: Any) -> None:
    with torch.no_grad():
        fast.stem.conv.weight[0, 0, 1, 1] += 5


def data(fast: Any) -> None:
    fast.fc.weight.data = fast.fc.weight.data * 3


def uncounted(fast: Any) -> None:
    """As many moving averages of weights are written: PyTorch does not count it."""
    for parameter in fast.parameters():
        parameter.data.mul_(0.9)


def through_numpy(fast: Any) -> None:
    fast.fc.weight.detach().numpy()[:] *= 0.9


def buffer(fast: Any) -> None:
    fast.body.bn.running_mean.add_(1)


def replaced_parameter(fast: Any) -> None:
    fast.fc.weight = nn.Parameter(fast.fc.weight.detach() * 3)


def step_of_an_optimiser(fast: Any) -> None:
    optimizer = torch.optim.AdamW(fast.parameters(), lr=0.1)
    fast.train()
    result = fast(picture(3))
    (result.out.square().mean() + result.aux.square().mean()).backward()
    optimizer.step()
    fast.eval()


def statistics(fast: Any) -> None:
    fast.train()
    with torch.no_grad():
        fast(picture(4))
    fast.eval()


CHANGES = [load, load_assigned, in_place, one_value, data, uncounted, through_numpy, buffer]
CHANGES += [replaced_parameter, step_of_an_optimiser, statistics]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_is_seen(change: Callable[[Any], None]) -> None:
    fast, plain = pair()
    assert_follows(fast, plain)
    with torch.no_grad():
        before = fast(picture()).out
    change(fast)
    assert_follows(fast, plain)
    with torch.no_grad():
        assert not torch.allclose(fast(picture()).out, before)


def test_what_is_added_is_a_change() -> None:
    layers = nn.Sequential(nn.ReLU())
    layers.eval()
    watch = Watch(layers, {})
    assert not watch.changed()
    layers[0].register_buffer("slope", torch.ones(1))  # a layer of a third party may look for it
    assert watch.changed()


def hook(fast: Any) -> str:
    fast.stem.conv.register_forward_hook(lambda *args: None)
    return "hooks"


def part_in_training(fast: Any) -> str:
    fast.body.bn.train()
    return "training mode"


def inference_parameters(fast: Any) -> str:
    with torch.inference_mode():
        fast.fc.weight = nn.Parameter(fast.fc.weight.clone(), requires_grad=False)
    return "inference mode"


@pytest.mark.parametrize(
    "prepare", [hook, part_in_training, inference_parameters], ids=lambda f: f.__name__
)
def test_what_only_the_plain_module_does(prepare: Callable[[Any], str]) -> None:
    fast, plain = pair()
    assert_follows(fast, plain)
    reason = prepare(fast)
    with torch.no_grad():
        fast(picture())
    assert reason in fast._live.refused


def test_gradients_come_from_the_plain_module() -> None:
    fast, plain = pair()
    for module in (fast, plain):
        module(picture()).out.sum().backward()
    assert "gradients" in fast._live.refused
    for one, two in zip(fast.parameters(), plain.parameters(), strict=True):
        assert (one.grad is None) == (two.grad is None)
        if one.grad is not None:
            assert torch.equal(one.grad, two.grad)
    x = picture().requires_grad_()
    for parameter in fast.parameters():
        parameter.requires_grad_(False)
    fast(x).out.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_pass_as_in_pytorch(value: float) -> None:
    fast, plain = pair()
    x = picture()
    x[0, 1, 0, 0] = value
    with torch.no_grad():
        found, expected = fast(x).out, plain(x).out
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert not found[0].isfinite().any() and found[1].isfinite().all()


def test_folding_that_overflows_is_left() -> None:
    """scale / sqrt(var) is beyond float32, while the plain module's steps are not."""
    net = cnndsl.loads("net N: [1, H, W] = c: conv(1, 1) -> n: bn(eps=0)").net()
    fast, plain = net.compile().eval(), net.compile(optimize=0).eval()
    with torch.no_grad():
        fast.c.weight.fill_(1e30)
        fast.n.running_var.fill_(1e-30)
    plain.load_state_dict(fast.state_dict())
    x = torch.full((1, 1, 2, 2), 1e-25)
    with torch.no_grad():
        assert torch.equal(fast(x), plain(x))
    assert "not finite" in fast._live.refused


def test_shapes_and_dtypes() -> None:
    fast, plain = pair()
    for batch, size in ((1, 5), (3, 11), (2, 9)):
        assert_follows(fast, plain, picture(batch=batch, size=size))
    for dtype in (torch.float64, torch.float32):
        fast.to(dtype), plain.to(dtype)
        with torch.no_grad():
            assert fast(picture().to(dtype)).out.dtype == dtype
        assert_follows(fast, plain, picture().to(dtype))
    with torch.no_grad(), pytest.raises(RuntimeError):
        fast(torch.randn(1, 4, 9, 9))
    with torch.no_grad():
        assert fast(torch.randn(0, 3, 9, 9)).out.shape == (0, 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    """No further from the truth than the plain module in that dtype."""
    fast, plain = pair()
    with torch.no_grad():
        exact = copy.deepcopy(plain).double()(picture().to(dtype).double()).out
        fast.to(dtype), plain.to(dtype)
        found, usual = fast(picture().to(dtype)).out, plain(picture().to(dtype)).out
    assert fast._live.refused == "" and found.dtype == dtype
    assert (found - exact).square().mean() <= (usual - exact).square().mean()


def test_a_dtype_of_the_computation() -> None:
    net = cnndsl.loads(TEXT).net()
    model = net.compile(dtype=torch.bfloat16).eval()
    with torch.no_grad():
        found = model(picture())
    assert found.out.dtype == torch.float32 and model.fc.weight.dtype == torch.float32
    assert model._live.refused == ""


def test_inputs_on_another_device() -> None:
    """Also like the last but for that."""
    fast, plain = pair()
    with torch.no_grad():
        for _ in range(5):
            fast(picture())
    assert fast._live.sealed
    found = []
    for module in (fast, plain):
        with torch.no_grad(), pytest.raises(Exception) as raised:
            module(picture().to("meta"))
        found.append((raised.type, str(raised.value)))
    assert found[0] == found[1] and fast._live.refused.startswith("an input is not a plain tensor")


def test_copies_go_their_own_ways() -> None:
    fast, plain = pair()
    assert_follows(fast, plain)
    twin = copy.deepcopy(fast)
    in_place(twin)
    assert_follows(fast, plain)
    assert_follows(twin, plain)
    again = pickle.loads(pickle.dumps(fast))
    with torch.no_grad():
        torch.testing.assert_close(again(picture()).out, fast(picture()).out)


def test_tracers_see_plain_layers() -> None:
    fast, _ = pair()
    fast.requires_grad_(False)
    exported = torch.export.export(fast, (picture(),))
    assert any("conv2d" in str(node.target) for node in exported.graph.nodes)
    with torch.no_grad():
        expected = fast(picture()).out
        torch.testing.assert_close(exported.module()(picture()).out, expected)
        compiled = torch.compile(fast, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(picture()).out, expected)
        mapped = torch.func.vmap(lambda x: fast(x).out)(picture()[None])
        torch.testing.assert_close(mapped[0], expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(picture()).out.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_recording_is_of_plain_layers() -> None:
    """And not of the engine's answer, which would be a constant of it."""
    net = cnndsl.loads("net N: [3, 8, 8] = conv(4, 3) -> relu -> flatten -> linear(2)").net()
    fast = net.compile().eval().requires_grad_(False)
    recorded = torch.jit.trace(fast, torch.zeros(1, 3, 8, 8), check_trace=False)
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(recorded(x), fast(x))


TWO = "net N: [3, 8, 8] a, [3, 8, 8] b = (a -> conv(4, 3) -> relu) + (b -> conv(4, 3) -> relu)"


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_batches_that_differ(engine: str) -> None:
    """Plain layers may take them; an engine is made for one."""
    pytest.importorskip(engine)
    fast: Any = cnndsl.loads(TWO).net().compile(engine=engine).eval()
    a, b = torch.randn(2, 3, 8, 8), torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        found = fast(a, b)
        assert fast._live.refused
        torch.testing.assert_close(found, fast(a, b.repeat(2, 1, 1, 1)), rtol=1e-4, atol=1e-5)
        assert not fast._live.refused


@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_an_input_that_is_mostly_zeros(engine: str) -> None:
    pytest.importorskip(engine)
    fast: Any = cnndsl.loads("net N: [5] = linear(4)").net().compile(engine=engine).eval()
    x = torch.eye(5)
    with torch.no_grad():
        for given in (x, x, x.to_sparse()):
            torch.testing.assert_close(fast(given), fast(x))


def test_no_digit_is_lost_where_nothing_is_learned() -> None:
    fast = cnndsl.loads("net N: [3, H, W] = avgpool(2)").net().compile().eval()
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(fast(x), nn.functional.avg_pool2d(x, 2))


def test_autocast_of_another_device_changes_nothing() -> None:
    fast, _ = pair()
    torch.set_autocast_enabled("cuda", True)
    try:
        with torch.no_grad():
            assert fast(picture()).out.dtype == torch.float32 and not fast._live.refused
    finally:
        torch.set_autocast_enabled("cuda", False)


def test_the_engine_is_built_once_for_all_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the text does not allow is asked of the plain module, before and after."""
    built = []
    build = TorchEngine.build
    monkeypatch.setattr(TorchEngine, "build", lambda *args: built.append(1) or build(*args))
    net = cnndsl.loads("net N: [3, 4*H, W] = conv(4, 3) -> gap -> flatten -> linear(2)").net()
    model = net.compile().eval()
    with torch.no_grad():
        for height in (6, 8, 8, 12, 6, 16):
            model(torch.randn(1, 3, height, 5))
            assert ("what the text says" in model._live.refused) == bool(height % 4)
    assert len(built) == 1


def test_shapes_that_are_kept_are_bounded() -> None:
    from cnndsl.engines.live.link import MOST_SHAPES

    net = cnndsl.loads(TEXT).net()
    model = net.compile(engine="onnxruntime").eval()
    with torch.no_grad():
        for size in range(5, 5 + MOST_SHAPES + 3):
            model(picture(size=size))
    assert len(model._live._derived.runners) == MOST_SHAPES
