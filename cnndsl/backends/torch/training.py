"""Steps of a training forward that nobody looks at: written over, and laid out, as is faster.

Activations and sums are written over what they read where nothing else reads it, as
`inplace=True` and `out += x` do; no number changes. Maps lie in memory as the convolution that
reads them is faster; that changes numbers by rounding, as PyTorch has other kernels for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnndsl.engines.live.watch import is_called_plainly
from cnndsl.ops import modules

LAST = torch.channels_last
_PAYS = 0.25
"""Numbers that a convolution takes and gives, for each of its weights, from which on channels last
is faster: its weights and their gradient are turned at each step. Single convolutions are slower so
for few numbers (0.23 to 0.99 times as fast) and faster for many (0.93 to 3 times); whole networks
decided between the two, as their 1x1 convolutions gain too. Weights of one pixel lie in both
layouts alike, and such a convolution takes either as it comes."""
_MAKERS: frozenset[type[nn.Module]] = frozenset((
    nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d,
    modules.PaddedConv2d, modules.ChannelLinear,
))  # fmt: skip
"""Layers that make a new value, which their gradients do not read. A sum is another."""
_OVER: dict[type[nn.Module], Callable[[Any, Tensor], Tensor | None]] = {
    nn.ReLU: lambda layer, x: functional.relu(x, inplace=True),
    nn.ReLU6: lambda layer, x: _clamped(layer, x),
}
"""Activations over what they read, or None where they are faster as they are. The gradients read
the result."""
_LIMITS = (0.0, 6.0)
_LARGE = 2**19
"""Numbers from which on a gradient in Python (15 microseconds) is cheaper than a copy."""
_FORWARDS = {kind: kind.forward for kind in (*_MAKERS, *_OVER)}
"""What is known of a class holds for its own ``forward``, not for one that took its place."""
_CALL = nn.Module.__call__


class Step(Protocol):
    """A call of one namespace. ``alone``: positions of what only it reads; ``lends``: whether its
    result is such."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    alone: tuple[int, ...]
    lends: bool


class Steps:
    """The steps of one namespace in one forward. ``layouts``: maps may be laid out."""

    def __init__(self, *, layouts: bool) -> None:
        self._layouts = layouts
        self._own: set[int] = set()
        """Values that only their reader sees, not even the gradients of what made them."""

    def run(self, step: Step, target: Any, arguments: list[Any]) -> Any:
        """``target(*arguments)``, or what is equal to it."""
        # Asked first: a hook may see this very call and be gone behind it.
        layer, sums = _is_known(target), target is modules.add
        found = self._over(step, target, arguments) if step.alone and (layer or sums) else None
        if found is None:
            if self._layouts and isinstance(target, nn.Conv2d):
                arguments[0] = laid_out(target, arguments[0])
            # `Module.__call__` would ask for hooks once more.
            found = target.forward(*arguments) if layer else target(*arguments)
        # The sum of one is that one.
        if step.lends and (type(target) in _MAKERS if layer else sums and len(arguments) > 1):
            self._own.add(step.writes[0])
        return found

    def _over(self, step: Step, target: Any, arguments: Sequence[Any]) -> Tensor | None:
        """The result, written over an argument; None if it is not to be."""
        activation = _OVER.get(type(target))
        if activation is None and target is not modules.add:
            return None
        free = [at for at in step.alone if step.reads[at] in self._own]
        if not free or not all(map(_has_one_layout, arguments)):
            return None
        return activation(target, arguments[0]) if activation else _added(arguments, free[0])


def _is_known(target: Any) -> bool:
    """Whether a call of this is that of a layer as PyTorch or we wrote it, and nobody looks on."""
    kind = type(target)
    own = _FORWARDS.get(kind)
    return (
        own is not None
        and kind.forward is own
        and kind.__call__ is _CALL
        and is_called_plainly(target)
    )


class _ReLU6(torch.autograd.Function):
    """``hardtanh`` from 0 to 6 over its input, without the copy of it that PyTorch makes.

    PyTorch's gradient asks where the input was between the limits. That is where the result is: a
    limit given back is a limit or was beyond it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        functional.hardtanh(x, *_LIMITS, inplace=True)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        found: Tensor = torch.ops.aten.hardtanh_backward(gradient, y, *_LIMITS)
        return found


def _clamped(layer: nn.ReLU6, x: Tensor) -> Tensor | None:
    """None for limits that a dtype may not hold: the result would be beside them."""
    if (layer.min_val, layer.max_val) != _LIMITS:
        return None
    if not x.requires_grad:
        return functional.hardtanh(x, *_LIMITS, inplace=True)
    if x.numel() < _LARGE:
        return None
    found: Tensor = _ReLU6.apply(x)  # type: ignore[no-untyped-call]
    return found


def _has_one_layout(x: Any) -> bool:
    """A tensor whose strides PyTorch keeps: maps of one channel or pixel lie in both layouts at
    once, and it gives a new value the strides of either."""
    return type(x) is Tensor and x.is_contiguous() is not x.is_contiguous(memory_format=LAST)


def _added(arguments: Sequence[Any], free: int) -> Tensor | None:
    """The sum of two over the one that is free, if they lie in memory in the same way."""
    if len(arguments) != 2:
        return None
    x: Tensor = arguments[free]
    other = arguments[1 - free]
    if (x.dtype, x.shape, x.stride()) != (other.dtype, other.shape, other.stride()):
        return None
    return x.add_(other)


def laid_out(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A map ``[N, C, H, W]`` in the layout in which this convolution trains faster."""
    if x.dim() != 4 or convolution.kernel_size == (1, 1):
        return x
    weight, (down, right) = convolution.weight, convolution.stride
    outputs = len(x) * convolution.out_channels * (x.shape[2] // down) * (x.shape[3] // right)
    faster = x.numel() + outputs > _PAYS * weight.numel()
    return x.contiguous(memory_format=LAST if faster else torch.contiguous_format)


def as_usual(found: Any, *, layouts: bool) -> Any:
    """A result as PyTorch's layers give it: in the layout that follows from the inputs', though
    another was chosen (``layouts``), and free to be written over, though it was itself."""
    if isinstance(found, Tensor):
        y = found.contiguous() if layouts else found
        return y.clone() if _may_be_kept(y) else y
    if hasattr(found, "_make"):  # a named tuple
        return found._make(as_usual(y, layouts=layouts) for y in found)
    return found


def _may_be_kept(y: Tensor) -> bool:
    """Whether this, or what it is a view of, may be what ``_ReLU6`` keeps for its gradient."""
    return y.grad_fn is not None and y._version > 0
