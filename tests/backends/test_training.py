"""Steps of a training forward: what is written over."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cnndsl.backends.torch.module import Call
from cnndsl.backends.torch.training import Steps
from cnndsl.engines.live.training import Freedom
from cnndsl.ops.modules import add
from tests.backends.trained import BLOCK, LAST, assert_same, in_layouts, overwritten, picture
from tests.engines.live.twins import in_training
from tests.networks import random_network

pytestmark = pytest.mark.usefixtures("every_map_is_large")


def test_activations_and_sums_write_over_what_only_they_read() -> None:
    ours, plain = in_training(BLOCK)
    assert overwritten(ours, picture()) == [True, True]
    assert overwritten(plain, picture()) == [False, False]
    in_layouts(plain)
    plain.load_state_dict(ours.state_dict())
    assert_same(ours, plain, picture())


def test_a_layout_of_the_user_is_no_obstacle() -> None:
    ours, plain = (network.to(memory_format=LAST) for network in in_training(BLOCK))
    x = picture().contiguous(memory_format=LAST)
    assert_same(ours, plain, x)
    assert overwritten(ours, x) == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        "bn -> (relu + id)",
        "bn -> (id + id) -> relu",
        "bn -> emit a: id -> relu",
        "bn @t -> relu -> conv(4, 3) -> (id + t)",
        "bn -> sigmoid -> relu",
        "bn -> (a: maxpool(3, stride=1, padding=1) + b: relu)",
    ],
)
def test_what_is_read_again_is_kept(body: str) -> None:
    ours, plain = in_training(f"net N: [4, H, W] = {body}")
    in_layouts(plain)
    assert not overwritten(ours, picture())[0]
    plain.load_state_dict(ours.state_dict())
    assert_same(ours, plain, picture())


def test_namespaces_that_run_twice() -> None:
    """The second time its result is read twice, and by an activation."""
    text = "net N: [4, H, W] = u: (conv(4, 3) -> bn -> relu -> bn) -> again u -> (relu + id)"
    ours, plain = in_training(text)
    in_layouts(plain)
    assert overwritten(ours, picture()) == [True, False, True, False]
    plain.load_state_dict(ours.state_dict())
    assert_same(ours, plain, picture())


def test_a_sum_is_written_over_what_lies_as_it_does() -> None:
    """Of a value in each layout the result is PyTorch's, wherever it lies."""
    text = (
        "net N: [4, H, W] = ((a: conv(4, 3) -> sigmoid) + (b: (conv(300, 1) -> conv(4, 3) -> bn)))"
        " -> conv(9, 1) -> bn"
    )
    ours, plain = in_training(text)
    in_layouts(plain)
    assert_same(ours, plain, picture())
    three, simple = in_training("net N: [4, H, W] = bn + bn + conv(4, 3)")
    in_layouts(simple)
    assert_same(three, simple, picture())


@pytest.mark.parametrize("new", [nn.Identity(), nn.Sigmoid(), nn.Dropout(0.0), nn.Sequential()])
def test_other_layers_in_their_places(new: nn.Module) -> None:
    """What hands on its input gives it a second name; what reads its result needs it."""
    ours, plain = in_training("net N: [4, H, W] = conv(4, 3) -> (b: bn -> relu) + sigmoid")
    for network in (ours, plain):
        network.set_submodule("b.0", copy.deepcopy(new))
    in_layouts(plain)
    assert_same(ours, plain, picture())


def test_hooks_see_values_that_stay() -> None:
    """Those of the layer that makes it, of the one that reads it, and of both's namespace."""
    body = "u: (c: conv(4, 3) -> b: bn -> r: relu) -> d: conv(4, 3) -> bn -> relu"
    kept, all_over = [False, True], [True, True]
    for name, expected in {
        "u": kept, "u.b": kept, "u.r": kept, "u.c": all_over, "d": all_over
    }.items():  # fmt: skip
        ours, _ = in_training(f"net N: [4, H, W] = {body}")
        seen: list[Tensor] = []
        part = ours.get_submodule(name)
        handle = part.register_forward_hook(lambda _, x, y, seen=seen: seen.extend((*x, y)))
        assert overwritten(ours, picture()) == expected, name
        assert len(seen) == 2
        handle.remove()
        assert overwritten(ours, picture()) == all_over
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert overwritten(ours, picture()) == [False, False]
    handle.remove()


def test_what_is_patched_or_compiled_is_called() -> None:
    ours, _ = in_training("net N: [4, H, W] = u: (conv(4, 3) -> b: bn -> r: relu)")
    for name in ("u", "u.b", "u.r"):
        for attribute in ("forward", "_compiled_call_impl"):
            part, called = ours.get_submodule(name), []
            forward = type(part).forward.__get__(part)
            setattr(part, attribute, lambda *x, f=forward, c=called: c.append(1) or f(*x))
            assert overwritten(ours, picture()) == [False]
            assert called == [1]
            delattr(part, attribute)
    assert overwritten(ours, picture()) == [True]


def test_a_hook_that_removes_itself_sees_a_value_that_stays() -> None:
    ours, _ = in_training("net N: [4, H, W] = conv(4, 3) -> b: bn -> relu")
    handle = ours.b.register_forward_hook(lambda _, x, y: handle.remove())
    assert overwritten(ours, picture()) == [False]
    assert overwritten(ours, picture()) == [True]


def test_settings_of_an_activation() -> None:
    ours, plain = in_training("net N: [4, H, W] = conv(4, 3) -> bn -> r: relu6 -> id")
    for network in (ours, plain):
        network.r.max_val = 0.5
    in_layouts(plain)
    assert_same(ours, plain, picture())


