"""An optimised module and its plain twin, and what tests ask of the two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import cnndsl

TEXT = """\
block Unit(c) = conv: conv(c, 3) -> bn: bn -> relu
net N(classes = 5): [3, H, W] =
  stem: Unit(8) -> (id + body: Unit(8)) -> emit[train] aux: (gap -> flatten -> fc: linear(3))
  -> gap -> flatten -> fc: linear(classes)
"""


def pair() -> tuple[Any, Any]:
    """An optimised module and its plain twin, with statistics as after some training."""
    net = cnndsl.loads(TEXT).net()
    fast, plain = net.compile().eval(), net.compile(optimize=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in fast.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.1)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


def in_training(text: str) -> tuple[Any, Any]:
    """The same of another text, with the same numbers, in training mode."""
    net = cnndsl.loads(text).net()
    ours, plain = net.compile(), net.compile(optimize=0)
    plain.load_state_dict(ours.state_dict())
    return ours.train(), plain.train()


def picture(seed: int = 0, batch: int = 2, size: int = 9) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def assert_follows(fast: Any, plain: Any, x: Tensor | None = None) -> None:
    """The engine answers, with what the plain module of the same parameters gives."""
    x = picture() if x is None else x
    plain.load_state_dict(fast.state_dict())
    with torch.no_grad():
        found, expected = fast(x), plain(x)
    assert fast._live.refused == ""
    torch.testing.assert_close(found.out, expected.out, rtol=1e-5, atol=1e-5)
    assert found.aux is None and expected.aux is None


def run(fast: Any, times: int = 13) -> None:
    x = picture()
    with torch.no_grad():
        for _ in range(times):
            fast(x)


def sealed() -> tuple[Any, Any]:
    fast, plain = pair()
    run(fast, 5)
    assert fast._live.sealed
    return fast, plain
