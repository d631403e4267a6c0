"""Kernels compiled for GPUs that are not there: they fit, and use what they are meant to use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cnndsl.kernels.aot import SHARED_LIMIT, Facts, compile_problem
from cnndsl.kernels.base import Config, Kernel
from cnndsl.kernels.problem import Problem
from cnndsl.kernels.table import FRAMED, KERNELS
from tests.kernels.oracle import problem_of
from tests.kernels.shapes import SHAPES

BY_NAME = {kernel.name: kernel for kernel in (*KERNELS, *FRAMED)}
CONV = BY_NAME["conv"]


def facts(
    text: str, config: Config | None = None, capability: int = 90, dtype: torch.dtype = torch.half
) -> Facts:
    problem = problem_of(text, 32, dtype)
    config = config or CONV.configs(problem, capability)[0]
    (made,) = compile_problem(CONV, problem, config, capability)
    return made.facts


def test_every_kernel_has_its_shapes() -> None:
    assert SHAPES.keys() == BY_NAME.keys()


def test_half_uses_the_tensor_cores() -> None:
    """Those of the device that it is compiled for."""
    text, config = SHAPES["conv"][1], Config.of(4, 3, BM=64, BN=64, BK=32)
    new, old = facts(text, config, 90), facts(text, config, 80)
    assert new.wgmma and not new.mma and not new.bulk_copies
    assert old.mma and not old.wgmma
    assert new.fits(90) and old.fits(80)


def test_float32_is_not_rounded_to_tf32() -> None:
    found = facts(SHAPES["conv"][1], dtype=torch.float32)
    assert not found.mma and not found.wgmma and found.fits(90)


@pytest.mark.parametrize("word", ["relu", "hardswish"])
def test_nan_is_propagated_by_the_machine_too(word: str) -> None:
    """The interpreter's maximum hands NaN on in any case; a device's only if asked."""
    problem = problem_of(f"[16, 8, 8] = conv(16, 1) -> {word}", 1, torch.half)
    config = Config.of(4, 1, BM=16, BN=16, BK=16)
    (made,) = compile_problem(CONV, problem, config, 80)
    ptx = made.asm["ptx"]
    assert "max.NaN.f32" in ptx and "max.f32" not in ptx and "min.f32" not in ptx


@pytest.mark.parametrize(("name", "row"), [("pool", 0), ("pool", 1), ("elementwise", 0)])
def test_what_memory_binds_moves_16_bytes_at_once(name: str, row: int) -> None:
    """With few registers, so that many warps wait for memory at a time; and NaN is handed on."""
    problem = problem_of(SHAPES[name][row], 32, torch.half)
    config = BY_NAME[name].configs(problem, 90)[0]
    (made,) = compile_problem(BY_NAME[name], problem, config, 90)
    ptx = made.asm["ptx"]
    assert "ld.global.v4.b32" in ptx and "st.global.v4.b32" in ptx and "ld.global.b" not in ptx
    assert "max.NaN.f32" in ptx and "max.f32" not in ptx
    assert made.facts.fits(90) and made.facts.registers <= 64


@pytest.mark.parametrize("name", ["global_pool", "softmax"])
def test_nan_is_the_largest_for_the_machine_too(name: str) -> None:
    """Between threads a device compares as it likes; the kernel looks for NaN itself."""
    text = {"global_pool": "[16, 8, 8] = gmp", "softmax": "[40] = softmax"}[name]
    problem = problem_of(text, 2, torch.half)
    (made,) = compile_problem(BY_NAME[name], problem, BY_NAME[name].configs(problem, 80)[-1], 80)
    assert "setp.nan.f32" in made.asm["ptx"]


def test_what_does_not_fit_is_seen() -> None:
    """Spills and shared memory are those of the machine code, not of a wish."""
    crowded = facts(SHAPES["conv"][1], Config.of(1, 1, BM=128, BN=64, BK=16))
    assert crowded.spills and not crowded.fits(90)
    assert not Facts(32, 0, SHARED_LIMIT[80] + 1, 0, 0, 0).fits(80)


def shipped() -> Iterator[tuple[Kernel, Problem, Config, int]]:
    """Every configuration for every shape, dtype and device."""
    for kernel in BY_NAME.values():
        for text in SHAPES[kernel.name]:
            for dtype in (torch.float32, torch.float16, torch.bfloat16):
                problem = problem_of(text, 32, dtype)
                for capability in SHARED_LIMIT:
                    if kernel.refuses(problem, capability) is None:
                        for config in kernel.configs(problem, capability):
                            yield kernel, problem, config, capability


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "problem", "config", "capability"), list(shipped()), ids=lambda v: str(v)[:60]
)
def test_everything_shipped_fits(
    kernel: Kernel, problem: Problem, config: Config, capability: int
) -> None:
    for made in compile_problem(kernel, problem, config, capability):
        assert made.facts.fits(capability), made.facts
