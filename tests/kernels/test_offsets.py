"""Maps of more than 2^31 numbers are addressed by 64 bits from the first product on.

The interpreter computes with whatever is large enough, and no test holds such a map: looked at
is what the compiler makes of the kernels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from cnndsl.kernels.aot import compile_launch, phantoms
from cnndsl.kernels.base import Launch
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.table import FRAMED, KERNELS
from tests.kernels.oracle import problem_of

BY_NAME = {kernel.name: kernel for kernel in (*KERNELS, *FRAMED)}
LARGE = [
    ("conv", "[64, 128, 128] = (conv(64, 1) + id)", 4096),
    ("depthwise", "[96, 112, 112] = (conv(96, 3, groups=96) + id)", 2048),
    ("depthwise_pointwise", "[32, 112, 112] = conv(32, 3, groups=32) -> conv(64, 1)", 8192),
    ("grouped", "[128, 56, 56] = conv(128, 3, groups=32)", 8192),
    ("stem", "[3, 224, 224] = conv(64, 7, stride=2)", 4096),
    ("stem", "[3, 224, 224] = conv(64, 7, stride=2) -> maxpool(3, stride=2, padding=1)", 16384),
    ("framed_stem", "[3, 224, 224] = conv(64, 7, stride=2)", 4096),
    ("prologue", "[64, 56, 56] = (bn -> relu -> conv(64, 3)) + id", 16384),
    ("gemm", "[64, 128, 128] = (conv(64, 1) + id)", 4096),
    ("conv_tma", "[64, 56, 56] = (conv(64, 3) + id)", 16384),
    ("pool", "[64, 112, 112] = maxpool(3, stride=2, padding=1) -> relu", 4096),
    ("global_pool", "[24, 112, 112] = gap", 8192),
    ("global_pool", "[64, 8192, 8192] = gap", 1),  # in parts
    ("squeeze", "[64, 8192, 8192] = gap -> conv(4, 1) -> relu -> conv(64, 1)", 1),
    ("elementwise", "[64, 112, 112] = relu", 4096),
    ("upsample", "[64, 56, 56] = upsample(2)", 4096),
    ("upsample", "[64, 56, 56] = upsample(2, mode=bilinear)", 4096),
    ("lrn", "[64, 112, 112] = lrn(2)", 4096),
    ("softmax", "[64, 112, 112] = softmax", 4096),
]


def launches(name: str, problem: Problem) -> Iterator[Launch]:
    """In the smallest tiles; in as many parts as there may be."""
    kernel = BY_NAME[name]
    assert kernel.refuses(problem, 90) is None
    configs = kernel.configs(problem, 90)
    config = configs[0] if name == "global_pool" else configs[-1]
    yield from kernel.launches(problem, config, phantoms(kernel, problem))


def products(ir: str) -> Iterator[tuple[str, bool]]:
    """Of how far apart a map's pixels or images lie, by name, and whether of 64 bits."""
    given = set(re.findall(r"(%\w+): i", ir[: ir.index(" attributes ")]))
    same, sources = {"tt.splat", "tt.broadcast", "arith.extsi"}, dict[str, str]()
    for line in ir.splitlines():
        found = re.search(r"(%\w+) = ([\w.]+) (%\w+)(?:, (%\w+))? .*: (.*?) loc", line)
        if found is None:
            continue
        name, op, *operands, kind = found.groups()
        known = [sources.get(operand, operand) for operand in operands if operand]
        sources[name] = known[0] if op in same else name
        maps = [x for x in known if x in given and DISTANCE.fullmatch(x)]
        if op == "arith.muli" and maps:
            yield maps[0], "i64" in kind


DISTANCE = re.compile("%((x|y|residual|gate)_pitch|(x_)?image)")
"""How kernels call it."""


def test_every_kernel_is_looked_at() -> None:
    assert {name for name, *_ in LARGE} == BY_NAME.keys()


@pytest.mark.parametrize(("name", "text", "batch"), LARGE)
def test_offsets_beyond_32_bits(name: str, text: str, batch: int) -> None:
    seen = []
    for launch in launches(name, problem_of(text, batch, torch.half)):
        if launch.arguments["WIDE"]:
            seen += list(products(compile_launch(launch, 90).asm["ttir"]))
    assert seen and all(wide for _, wide in seen), seen


def test_others_need_no_more_than_32() -> None:
    name, text, batch = LARGE[0]
    problem = replace(problem_of(text, batch, torch.half), batch=2)
    (launch,) = launches(name, problem)
    assert not launch.arguments["WIDE"]
    assert not any(wide for _, wide in products(compile_launch(launch, 90).asm["ttir"]))
