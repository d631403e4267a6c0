"""All the ways to change a module that came up: a table for ``test_changes``.

Each is done to a fast module and to its plain twin. ``NUMBERS`` are followed by the engine;
``LAYERS``, with what is told, only by the plain module.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import cnndsl

TEXT = """\
block Unit(c) = conv: conv(c, 3) -> bn: bn -> act: relu
net N(classes = 8): [3, H, W] =
  stem: Unit(8) -> (id + body: Unit(8)) -> drop: dropout(0.5)
  -> gap -> flatten -> fc: linear(classes)
"""
NET = cnndsl.loads(TEXT).net()

Change = Callable[[Any], Any]
NUMBERS: dict[str, Change] = {}
LAYERS: dict[str, tuple[Change, str]] = {}


def number(change: Change) -> Change:
    NUMBERS[change.__name__] = change
    return change


def layer(told: str) -> Callable[[Change], Change]:
    def entered(change: Change) -> Change:
        LAYERS[change.__name__] = change, told
        return change

    return entered


# --- numbers --------------------------------------------------------------------------------------


@number
def negated_data(m: Any) -> None:
    m.fc.weight.data.neg_()


@number
def doubled_data(m: Any) -> None:
    m.fc.weight.data.mul_(2)


@number
def one_filter_of_data(m: Any) -> None:
    m.stem.conv.weight.data[2].zero_()


@number
def filters_in_another_order(m: Any) -> None:
    weight = m.body.conv.weight.data
    weight.copy_(weight.flip(0))


@number
def clamped_data(m: Any) -> None:
    m.body.conv.weight.data.clamp_(max=0.9)


@number
def round_numbers(m: Any) -> None:
    m.stem.bn.weight.data.fill_(0.5)


@number
def rounded_to_bfloat16(m: Any) -> None:
    for parameter in m.parameters():
        parameter.data.copy_((parameter.data * 0.7).bfloat16().float())


@number
def doubled_by_numpy(m: Any) -> None:
    m.fc.weight.detach().numpy()[:] *= 2


@number
def through_dlpack(m: Any) -> None:
    np.from_dlpack(m.fc.weight.detach())[2:5] = 0


@number
def through_storage(m: Any) -> None:
    m.fc.weight.untyped_storage().copy_((m.fc.weight.detach() * 2).untyped_storage())


@number
def through_a_weak_storage(m: Any) -> None:
    storage = m.fc.weight.untyped_storage()._weak_ref()
    found = torch.UntypedStorage._new_with_weak_ptr(storage)
    torch.empty(0).set_(found, 0, (8, 8)).mul_(2)


@number
def uncounted_on_purpose(m: Any) -> None:
    with torch.no_grad(), torch.autograd._unsafe_preserve_version_counter(m.fc.weight):
        m.fc.weight[1] = 0


@number
def in_inference_mode(m: Any) -> None:
    with torch.inference_mode():
        m.fc.weight.mul_(2)


@number
def transposed_data(m: Any) -> None:
    m.body.conv.weight.data = m.body.conv.weight.data.transpose(2, 3)


@number
def expanded_data(m: Any) -> None:
    m.fc.weight.data = m.fc.weight.data[:1].expand(8, 8)


@number
def fused_optimiser(m: Any) -> None:
    """In eval mode, as one trains on frozen statistics; it counts nothing."""
    optimiser = torch.optim.SGD([m.fc.bias], lr=0.5, fused=True)
    m(torch.ones(1, 3, 9, 9)).square().mean().backward()
    optimiser.step()


@number
def another_layer_like_it(m: Any) -> None:
    m.fc = filled(nn.Linear(8, 8)).eval()


@number
def another_container_of_parameters(m: Any) -> None:
    held = m.fc._parameters.items()
    m.fc.__dict__["_parameters"] = {k: nn.Parameter(v.detach() * 2) for k, v in held}


@number
def another_container_of_layers(m: Any) -> None:
    m._modules = {**m._modules, "fc": filled(nn.Linear(8, 8)).eval()}


@number
def a_container_put_in_place(m: Any) -> None:
    """Without a look at the one before."""
    m.__dict__["_modules"] = filled(NET.compile(optimize=0).eval())._modules


@number
def another_state(m: Any) -> None:
    m.fc.__setstate__(filled(nn.Linear(8, 8)).eval().__dict__)


def filled(module: Any) -> Any:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.2)
    return module


# --- layers ---------------------------------------------------------------------------------------


@layer("`stem.bn` has another `eps`")
def setting_of_a_norm(m: Any) -> None:
    m.stem.bn.eps = 3.0


@layer("`stem.conv` has another `stride`")
def stride(m: Any) -> None:
    m.stem.conv.stride = (2, 2)


@layer("`body.conv` has another `padding`")
def padding_and_dilation(m: Any) -> None:
    m.body.conv.padding = m.body.conv.dilation = (2, 2)


@layer("`stem.conv` has another `padding_mode`")
def padding_mode(m: Any) -> None:
    m.stem.conv.padding_mode = "circular"


@layer("`stem.conv` has a `forward` of its own")
def patched_forward(m: Any) -> None:
    forward = m.stem.conv.forward
    m.stem.conv.forward = lambda x: forward(x) * 3


@layer("`stem.conv` is of class Thrice now")
def another_class(m: Any) -> None:
    class Thrice(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 3

    m.stem.conv.__class__ = Thrice


@layer("hooks wait")
def another_container_of_hooks(m: Any) -> None:
    m.stem.conv._forward_hooks = OrderedDict({1: lambda module, args, result: result * 2})


@layer("`stem.act` is of class Tanh now")
def activation(m: Any) -> None:
    m.stem.act = nn.Tanh().eval()


@layer("`stem.conv` has another `stride`")
def convolution_with_the_same_keys(m: Any) -> None:
    other = nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False)
    other.load_state_dict(m.stem.conv.state_dict())
    m.stem.conv = other.eval()


class LowRank(nn.Linear):
    def __init__(self, other: nn.Linear) -> None:
        super().__init__(8, 8)
        self.load_state_dict(other.state_dict())
        self.a = nn.Parameter(torch.full((8, 8), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.a


@layer("`fc` is of class LowRank now")
def adapter(m: Any) -> None:
    m.fc = LowRank(m.fc).eval()


@layer("`stem.bn` is of class Identity now")
def norm_left_out(m: Any) -> None:
    m.stem.bn = nn.Identity().eval()


@layer("`fc` is of class Sequential now")
def head_of_layers(m: Any) -> None:
    m.fc = filled(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))).eval()


@layer("`fc` has another `out_features`")
def narrower_head(m: Any) -> None:
    m.fc = filled(nn.Linear(8, 2)).eval()


@layer("`fc` has another `bias`")
def no_bias(m: Any) -> None:
    m.fc.bias = None


@layer("`fc` has another `")
def fewer_rows(m: Any) -> None:
    for parameter in (m.fc.weight, m.fc.bias):
        parameter.data = parameter.data[:3]


@layer("`body.bn` has another `")
def no_statistics(m: Any) -> None:
    m.body.bn.running_mean = m.body.bn.running_var = None


@layer("`fc` is of class ParametrizedLinear now")
def parametrised(m: Any) -> None:
    class Double(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 2

    parametrize.register_parametrization(m.fc, "weight", Double())
    m.eval()


@layer("`fc` is of class ParametrizedLinear now")
def weight_norm(m: Any) -> None:
    parametrizations.weight_norm(m.fc)
    with torch.no_grad():
        m.fc.parametrizations.weight.original0.mul_(2)
    m.eval()


@layer("`fc` has a `weight` of its own")
def bare_tensor(m: Any) -> None:
    weight = m.fc.weight.detach()
    del m.fc.weight
    m.fc.weight = weight * 2


class Doubling(Tensor):
    @classmethod
    def __torch_function__(cls, function: Any, _: Any, args: Any = (), named: Any = None) -> Any:
        plain = [a.as_subclass(Tensor) if isinstance(a, Tensor) else a for a in args]
        result = function(*plain, **(named or {}))
        return result * 2 if function is nn.functional.linear else result


@layer("a parameter is not a plain tensor")
def subclass(m: Any) -> None:
    weight = m.fc.weight.detach().as_subclass(Doubling)
    m.fc._parameters["weight"] = weight


@layer("`body` has other parts")
def block_without_a_label(m: Any) -> None:
    m.body.extra = nn.ReLU().eval()
    m.fc.weight.data.mul_(2)
