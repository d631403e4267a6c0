"""What ran last runs again only for an input of its kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.engines.test_live import assert_follows, pair, picture


def test_another_dtype_after_many_forwards_is_refused_as_in_pytorch() -> None:
    """What ran last is not taken for an input of its shape alone."""
    fast, plain = pair()
    with torch.no_grad():
        for _ in range(20):
            fast(picture())
        assert fast._live.sealed
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
    fast, plain = pair()
    with torch.no_grad():
        for _ in range(20):
            fast(picture())
        for module in (fast, plain):
            with pytest.raises((TypeError, AttributeError)) as refused:
                module(picture().numpy())
            assert "layout" not in str(refused.value)
