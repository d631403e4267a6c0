"""What ran last runs again only for an input of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cnndsl.backends.torch.module import Network
from cnndsl.engines.live.seal import CONTAINERS
from tests.engines.live.twins import assert_follows, pair, picture


def many_times() -> tuple[Any, Any]:
    """As ``pair``; the first has run so often that only what ran last is looked at."""
    fast, plain = pair()
    with torch.no_grad():
        for _ in range(20):
            fast(picture())
    assert fast._live.sealed
    return fast, plain


def test_another_dtype_after_many_forwards_is_refused_as_in_pytorch() -> None:
    """What ran last is not taken for an input of its shape alone."""
    fast, plain = many_times()
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            plain(picture().half())
        with pytest.raises(RuntimeError):
            fast(picture().half())
    assert_follows(fast, plain)


class Named(Tensor):
    """A plain tensor by another name, whose class may look at every operation."""


def wanting(x: Tensor) -> Tensor:
    return x.requires_grad_()


def negative(x: Tensor) -> Tensor:
    found: Tensor = torch._neg_view(-x)
    assert found.is_neg()
    return found


def named(x: Tensor) -> Tensor:
    return x.as_subclass(Named)


@pytest.mark.parametrize("first", [0, 20])
@pytest.mark.parametrize(
    ("given", "reason"),
    [(wanting, "gradients"), (negative, "negative"), (named, "plain tensor")],
)
def test_an_input_like_the_last_but_for_one_thing(
    given: Callable[[Tensor], Tensor], reason: str, first: int
) -> None:
    """Also of a sealed module, where nothing else is looked at."""
    fast, plain = pair()
    fast.requires_grad_(False)
    for _ in range(first):
        fast(picture())
    fast(picture())
    if given is wanting:
        with torch.no_grad():
            fast(picture().requires_grad_())  # of no account here
    assert fast._live.refused == "" and fast._live.sealed == (first > 0)
    found = fast(given(picture()))
    assert reason in fast._live.refused
    torch.testing.assert_close(found.out.detach(), plain(picture()).out.detach())
    if given is wanting:
        assert found.out.requires_grad


def test_what_is_no_tensor_is_refused_as_in_pytorch() -> None:
    fast, plain = many_times()
    with torch.no_grad():
        for module in (fast, plain):
            with pytest.raises((TypeError, AttributeError)) as refused:
                module(picture().numpy())
            assert "layout" not in str(refused.value)


# --- in place of what is called -------------------------------------------------------------------


def marked(function: Callable[..., Any]) -> Callable[..., Any]:
    """One that does the same, and says so."""
    return lambda *inputs: ("marked", function(*inputs))


class Marked(Network):
    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        return "marked", super().forward(*inputs, **named)


def of_the_module(fast: Any, patch: pytest.MonkeyPatch) -> None:
    fast.forward = marked(fast.forward)


def of_its_class(fast: Any, patch: pytest.MonkeyPatch) -> None:
    fast.__class__ = Marked


def of_all_networks(fast: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Network, "forward", marked(Network.forward))


def of_all_modules(fast: Any, patch: pytest.MonkeyPatch) -> None:
    usual = nn.Module.__call__
    special = marked(usual)

    def call(module: nn.Module, *inputs: Any) -> Any:
        return (special if isinstance(module, Network) else usual)(module, *inputs)

    patch.setattr(nn.Module, "__call__", call)


def compiled(fast: Any, patch: pytest.MonkeyPatch) -> None:
    """What ``compile()`` of a module sets."""
    fast._compiled_call_impl = marked(fast._call_impl)


def hooked(fast: Any, patch: pytest.MonkeyPatch) -> None:
    fast.register_forward_hook(lambda module, inputs, result: ("marked", result))


@pytest.mark.parametrize(
    "replace", [of_the_module, of_its_class, of_all_networks, of_all_modules, compiled, hooked]
)
def test_what_stands_in_the_place_of_forward_is_called(
    replace: Callable[[Any, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the module has been sealed again."""
    fast, _ = many_times()
    replace(fast, monkeypatch)
    with torch.no_grad():
        for _ in range(20):
            mark, found = fast(picture())
            assert mark == "marked" and len(found) == 2
    assert fast._live.sealed == (replace is not hooked)


def test_the_plain_layers_run_in_training() -> None:
    """Also of who sets the mode of the network alone, past the seal."""
    fast, _ = many_times()
    fast.__dict__["training"] = True
    with torch.no_grad():
        assert fast(picture()).aux is not None


def test_a_module_with_the_attributes_of_another() -> None:
    """But for its layers, as of a shallow copy that got others."""
    fast, _ = many_times()
    other, _ = many_times()
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(2)
        expected = other(picture()).out
        twin = object.__new__(Network)
        own = {name: other.__dict__[name] for name in CONTAINERS}
        twin.__dict__.update(fast.__dict__ | own)
        assert fast._live.sealed
        torch.testing.assert_close(twin(picture()).out, expected)


def test_a_name_too_many() -> None:
    fast, _ = many_times()
    with torch.no_grad(), pytest.raises(TypeError, match="got nothing"):
        fast(picture(), nothing=picture())


def test_what_is_not_finite_among_others() -> None:
    """Is answered by the plain module."""
    fast, plain = many_times()
    odd = picture()
    odd[0, 0, 0, 0] = float("nan")
    with torch.no_grad():
        found, expected = fast(odd), plain(odd)
    assert "not finite" in fast._live.refused
    torch.testing.assert_close(found.out, expected.out, equal_nan=True)
    assert found.out[0].isnan().all() and not found.out[1].isnan().any()
    assert_follows(fast, plain)
