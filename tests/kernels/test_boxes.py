"""Kernels of bulk copies, and the stem: what they compile to, what they take, their tiles."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from cnndsl.kernels import boxes
from cnndsl.kernels.aot import Compiled, compile_problem, phantoms
from cnndsl.kernels.base import Config, Kernel
from cnndsl.kernels.conv_tma import BoxConvolution
from cnndsl.kernels.gemm import Gemm
from cnndsl.kernels.prologue import Activated
from cnndsl.kernels.stem import Stem
from cnndsl.kernels.table import taking
from tests.kernels.oracle import problem_of
from tests.kernels.shapes import SHAPES

HALF = torch.half


def compiled(kernel: Kernel, text: str, capability: int = 90, **sides: int) -> list[Compiled]:
    """With the first configuration, its tiles of these sides; it fits."""
    problem = problem_of(text, 32, HALF)
    config = kernel.configs(problem, capability)[0]
    config = replace(config, tiles=tuple((dict(config.tiles) | sides).items()))
    made = compile_problem(kernel, problem, config, capability)
    assert all(one.facts.fits(capability) for one in made), [one.facts for one in made]
    return made


def from_shared(one: Compiled) -> bool:
    """Whether the tensor cores read both operands from shared memory: two addresses in a row
    behind the sums, where A in registers would be a second list of them."""
    products = re.findall(r"wgmma\.mma_async[^;]*;", one.asm["ptx"])
    return bool(products) and all(re.search(r"}, %rd\d+, %rd\d+", text) for text in products)


@pytest.mark.parametrize(
    ("kernel", "text"),
    [
        (BoxConvolution(), "[64, 56, 56] = (conv(64, 3) + id) -> relu"),
        (BoxConvolution(), "[64, 28, 28] = conv(64, 3, stride=2) -> relu"),
        (Gemm(), "[256, 56, 56] = conv(64, 1) -> relu"),
    ],
)
def test_bulk_copies_feed_the_tensor_cores(kernel: Kernel, text: str) -> None:
    """Both operands come in by bulk copies, and the result goes out by one."""
    (made,) = compiled(kernel, text, BP=64, BM=64, BF=64, SPLIT=1)
    assert made.facts.bulk_copies >= 3 and from_shared(made) and not made.facts.mma
    assert re.search(r"cp\.async\.bulk\.tensor\.\dd\.global\.shared", made.asm["ptx"])


def test_a_prologue_goes_through_registers() -> None:
    (made,) = compiled(Activated(), SHAPES["prologue"][0], BP=64, BF=64, SPLIT=1)
    assert made.facts.bulk_copies and made.facts.wgmma and not from_shared(made)


@pytest.mark.parametrize("capability", [80, 90])
def test_a_stem_pools_without_spills(capability: int) -> None:
    padding, made = compiled(Stem(), SHAPES["stem"][0], capability, BM=64, BF=32)
    assert not padding.facts.mma + padding.facts.wgmma
    assert (made.facts.wgmma if capability == 90 else made.facts.mma) > 0


def test_few_tiles_are_cut_along_the_channels() -> None:
    config = Gemm().configs(problem_of("[512, 28, 28] = conv(2048, 1)", 1, HALF), 90)[0]
    assert config["SPLIT"] == 1  # there are tiles enough
    deep = problem_of("[2048, 7, 7] = conv(512, 1)", 1, HALF)
    config = Gemm().configs(deep, 90)[0]
    assert config["SPLIT"] > 1
    launches = Gemm().launches(deep, config, phantoms(Gemm(), deep))
    assert [launch.function.__name__ for launch in launches] == ["multiply", "combine"]


@pytest.mark.parametrize(
    ("size", "pixels", "found"),
    [
        ((1, 56, 56), 128, (1, 2, 64)),
        ((32, 56, 56), 128, (2, 8, 8)),
        ((32, 7, 7), 64, (8, 1, 8)),
        ((32, 7, 7), 128, (16, 1, 8)),
        ((1, 1, 300), 128, (1, 1, 128)),
        ((5, 1, 1), 16, (8, 1, 2)),
    ],
)
def test_tiles_of_pixels(size: boxes.Box, pixels: int, found: boxes.Box) -> None:
    assert boxes.tile(*size, pixels) == found


def first(text: str, capability: int = 90, dtype: torch.dtype = HALF) -> str:
    return taking(problem_of(text, 32, dtype), capability)[0].name


def test_who_takes_what() -> None:
    for name in ("stem", "prologue", "gemm", "conv_tma"):
        for text in SHAPES[name]:
            assert first(text) == name, text


@pytest.mark.parametrize(
    "text",
    [
        "[62, 28, 28] = conv(64, 3)",  # pixels of 124 bytes
        "[64, 27, 28] = conv(64, 3, stride=2)",  # a row without its pair
        "[8, 28, 28] = conv(64, 3, stride=2)",  # half a product deep
        "[64, 28, 28] = conv(64, 3, stride=3)",
        "[62] = linear(64)",
    ],
)
def test_who_does_not(text: str) -> None:
    assert first(text) == "conv"


@pytest.mark.parametrize("name", ["prologue", "gemm", "conv_tma"])
def test_older_devices_and_exact_numbers(name: str) -> None:
    text = SHAPES[name][0]
    assert name not in [kernel.name for kernel in taking(problem_of(text, 32, HALF), 80)]
    exact = problem_of(text, 32, torch.float32)
    assert name not in [kernel.name for kernel in taking(exact, 90)]


def test_what_cannot_be_addressed_is_copied_or_written_singly() -> None:
    wide = torch.zeros(2, 5, 5, 24, dtype=HALF).permute(0, 3, 1, 2)
    assert boxes.readable(wide[:, 8:])[0].data_ptr() == wide[:, 8:].data_ptr()
    copied, apart = boxes.readable(wide[:, 4:20])
    assert apart == 16 and torch.equal(copied, wide[:, 4:20])
    assert boxes.result(wide[:, 8:], (2, 5, 5), (1, 4, 4, 16))[2] is not None
    assert boxes.result(wide[:, 4:20], (2, 5, 5), (1, 4, 4, 16))[2] is None


def test_configurations_know_the_sizes() -> None:
    """At stride 2 no tile is deeper than what divides the channels; few filters, narrow tiles."""
    problem = problem_of("[48, 28, 28] = conv(24, 3, stride=2)", 32, HALF)
    found = BoxConvolution().configs(problem, 90)
    assert found and all(48 % config["BK"] == 0 and config["BF"] < 48 for config in found)
    assert isinstance(found[0], Config)
