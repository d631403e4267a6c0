"""Whatever is changed of a module, it answers as its plain twin, to which the same was done."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from cnndsl.engines.live import watch
from cnndsl.engines.live.layers import difference, layers_of
from tests.engines.live.changes import LAYERS, NET, NUMBERS, Change, filled


def pair() -> tuple[Any, Any]:
    """Two modules of the same numbers; that they are copies saves what all have in common."""
    fast, plain = copy.deepcopy(FAST), copy.deepcopy(PLAIN)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in fast.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
        for module in (fast.stem, fast.body):
            module.bn.weight.fill_(1)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


FAST: Any = NET.compile().eval()
PLAIN: Any = NET.compile(optimize=0).eval()
X = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def run(module: Any, times: int = 1) -> Tensor:
    for _ in range(times):
        found: Tensor = module(X)
    return found


def looked_at(fast: Any) -> None:
    run(fast, 2)
    assert not fast._live.sealed


def sealed(fast: Any) -> None:
    run(fast, 5)
    assert fast._live.sealed


def held(fast: Any) -> Any:
    parts = [*fast.modules(), *fast.parameters()]
    run(fast, 5)
    assert not fast._live.sealed
    return parts


STATES = pytest.mark.parametrize("state", [looked_at, sealed, held], ids=lambda f: f.__name__)


def assert_follows(fast: Any, plain: Any, change: Change) -> str:
    """The first answer after a change, and later ones; returns why the engine did not give it."""
    before = run(plain)
    for module in (fast, plain):
        change(module)
    expected = run(plain)
    assert expected.shape != before.shape or not torch.allclose(expected, before)
    for _ in range(5):
        torch.testing.assert_close(run(fast), expected, rtol=1e-4, atol=1e-5)
    return str(fast._live.refused)


@STATES
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str, state: Callable[[Any], Any]) -> None:
    fast, plain = pair()
    kept = state(fast)
    assert assert_follows(fast, plain, NUMBERS[name]) == ""
    del kept


@STATES
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, state: Callable[[Any], Any]) -> None:
    change, told = LAYERS[name]
    fast, plain = pair()
    kept = state(fast)
    assert assert_follows(fast, plain, change).startswith(told)
    del kept


@pytest.mark.parametrize("state", [looked_at, sealed], ids=lambda f: f.__name__)
def test_a_class_that_is_patched(
    state: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fast, plain = pair()
    state(fast)
    forward = nn.Linear.forward

    def patch(module: Any) -> None:
        monkeypatch.setattr(nn.Linear, "forward", lambda self, x: 3 * forward(self, x))

    told = assert_follows(fast, plain, patch)
    assert told == "`fc` runs another forward of Linear"


def test_what_eval_mode_does_not_read_may_be_tuned() -> None:
    fast, plain = pair()
    sealed(fast)
    fast.stem.bn.momentum, fast.drop.p, fast.fc.note = 0.01, 0.1, "head"
    fast.criterion = nn.CrossEntropyLoss().eval()
    torch.testing.assert_close(run(fast), run(plain), rtol=1e-4, atol=1e-5)
    assert fast._live.refused == ""
    fast.criterion.train()
    run(fast)
    assert "training mode" in fast._live.refused


def test_settings_in_lists_and_some_that_cannot_be_compared() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 1)).eval()
    module[0].order, module[0].parts, module[0].strange = [1, 2], [nn.ReLU()], torch.ones(2)
    for change in (
        lambda conv: conv.order.reverse(),
        lambda conv: setattr(conv, "parts", [nn.ReLU()]),
        lambda conv: setattr(conv, "strange", torch.ones(2)),
    ):
        made = layers_of(module)
        watching = watch.Watch(module, made)
        assert not watching.changed() and not watching.in_the_way()
        change(module[0])
        assert difference(made, module).startswith("`0` has another")
        assert watching.changed()


def test_a_buffer_of_whole_numbers() -> None:
    module = nn.Sequential(nn.ReLU()).eval()
    module[0].register_buffer("order", torch.arange(3))
    watching = watch.Watch(module, {})
    module[0].order.add_(1)
    assert watching.changed()


# --- large networks, of which somebody holds a part -----------------------------------------------


def step(fast: Any) -> None:
    fast(X).sum().backward()


def switch(fast: Any) -> None:
    fast.train()
    fast.eval()


@pytest.mark.parametrize("meanwhile", [step, switch])
def test_few_writes_of_who_holds_a_part(meanwhile: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a fused optimiser makes them: into few numbers, not counted."""
    monkeypatch.setattr(watch, "_FEW", 0)
    monkeypatch.setattr(watch, "_SHARE", math.inf)
    fast, plain = pair()
    kept = held(fast)
    for _ in range(2):
        meanwhile(fast)
        fast.stem.conv.weight.data[2].mul_(2)
        plain.load_state_dict(fast.state_dict())
        torch.testing.assert_close(run(fast), run(plain), rtol=1e-4, atol=1e-5)
        assert fast._live.refused == ""
    del kept


