"""In training maps lie as is faster, where nobody counts on a layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import cnndsl
from cnndsl.engines.live.training import Freedom
from tests.engines.live.twins import in_training

TEXT = (
    "net N: [4, H, W] = conv(8, 3) -> bn -> relu -> (id + conv(8, 3)) -> emit[train] a: id"
    " -> conv(6, 3) -> bn"
)
LAST = torch.channels_last


def pair(text: str = TEXT) -> tuple[Any, Any]:
    return in_training(text)


def inputs(size: int = 16, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 4, size, size, generator=torch.Generator().manual_seed(0))


def seen_by(network: Any, *given: Any) -> torch.Tensor:
    """What the first convolution gets. No hook looks on: it would keep maps as they are."""
    found: list[torch.Tensor] = []
    forward = nn.Conv2d._conv_forward

    def noted(self: nn.Conv2d, x: torch.Tensor, *others: Any) -> torch.Tensor:
        found.append(x)
        return forward(self, x, *others)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nn.Conv2d, "_conv_forward", noted)
        network(*given)
    return found[0]


def free(network: Any, *given: torch.Tensor) -> Freedom:
    found: Freedom = network._live.freedom(network, given or [inputs()])
    return found


def test_as_pytorch_channels_last_to_the_bit() -> None:
    ours, plain = pair()
    x = inputs()
    assert seen_by(ours, x).is_contiguous(memory_format=LAST)
    plain(x.contiguous(memory_format=LAST))
    results = ours(x), plain(x.contiguous(memory_format=LAST))
    for found in results:
        sum(y.square().mean() for y in found).backward()
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    both = zip(ours.named_parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(mine.grad, its.grad) for (_, mine), its in both)
    assert all(map(torch.equal, ours.buffers(), plain.buffers()))


def test_results_lie_as_usual() -> None:
    """Who calls `.view` on a result may go on to."""
    ours, plain = pair()
    found, usual = ours(inputs()), plain(inputs())
    assert found._fields == usual._fields
    assert [y.stride() for y in found] == [y.stride() for y in usual]
    single, _ = pair("net N: [4, H, W] = conv(8, 3)")
    assert single(inputs()).is_contiguous()


def test_maps_beside_vectors() -> None:
    ours, plain = pair("net N: [4, H, W] a, [8] b = (a -> c: conv(8, 3) -> gap -> flatten) + b")
    x, gate = inputs(), torch.randn(2, 8)
    torch.testing.assert_close(ours(x, gate), plain(x, gate))
    assert seen_by(ours, x, gate).is_contiguous(memory_format=LAST)


def test_operators_of_others_get_what_they_know(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = pair()
    op = next(node.op for node in ours._live.recipe.graph if node.op.name == "relu")
    monkeypatch.setattr(type(op), "__module__", "elsewhere.ops")
    assert free(ours) is Freedom.NONE


@pytest.mark.parametrize(
    "given",
    [
        inputs().double(),
        inputs().contiguous(memory_format=LAST),
        inputs().half(),
        inputs().requires_grad_(),
    ],
    ids=["double", "channels last", "half", "gradients"],
)
def test_what_is_left_as_it_is(given: torch.Tensor) -> None:
    ours, _ = pair()
    assert free(ours, given) is Freedom.OVER


def test_a_map_of_one_channel() -> None:
    """It lies in both layouts at once, and PyTorch takes it for what it was before."""
    ours, plain = pair(TEXT.replace("[4,", "[1,"))
    x = inputs()[:, :1].contiguous()
    for mine, its in zip(ours(x), plain(x), strict=True):
        torch.testing.assert_close(mine, its)
        assert mine.stride() == its.stride()


def test_foreign_layers_get_what_they_know() -> None:
    class Viewing(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.view(-1).view(x.shape))

    ours, _ = pair()
    name = next(n for n, m in ours.named_modules() if isinstance(m, nn.Conv2d))
    ours.set_submodule(name, Viewing(4, 8, 3, padding=1))
    ours(inputs())
    assert seen_by(ours, inputs()).is_contiguous()


def test_hooks_get_what_they_know() -> None:
    """Who calls `.view` in a hook may go on to; also of gradients, and on all modules at once."""
    ours, _ = pair()
    assert free(ours) is Freedom.LAYOUTS
    last = [m for m in ours.modules() if isinstance(m, nn.Conv2d)][-1]
    everywhere = nn.modules.module
    for register in (
        last.register_forward_hook,
        last.register_forward_pre_hook,
        last.register_full_backward_hook,
        last.register_full_backward_pre_hook,
        everywhere.register_module_forward_hook,
        everywhere.register_module_forward_pre_hook,
        everywhere.register_module_full_backward_hook,
        everywhere.register_module_full_backward_pre_hook,
    ):
        handle = register(lambda *_: None)
        assert free(ours) in (Freedom.NONE, Freedom.OVER)
        handle.remove()
    assert free(ours) is Freedom.LAYOUTS
    handle = last.weight.register_hook(lambda gradient: gradient.view(-1).view(gradient.shape))
    ours(inputs()).out.sum().backward()
    handle.remove()
    assert free(ours) is Freedom.LAYOUTS


def test_patched_layers_and_layouts_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = pair()
    first = next(m for m in ours.modules() if isinstance(m, nn.Conv2d))
    with monkeypatch.context() as patched:
        patched.setattr(first, "forward", first.forward)
        assert free(ours) is Freedom.OVER
        patched.undo()
        patched.setattr(first, "_compiled_call_impl", first.forward)
        assert free(ours) is Freedom.OVER
        patched.undo()
        patched.setattr(torch.backends.mkldnn, "enabled", False)
        assert free(ours) is Freedom.OVER
    with torch.autocast("cpu"):
        assert free(ours) is Freedom.NONE
    assert free(ours) is Freedom.LAYOUTS
    ours.to(memory_format=LAST)
    assert free(ours) is Freedom.OVER


def test_other_tensors_are_given_to_the_layers() -> None:
    class Other(torch.Tensor):
        pass

    ours, _ = pair()
    assert free(ours, inputs().as_subclass(Other)) is Freedom.NONE


def test_eval_mode_and_the_plain_module_do_not_change_layout() -> None:
    ours, plain = pair()
    assert seen_by(plain, inputs()).is_contiguous()
    assert seen_by(ours.eval(), inputs()).is_contiguous()


def test_transforms_see_the_plain_module() -> None:
    net = cnndsl.loads("net N: [4, H, W] = conv(8, 3) -> relu").net()
    ours = net.compile().train()
    x = inputs(batch=6)
    found = torch.func.vmap(ours)(x.unflatten(0, (3, 2)))
    torch.testing.assert_close(found.flatten(0, 1), ours(x))


@pytest.mark.parametrize(
    "given", [(), (inputs(), inputs()), (inputs()[:, :3].contiguous(),), (inputs()[0],)]
)
def test_errors_are_those_of_the_plain_module(given: tuple[torch.Tensor, ...]) -> None:
    ours, plain = pair()
    told = []
    for network in (ours, plain):
        with pytest.raises((TypeError, RuntimeError, ValueError)) as problem:
            network(*given)
        told.append(str(problem.value))
    assert told[0] == told[1]