@pytest.mark.parametrize("kind", [nn.ReLU, nn.BatchNorm2d])
def test_classes_whose_forward_was_exchanged(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, plain = in_training("net N: [4, H, W] = conv(4, 3) -> bn -> relu")
    monkeypatch.setattr(kind, "forward", lambda self, x: x.sigmoid())
    in_layouts(plain)
    assert_same(ours, plain, picture())


@pytest.mark.parametrize("kind", [nn.Module, nn.BatchNorm2d, nn.ReLU])
def test_who_looks_at_calls_of_classes_sees_values_that_stay(
    kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `nn.Module`, those of namespaces too."""
    ours, _ = in_training("net N: [4, H, W] = u: (conv(4, 3) -> b: bn -> r: relu) -> id")
    seen: list[nn.Module] = []

    def noting(part: nn.Module, *given: Any) -> Any:
        seen.append(part)
        return part._wrapped_call_impl(*given)

    monkeypatch.setattr(kind, "__call__", noting)
    assert overwritten(ours, picture()) == [False]
    expected = [ours, ours.u, ours.u[0], ours.u.b, ours.u.r]
    assert seen == [part for part in expected if isinstance(part, kind)]


def test_a_known_layer_is_not_asked_twice_for_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call is its forward; a layer of another class is called."""
    ours, _ = in_training("net N: [4, H, W] = conv(4, 3) -> s: sigmoid -> bn")
    asked: list[str] = []
    original = nn.Module._call_impl

    def noting(part: nn.Module, *given: Any) -> Any:
        asked.append(type(part).__name__)
        return original(part, *given)

    monkeypatch.setattr(nn.Module, "_call_impl", noting)
    ours(picture())
    assert asked == ["Network", "Sigmoid"]


@pytest.mark.parametrize("nothing", [0, torch.tensor(1.0)])
def test_a_branch_that_is_switched_off(nothing: Any) -> None:
    class Off(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return nothing

    ours, plain = in_training("net N: [4, H, W] = (a: conv(4, 3)) + (b: conv(4, 3))")
    for network in (ours, plain):
        network.set_submodule("b", Off())
    assert_same(ours, plain, picture())


def test_a_summand_of_another_class_is_left_to_it() -> None:
    class Other(Tensor):
        pass

    class Casting(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).as_subclass(Other)

    ours, _ = in_training("net N: [4, H, W] = (a: conv(4, 3)) + (b: conv(4, 3))")
    ours.set_submodule("b", Casting(4, 4, 3, padding=1))
    assert type(ours(picture())) is Other


def test_maps_that_lie_in_both_layouts() -> None:
    """PyTorch gives a new value of one channel the strides of either."""
    ours, plain = in_training("net N: [4, H, W] = conv(1, 3) -> relu -> conv(8, 3)")
    in_layouts(plain)
    assert_same(ours, plain, picture())


def test_lazy_and_scripted_layers() -> None:
    ours, plain = in_training("net N: [4, H, W] = u: (c: conv(4, 3) -> b: bn) -> again u.c")
    for network in (ours, plain):
        network.set_submodule("u.b", nn.LazyBatchNorm2d())
        network(picture())
    plain.load_state_dict(ours.state_dict())
    in_layouts(plain)
    assert_same(ours, plain, picture())
    scripted, _ = in_training("net N: [4, H, W] = u: (c: conv(4, 3) -> b: bn) -> again u.c")
    scripted.set_submodule("u", torch.jit.script(Wrapped()))
    assert scripted(picture()).shape == (2, 4, 8, 8)


class Wrapped(nn.Module):
    """A layer of the same name within another module."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.c(x)
        return found


def test_tensors_of_other_classes_are_left_to_them() -> None:
    class Other(Tensor):
        pass

    ours, _ = in_training(BLOCK)
    weight = ours[0].weight
    ours[0].weight = nn.Parameter(weight.detach().as_subclass(Other))
    assert not any(overwritten(ours, picture()))


def test_a_sum_of_one_is_that_one() -> None:
    """No text makes it, but a graph may have it."""
    steps, x = Steps(layouts=False), -picture()
    for function, step in (
        (add, Call((), add, (0,), (1,), (), False, lends=True)),
        (nn.ReLU(), Call((), None, (1,), (2,), (), False, alone=(0,))),
    ):
        found = steps.run(step, function, [x])
    assert torch.equal(found, x.relu())
    assert torch.equal(x, -picture())


def test_copies_and_threads() -> None:
    """Nothing of a forward is kept in the module."""
    ours, plain = in_training(BLOCK)
    in_layouts(plain)
    x = picture()
    expected = plain(x)
    for network in (ours, copy.deepcopy(ours), copy.copy(ours)):
        assert torch.equal(network(x), expected)
        assert overwritten(network, x) == [True, True]

    def work(_: int) -> bool:
        return all(torch.equal(ours(x), expected) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_of_activations(reentrant: bool) -> None:
    """The forward runs again in the backward."""
    gradients = []
    for network in in_training(BLOCK):
        x = picture().requires_grad_()
        checkpoint(network, x, use_reentrant=reentrant).square().mean().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_gradients_of_gradients() -> None:
    penalties = []
    for network in in_training(BLOCK):
        x = picture().requires_grad_()
        (first,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
        penalty = first.square().sum()
        penalty.backward()
        penalties.append([penalty, *(p.grad for p in network.parameters())])
    assert all(map(torch.equal, *penalties))


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed: int) -> None:
    ours, plain = in_training(random_network(seed, tiny=True))
    in_layouts(plain)
    types = [node.type for node in ours._live.recipe.graph.inputs]
    sizes = [x.height if isinstance(x.height, int) else 13 for x in types]
    given = [picture(x.channels, size) for x, size in zip(types, sizes, strict=True)]
    assert ours._live.freedom(ours, given) is Freedom.LAYOUTS
    assert_same(ours, plain, *given)