def test_writes_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_FEW", 0)
    monkeypatch.setattr(watch, "_SHARE", math.inf)
    fast, plain = pair()
    weight = fast.stem.conv.weight.detach()
    run(fast, 5)
    weight[2].mul_(2)
    plain.load_state_dict(fast.state_dict())
    torch.testing.assert_close(run(fast), run(plain), rtol=1e-4, atol=1e-5)


def test_few_writes_are_seen_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_FEW", 0)
    fast, plain = pair()
    kept = held(fast)
    monkeypatch.setattr(watch, "_SHARE", 0)
    fast._live._derived.watch._due = 0
    for _ in range(2):
        fast.stem.conv.weight.data[2].mul_(2)
        plain.load_state_dict(fast.state_dict())
        torch.testing.assert_close(run(fast), run(plain), rtol=1e-4, atol=1e-5)
    del kept


@pytest.mark.parametrize("state", [looked_at, sealed], ids=lambda f: f.__name__)
def test_few_writes_of_who_looks_again_and_again(
    state: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody holds a part, but the module is not sealed, or not again."""
    monkeypatch.setattr(watch, "_FEW", 0)
    monkeypatch.setattr(watch, "_SHARE", math.inf)
    fast, plain = pair()
    state(fast)
    for number in (1, 2, 3, 5, 6):  # the others hold a number that is probed
        fast.stem.conv.weight.data[number].mul_(2)
        plain.load_state_dict(fast.state_dict())
        torch.testing.assert_close(run(fast), run(plain), rtol=1e-4, atol=1e-5)


# --- copies ---------------------------------------------------------------------------------------


def shallow_copy(fast: Any) -> Any:
    twin = copy.copy(fast)
    twin._modules = dict(twin._modules)
    twin.fc = filled(nn.Linear(8, 8)).eval()
    return twin


def replica(fast: Any) -> Any:
    twin = fast._replicate_for_data_parallel()
    for name, child in fast.named_children():
        twin._modules[name] = filled(copy.deepcopy(child))
    return twin


def same_attributes(fast: Any) -> Any:
    twin = type(fast).__new__(type(fast))
    twin.__dict__.update(fast.__dict__)
    twin._modules = {k: filled(copy.deepcopy(v)) for k, v in fast._modules.items()}
    return twin


@pytest.mark.parametrize("state", [looked_at, sealed], ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", [shallow_copy, replica, same_attributes])
def test_copies_that_share_attributes(make: Change, state: Callable[[Any], Any]) -> None:
    fast, plain = pair()
    state(fast)
    twins = make(fast), make(plain)
    for _ in range(3):
        for one, other in ((fast, plain), twins):
            torch.testing.assert_close(run(one), run(other), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(run(fast), run(twins[0]))
    assert twins[0]._live is not fast._live and twins[0]._live.refused == ""


def test_a_copy_is_switched_though_its_original_is_sealed() -> None:
    fast, plain = pair()
    sealed(fast)
    twin = type(fast).__new__(type(fast))
    twin.__dict__.update(fast.__dict__)
    twin.__dict__["_modules"] = copy.deepcopy(plain).train()._modules
    assert fast._live.sealed
    assert not any(module.training for module in twin.eval().modules())


def test_hooks_of_state_dicts_change_no_answer() -> None:
    fast, plain = pair()

    def halves(module: Any, state: dict[str, Any], prefix: str, local: Any) -> None:
        for name in list(state):
            state[f"model.{name}"] = state.pop(name) * 2

    fast.register_state_dict_post_hook(halves)
    torch.testing.assert_close(run(fast), run(plain), rtol=1e-4, atol=1e-5)
    assert fast._live.refused == ""


# --- who looks on ---------------------------------------------------------------------------------


def test_tangents_of_forward_mode() -> None:
    tangents = []
    fast, plain = pair()
    for module in (fast, plain):
        module.requires_grad_(False)
        run(module, 5)
        with torch.no_grad(), forward_ad.dual_level():
            dual = forward_ad.make_dual(X, torch.ones_like(X))
            tangents.append(forward_ad.unpack_dual(module(dual)).tangent)
    torch.testing.assert_close(*tangents)
    assert "forward mode" in fast._live.refused


def test_an_input_that_is_a_negative_view() -> None:
    fast, plain = pair()
    x = torch.imag(torch.complex(X, X).conj())
    assert x.is_neg()
    with torch.no_grad():
        torch.testing.assert_close(fast(x), plain(x))
    assert "negative" in fast._live.refused


class Functions(TorchFunctionMode):
    def __torch_function__(self, function: Any, _: Any, args: Any = (), named: Any = None) -> Any:
        SEEN.append(function)
        return function(*args, **(named or {}))


class Operators(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), named: Any = None) -> Any:
        SEEN.append(function.overloadpacket)
        return function(*args, **(named or {}))


SEEN: list[Any] = []


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [(Functions, nn.functional.linear), (Operators, torch.ops.aten.convolution)],
    ids=["functions", "operators"],
)
def test_a_mode_sees_the_layers(mode: Callable[[], Any], wanted: Any) -> None:
    fast, _ = pair()
    sealed(fast)
    SEEN.clear()
    with mode():
        run(fast)
    assert wanted in SEEN and "mode of PyTorch" in fast._live.refused
