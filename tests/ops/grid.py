"""The parameters and inputs that every operator's numbers are compared at."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

import cnndsl
from cnndsl.backends.torch.module import Network

MAP, WIDE, GATE, VECTOR = (4, 7, 9), (12, 5, 4), (4, 1, 1), (12,)
ABSENT = object()
"""Leaves a parameter to its default."""


class Case(NamedTuple):
    """One operator with its parameters as the text spells them, on inputs ``[C, H, W]``."""

    name: str
    params: tuple[tuple[str, Any], ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def text(self) -> str:
        return f"{self.name}({', '.join(f'{k}={_spelled(v)}' for k, v in self.params)})"

    @property
    def id(self) -> str:
        return f"{self.text} on {' '.join(map(str, self.shapes))}".replace("()", "")

    @property
    def program(self) -> str:
        """A net of this operator alone, at the path ``f``."""
        wires = [f"x{i}" for i in range(len(self.shapes))]
        inputs = [f"{list(s)} {w}" for s, w in zip(self.shapes, wires, strict=True)]
        call = self.text.removesuffix("()")
        if self.name == "split":
            names = ", ".join(f"y{i}" for i in range(dict(self.params)["parts"]))
            body = f"let {names} = x0 -> f: {call}\n  {names}"
        elif len(wires) > 1:
            extra = call.removeprefix(self.name).strip("()")
            body = f"{self.name}({', '.join([*wires, *filter(None, [extra])])})"
        else:
            body = f"f: {call}"
        return f"net N: {', '.join(inputs)} =\n  {body}\n"


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


def grid(name: str, *shapes: tuple[int, ...], **choices: list[Any]) -> list[Case]:
    """Every combination of the choices on the inputs."""
    found = []
    for values in product(*choices.values()):
        given = zip(choices, values, strict=True)
        params = tuple((key, value) for key, value in given if value is not ABSENT)
        found.append(Case(name, params, shapes or (MAP,)))
    return found


BIAS = [ABSENT, False]
LEARNED = [
    *grid("conv", out=[6], kernel=[3, (3, 5)], stride=[ABSENT, (2, 3)], dilation=[ABSENT, (2, 1)],
          padding=[ABSENT, 0, (0, 1, 2, 3)], groups=[ABSENT, 2]),
    *grid("conv", out=[4], kernel=[2, (4, 1)], stride=[1, 2, (3, 2)],
          padding=[(1, 2), "same_upper"], bias=[True, False]),
    *grid("conv", out=[2], kernel=[3, (2, 5)], stride=[1, (2, 3)], dilation=[2],
          padding=["same_upper"], bias=BIAS),
    *grid("conv_transpose", out=[6, 4], kernel=[3, (3, 4)], stride=[3, (2, 3)],
          padding=[ABSENT, (1, 0)], output_padding=[ABSENT, (1, 2)], groups=[ABSENT, 2]),
    *grid("conv_transpose", out=[2], kernel=[(1, 3)], dilation=[2, (2, 3)], stride=[ABSENT, 2],
          bias=BIAS),
    *grid("linear", out=[5, 2], bias=BIAS),
    *grid("linear", VECTOR, out=[5], bias=BIAS),
    *grid("scale", by=[ABSENT, "learned", -0.25, 0, 3]),
    *grid("scale", VECTOR, by=[ABSENT, 2], init=[ABSENT, 7]),
]  # fmt: skip

NORMS = [
    *grid("bn", eps=[ABSENT, 0.5], momentum=[ABSENT, 0.7], affine=[ABSENT, False]),
    *grid("bn", VECTOR, eps=[0.5], affine=[True, False]),
    *grid("group_norm", groups=[1, 2, 4], eps=[ABSENT, 0.5]),
    *grid("group_norm", VECTOR, groups=[3]),
    *grid("layer_norm", eps=[ABSENT, 0.5]),
    *grid("layer_norm", VECTOR, eps=[0.5]),
    *grid("lrn", WIDE, size=[1, 4, 5], alpha=[ABSENT, 0.7], beta=[ABSENT, 0.5], k=[ABSENT, 2]),
]

ACTIVATIONS = [
    *(case for name in (
        "relu", "relu6", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "softmax",
        "log_softmax",
      ) for case in (*grid(name), *grid(name, VECTOR))),
    *grid("leaky_relu", negative_slope=[ABSENT, 0.3]),
    *grid("elu", alpha=[ABSENT, 0.5]),
    *grid("gelu", approximate=[ABSENT, "none", "tanh"]),
    *grid("prelu", num_parameters=[ABSENT, 4], init=[ABSENT, -0.5]),
    *grid("prelu", VECTOR, num_parameters=[1, 12]),
]  # fmt: skip

SIZES = [(6, 8), (7, 9), (8, 11)]
"""The windows below fit some of them exactly and are cut short at the others."""
POOLS = [
    *(case for size in SIZES for case in (
        *grid("maxpool", (2, *size), kernel=[3, (2, 4)], stride=[ABSENT, 2, (1, 3)],
              padding=[ABSENT, 1], dilation=[ABSENT, (2, 1)], ceil=[ABSENT, True]),
        *grid("avgpool", (2, *size), kernel=[3, (2, 4)], stride=[ABSENT, 2], padding=[ABSENT, 1],
              ceil=[ABSENT, True], count_include_pad=[ABSENT, False]),
        *grid("lppool", (2, *size), p=[2, 3, 1.5], kernel=[3, (2, 4)], stride=[ABSENT, (1, 2)],
              ceil=[ABSENT, True]),
    )),
    *grid("adaptive_avgpool", output=[1, 3, (2, 5), (9, 11)]),
    *grid("adaptive_maxpool", output=[1, 3, (2, 5), (9, 11)]),
    *grid("gap"),
    *grid("gmp"),
]  # fmt: skip

FRAMES = [2, (1, 3), (1, 0, 2, 3)]
MOVES = [
    *grid("upsample", scale=[1, 2, (2, 3)], mode=[ABSENT, "bilinear"]),
    *grid("upsample", scale=[2, (3, 2)], mode=["bilinear"], align_corners=[True, False]),
    *grid("upsample", GATE, scale=[3], mode=["bilinear"], align_corners=[True, False]),
    *grid("pixel_shuffle", (18, 2, 3), factor=[1, 3]),
    *grid("pixel_shuffle", (8, 2, 3), factor=[2]),
    *grid("channel_shuffle", WIDE, groups=[1, 2, 3, 4]),
    *grid("crop", amount=[*FRAMES, 0]),
    *grid("pad", amount=FRAMES, mode=[ABSENT, "constant", "reflect", "replicate"]),
    *grid("pad", amount=FRAMES, value=[7, -0.5]),
    *grid("pad_channels", out=[4, 7], before=[ABSENT, 0]),
    *grid("pad_channels", out=[7], before=[1, 3]),
    *grid("slice", start=[0, 1], stop=[2, 4]),
    *grid("slice", VECTOR, start=[3], stop=[7]),
    *grid("split", WIDE, parts=[1, 3, 4]),
    *grid("split", VECTOR, parts=[2]),
    *grid("flatten", order=[ABSENT, "chw", "cwh", "hcw", "hwc", "wch", "whc"]),
    *grid("dropout", p=[ABSENT, 0.2]),
    *grid("dropout2d", p=[ABSENT, 0.2]),
    *grid("droppath", p=[0.2, 0.7], mode=[ABSENT, "batch", "network"]),
]

TWO, THREE = (MAP, MAP), (MAP, MAP, MAP)
JOINS = [
    *(case for name in ("add", "mean", "max", "mul", "concat") for operands in (TWO, THREE)
      for case in grid(name, *operands)),
    *grid("mul", MAP, GATE),
    *grid("mul", MAP, GATE, MAP),
    *grid("mul", VECTOR, VECTOR),
    *grid("concat", MAP, (3, 7, 9), (1, 7, 9)),
    *grid("concat", VECTOR, (3,)),
    *grid("join", *TWO, drop=[ABSENT, 0.3], share=[ABSENT, 1]),
    *grid("join", *THREE),
]  # fmt: skip

CASES = [*LEARNED, *NORMS, *ACTIVATIONS, *POOLS, *MOVES, *JOINS]


class Computed(NamedTuple):
    """The inputs and weights that were drawn, and what the network makes of them."""

    weights: dict[str, Tensor]
    inputs: tuple[Tensor, ...]
    output: Tensor | tuple[Tensor, ...]


@cache
def computed(case: Case) -> Computed:
    """The text's network in evaluation, in float64, with random weights."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    module: Network = cnndsl.loads(case.program).net().compile(optimize=0).double().eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = draw(*value.shape)
            value.copy_(drawn.abs() + 0.1 if name.endswith("var") else drawn)
    weights = {k.removeprefix("f").lstrip("."): v for k, v in module.state_dict().items()}
    inputs = tuple(3 * draw(2, *shape) for shape in case.shapes)
    if case.name == "lppool":  # a fractional power of a negative number is not a number
        inputs = tuple(x.abs() for x in inputs)
    with torch.no_grad():
        output: Any = module(*inputs)
    pieces = case.name == "split"
    return Computed(weights, inputs, output if not pieces else _tuple(output))


def _tuple(output: Any) -> tuple[Tensor, ...]:
    """A network with a single output gives no tuple."""
    return (output,) if isinstance(output, Tensor) else tuple(output)
