"""Steps of a training forward: in which layout maps lie."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cnndsl.backends.torch.training import as_usual, laid_out
from tests.backends.trained import LAST, assert_same, picture
from tests.engines.live.twins import in_training


@pytest.mark.parametrize(
    ("convolution", "size", "batch", "last"),
    [
        (nn.Conv2d(4, 4, 3, padding=1), 3, 1, True),
        (nn.Conv2d(4, 32, 3, padding=1), 3, 1, True),
        (nn.Conv2d(4, 4, 3, padding=1), 2, 1, False),
        (nn.Conv2d(4, 4, 3, padding=1), 2, 2, True),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2), 3, 1, False),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2, groups=4), 3, 1, True),
        (nn.Conv2d(4, 8, 3, padding=1, stride=2), 4, 1, True),
        (nn.Conv2d(4, 16, 5, padding=2), 4, 1, False),
    ],
)
def test_where_it_pays(convolution: nn.Conv2d, size: int, batch: int, last: bool) -> None:
    """As soon as 0.25 numbers are read or made for each weight, whatever layout the map has."""
    x = picture(4, size, batch)
    for given in (x, x.contiguous(memory_format=LAST)):
        found = laid_out(convolution, given)
        assert torch.equal(found, x)
        assert found.is_contiguous(memory_format=LAST if last else torch.contiguous_format)


def test_one_pixel_takes_either() -> None:
    x = picture(4, 8)
    for given in (x, x.contiguous(memory_format=LAST), x[0]):
        assert laid_out(nn.Conv2d(4, 400, 1), given) is given


def test_wide_late_layers_lie_as_usual() -> None:
    """The first convolution gets its map channels last, the second turns it back."""
    ours, plain = in_training(
        "net N: [4, H, W] = a: conv(64, 3, stride=2) -> b: conv(64, 3, stride=2)"
    )
    plain.a.register_forward_pre_hook(lambda _, x: (x[0].contiguous(memory_format=LAST),))
    plain.b.register_forward_pre_hook(lambda _, x: (x[0].contiguous(),))
    assert_same(ours, plain, picture())


def test_results_lie_as_usual() -> None:
    turned = picture().contiguous(memory_format=LAST)
    assert as_usual(turned, layouts=True).is_contiguous()
    assert as_usual(turned, layouts=False) is turned
    assert as_usual(None, layouts=True) is None
    plain = (torch.ones(1), "text")
    assert as_usual(plain, layouts=True) is plain


def test_results_are_copied_only_if_a_gradient_may_read_them() -> None:
    wanted = picture().requires_grad_() * 1
    unwanted = picture().mul_(2)
    with torch.inference_mode():
        uncounted = picture()
    for y in (wanted, unwanted, uncounted):
        assert as_usual(y, layouts=False) is y
    wanted.mul_(2)
    assert as_usual(wanted, layouts=False) is not wanted
