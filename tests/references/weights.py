"""Deterministic weights for test networks: cheap to make, and sane enough to reveal mistakes.

A test that compares two networks needs weights for which every layer matters: signals that
neither vanish nor explode, and norms whose four vectors all differ from their initial values.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

M = TypeVar("M", bound=nn.Module)

_STATISTICS = {
    "num_batches_tracked": (0.0, 0.0),
    "running_mean": (0.0, 0.1),
    "running_var": (1.0, 0.25),
}

# A prime length keeps the rows of a repeated pattern out of step with any channel count. The
# pattern is stored twice in a row, so that every run of up to that length is one slice.
_POOL_LENGTH = 1_000_003
_UNIFORM = (torch.rand(_POOL_LENGTH, generator=torch.Generator().manual_seed(1)) * 2 - 1).repeat(2)

_DRAWN = {Tensor.normal_, Tensor.uniform_} | {
    function for name, function in vars(nn.init).items() if name.endswith("_") and name[0] != "_"
}


class _Undrawn(TorchFunctionMode):
    """Tensors keep the numbers that their memory had."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function not in _DRAWN:
            return function(*args, **kwargs)
        return args[0] if args else kwargs["tensor"]


@contextmanager
def bare(device: str = "meta") -> Iterator[None]:
    """Modules made inside have shapes and no numbers.

    Nothing is drawn, even on ``meta``: that is done by Python functions there, and was two
    thirds of the time that a network took.
    """
    with torch.device(device), _Undrawn():
        yield


def fill(module: M, seed: int = 0) -> M:
    """Overwrite every parameter and every running statistic of `module`, and return it.

    Each value follows from `seed`, the tensor's name in the `state_dict` and its position, so two
    modules with equal keys and shapes receive equal numbers whatever their classes or order.
    Buffers that are neither running statistics nor counters are constants and stay as they are.
    """
    constants = {name for name, _ in module.named_buffers() if _leaf(name) not in _STATISTICS}
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name in constants:
                continue
            centre, spread = _range(_leaf(name), tensor)
            tensor.copy_(_values(name, seed, tensor).mul_(spread).add_(centre))
    return module


def settle(module: M, example: Tensor) -> M:
    """Scale the running statistics of each batch norm to what `example` brings there.

    Without it the signal doubles at every residual addition and late layers' biases drown. The
    scale is a power of two, so that rounding differences between machines do not reach it.
    """

    def scale(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        power = float(inputs[0].square().mean())
        exponent = round(math.log2(max(power, 1e-30)) / 2)
        norm.running_mean.mul_(2.0**exponent)  # type: ignore[operator]
        norm.running_var.mul_(4.0**exponent)  # type: ignore[operator]

    norms = [m for m in module.modules() if getattr(m, "running_var", None) is not None]
    hooks = [norm.register_forward_pre_hook(scale) for norm in norms]
    was_training = module.training
    with torch.no_grad():
        module.eval()(example)
    module.train(was_training)
    for hook in hooks:
        hook.remove()
    return module


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _range(leaf: str, tensor: Tensor) -> tuple[float, float]:
    """Centre and half-width of the uniform distribution that suits a tensor."""
    if leaf in _STATISTICS:
        return _STATISTICS[leaf]
    if leaf.endswith("bias"):
        return 0.0, 0.1
    fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
    if fan_in == 1:  # gains: norms, PReLU slopes, layer scales
        return 1.0, 0.25
    return 0.0, math.sqrt(6 / fan_in)  # variance 2 / fan_in keeps the power through a ReLU


def _values(name: str, seed: int, tensor: Tensor) -> Tensor:
    """Numbers in [-1, 1) from a fixed pool, repeated: copying beats drawing 10^8 of them."""
    start = (zlib.crc32(name.encode()) + 7919 * seed) % _POOL_LENGTH
    rolled = _UNIFORM[start : start + min(tensor.numel(), _POOL_LENGTH)]
    repeats = -(-tensor.numel() // _POOL_LENGTH)
    return rolled.repeat(repeats)[: tensor.numel()].reshape(tensor.shape)
