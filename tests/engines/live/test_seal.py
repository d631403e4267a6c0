"""A sealed network is as little stale as one that is looked at, part by part."""

from __future__ import annotations

import copy
import ctypes
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cnndsl
from cnndsl.engines.live.seal import OPENING, Seal
from tests.engines.live.test_link import CHANGES, hook, part_in_training
from tests.engines.live.twins import assert_follows, pair, picture, run, sealed


def test_the_seal_is_set_when_nothing_happens() -> None:
    fast, _ = pair()
    run(fast, 1)
    assert not fast._live.sealed
    run(fast, 4)
    derived = fast._live._derived
    assert fast._live.sealed
    run(fast)
    assert fast._live.sealed and fast._live._derived is derived


def test_the_seal_is_set_again() -> None:
    fast, _ = sealed()
    for _ in range(3):
        assert fast.fc.weight.shape == (5, 8)
        assert not fast._live.sealed
        run(fast, 25)
        assert fast._live.sealed


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_a_change_is_seen(change: Callable[[Any], None]) -> None:
    fast, plain = sealed()
    with torch.no_grad():
        before = fast(picture()).out
    change(fast)
    with torch.no_grad():
        found = fast(picture()).out
    assert not torch.allclose(found, before)
    plain.load_state_dict(fast.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(found, plain(picture()).out, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prepare", [hook, part_in_training], ids=lambda f: f.__name__)
def test_what_only_the_plain_module_does(prepare: Callable[[Any], str]) -> None:
    fast, _ = sealed()
    reason = prepare(fast)
    run(fast, 1)
    assert reason in fast._live.refused


def test_hooks_of_the_network_itself_and_of_all_modules() -> None:
    for register in (
        lambda m, f: m.register_forward_hook(f),
        lambda m, f: nn.modules.module.register_module_forward_hook(f),
    ):
        fast, _ = sealed()
        handle = register(fast, lambda *args: None)
        run(fast, 1)
        handle.remove()
        assert "hooks" in fast._live.refused


def test_gradients_are_those_of_the_plain_module() -> None:
    fast, _ = sealed()
    fast(picture()).out.sum().backward()
    assert fast.fc.weight.grad is not None


def test_a_frozen_network_needs_no_mode() -> None:
    fast, _ = pair()
    fast.requires_grad_(False)
    run(fast, 5)
    fast(picture())
    assert fast._live.sealed and fast._live.refused == ""
    fast.fc.requires_grad_(True)
    assert fast(picture()).out.requires_grad


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "parameter": lambda m: m.fc.weight,
    "buffer": lambda m: m.body.bn.running_mean,
    "layer": lambda m: m.stem.conv,
    "method": lambda m: m.stem.conv.forward,
    "block": lambda m: m.body,
    "container": lambda m: m.body._modules,
    "container of the network": lambda m: m._modules,
    "items": lambda m: m._modules.items(),
    "iterator": lambda m: iter(m._modules.values()),
    "state of a layer": lambda m: vars(m.stem.conv),
    "hooks": lambda m: m.stem.conv._forward_hooks,
    "alias": lambda m: m.fc.weight.detach(),
    "data": lambda m: m.fc.weight.data,
    "view": lambda m: m.fc.weight[0],
    "storage": lambda m: m.fc.weight.untyped_storage(),
    "array": lambda m: m.fc.weight.detach().numpy(),
    "state_dict": lambda m: m.state_dict(),
    "optimiser": lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
    "weak reference": lambda m: weakref.ref(m.fc.weight),
    "weak reference to a layer": lambda m: weakref.ref(m.fc),
    "proxy of a layer": lambda m: weakref.proxy(m.fc),
    "graph": lambda m: m.train()(picture()).out,
    "node of a graph": lambda m: (m.fc.weight + 0).grad_fn.next_functions[0][0],
    "another attribute": lambda m: setattr(m.stem.bn, "friend", [m.fc]),
}


@pytest.mark.parametrize(
    ("name", "before"),
    [(name, True) for name in HOLDERS]
    + [(name, False) for name in ("parameter", "container of the network", "alias", "array")],
)
def test_who_holds_a_part_keeps_the_seal_off(name: str, before: bool) -> None:
    fast, plain = pair() if before else sealed()
    held = HOLDERS[name](fast)
    fast.eval()
    assert len(fast)  # opens it, as a container held of a sealed network does when it is read
    run(fast)
    assert not fast._live.sealed
    if isinstance(held, torch.Tensor) and held.is_leaf:
        with torch.no_grad():
            held.view(-1)[0] += 3
        assert_follows(fast, plain)


def _array(module: Any) -> Any:
    array = module.stem.conv.weight.detach().numpy().copy()
    module.stem.conv.weight.data = torch.from_numpy(array)
    return array


def _buffer(module: Any) -> Any:
    array = module.stem.conv.weight.detach().numpy().copy()
    memory = torch.frombuffer(array, dtype=torch.float32).view(array.shape)
    module.stem.conv.weight = nn.Parameter(memory)
    return array


def _shared(module: Any) -> Any:
    """What another process may write: here a second mapping of the same memory does."""
    weight = module.stem.conv.weight.data.share_memory_()
    ctypes_array = (ctypes.c_float * weight.numel()).from_address(weight.data_ptr())
    return np.frombuffer(ctypes_array, dtype=np.float32).reshape(weight.shape)


@pytest.mark.parametrize("taken", [_array, _buffer, _shared])
def test_memory_that_others_own_keeps_the_seal_off(taken: Callable[[Any], Any]) -> None:
    """Also if they write to a few numbers that no look at some of them would see."""
    fast, plain = pair()
    array = taken(fast)
    with torch.no_grad():
        for _ in range(12):
            fast(picture())
    assert not fast._live.sealed
    array[2, 1] *= -3
    assert_follows(fast, plain)


def test_writes_to_the_memory_itself_are_seen() -> None:
    """As another process makes them to shared memory: nothing of the network is opened."""
    fast, plain = pair()
    memory = (ctypes.c_float * 40).from_address(fast.fc.weight.data_ptr())
    run(fast)
    assert fast._live.sealed
    memory[:] = [2 * number for number in memory]
    with torch.no_grad():
        found = fast(picture()).out
    plain.load_state_dict(fast.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(found, plain(picture()).out, rtol=1e-5, atol=1e-5)


def test_writes_to_one_of_many_tensors_are_seen() -> None:
    """Some forwards later, as each looks at a few; and what was seen is not forgotten."""
    net = cnndsl.loads("net N: [3, 6, 6] = conv(4, 3)^50 -> gap -> flatten -> fc: linear(5)").net()
    fast: Any = net.compile().eval()
    memory = (ctypes.c_float * 20).from_address(fast.fc.weight.data_ptr())
    x = torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        for _ in range(12):
            before = fast(x)
        assert fast._live.sealed
        memory[:] = [number + 1 for number in memory]
        found = [fast(x) for _ in range(40)]
    assert not any(torch.equal(y, before) for y in found[20:])


def test_a_mode_that_is_set_again_opens_nothing() -> None:
    """As who calls ``eval`` before every forward."""
    fast, _ = sealed()
    assert fast.eval() is fast
    assert fast._live.sealed
    fast.train()
    assert fast.fc.training and not fast._live.sealed


def test_what_was_let_go_no_longer_matters() -> None:
    fast, _ = pair()
    for name in ("parameter", "state_dict", "view", "container"):
        HOLDERS[name](fast)
    run(fast)
    assert fast._live.sealed


def test_every_access_opens() -> None:
    """What a dict has that neither reads nor writes it may stay the dict's own."""
    own = {
        *("__new__", "__init__", "__class__", "__doc__", "__sizeof__", "__hash__", "__reduce__"),
        *("__reduce_ex__", "__getattribute__", "__setattr__", "__delattr__", "__dir__", "__str__"),
        *("__format__", "__subclasshook__", "__init_subclass__", "__class_getitem__", "fromkeys"),
        *("__lt__", "__le__", "__gt__", "__ge__", "__getstate__"),
    }
    assert set(dir(dict)) <= own | set(OPENING)
    for look in (
        bool,
        list,
        dict,
        repr,
        lambda d: {**d},
        lambda d: d | {},
        copy.copy,
        pickle.dumps,
    ):
        network = nn.Sequential(nn.ReLU())
        plain = network._modules
        seal = Seal(network)
        assert network._modules is not plain
        look(network._modules)
        assert not seal.whole and network._modules is plain


def test_two_seals_on_one_network() -> None:
    """As two threads may set them: the first is broken, and neither hides the containers."""
    network = nn.Sequential(nn.ReLU())
    plain = network._modules
    first = Seal(network)
    second = Seal(network)
    assert not first.whole and second.whole
    first.open()
    assert network.__dict__["_modules"] is not plain
    assert len(network) == 1 and network._modules is plain and not second.whole


def test_contents_come_through() -> None:
    fast, plain = sealed()
    children = fast._modules
    assert len(children) == len(plain._modules)
    fast, plain = sealed()
    assert list(fast.state_dict()) == list(plain.state_dict())
    fast, plain = sealed()
    assert repr(fast) == repr(plain)
    fast, plain = sealed()
    fast.extra = nn.ReLU()
    assert "extra" in dict(fast.named_children())


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies(twin: Callable[[Any], Any]) -> None:
    fast, plain = sealed()
    other = twin(fast)
    with torch.no_grad():
        torch.testing.assert_close(other(picture()).out, plain(picture()).out)
        other.fc.weight.mul_(2)
    assert type(other.body._modules) is dict
    run(fast)
    assert_follows(fast, plain)


def test_tracers_come_through() -> None:
    fast, _ = sealed()
    with torch.no_grad():
        expected = fast(picture()).out
        compiled = torch.compile(fast, backend="eager")
        for _ in range(3):
            torch.testing.assert_close(compiled(picture()).out, expected, rtol=1e-4, atol=1e-5)
            run(fast, 4)
        fast.fc.weight.mul_(2)
        torch.testing.assert_close(compiled(picture()).out, fast(picture()).out)


def test_looks_for_a_seal_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(Seal, "is_tight", lambda *args: asked.append(1))
    fast, _ = pair()
    run(fast, 100)
    assert 3 <= len(asked) <= 7


def test_networks_without_numbers() -> None:
    fast = cnndsl.loads("net N: [3, H, W] = relu -> gap").net().compile().eval()
    run(fast)
    assert fast._live.sealed and fast._live.refused == ""


def test_a_sealed_network_is_let_go() -> None:
    fast, _ = sealed()
    gone = weakref.ref(fast)
    del fast
    gc.collect()
    assert gone() is None
