"""Compiling a launch for a GPU that is not there, and reading what the compiler made of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.tools.tensor_descriptor import TensorDescriptor

from cnndsl.kernels.base import Config, Kernel, Launch, Operands, laid
from cnndsl.kernels.problem import Problem, extents
from cnndsl.ops.types import Type, Vector

SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
"""Shared memory that one block may ask for, in bytes, by capability (CUDA's programming guide,
table of technical specifications)."""

_POINTERS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16",
             torch.int32: "i32", torch.int64: "i64", torch.float64: "fp64"}  # fmt: skip
_ALIGNED = 16


@dataclass(frozen=True)
class Facts:
    """What one launch takes on one kind of device. ``spills``: bytes of stack per thread;
    ``shared``: bytes per block; ``wgmma``, ``bulk_copies``, ``mma``: instructions in the PTX."""

    registers: int
    spills: int
    shared: int
    wgmma: int
    bulk_copies: int
    mma: int

    def fits(self, capability: int) -> bool:
        return not self.spills and self.shared <= SHARED_LIMIT[capability]


@dataclass(frozen=True)
class Compiled:
    """``asm``: the stages of the compilation by name, such as ``ptx`` and ``cubin``."""

    facts: Facts
    asm: Mapping[str, Any]


def compile_problem(
    kernel: Kernel, problem: Problem, config: Config, capability: int
) -> list[Compiled]:
    """Every launch of this problem, compiled; no number is made or moved."""
    launches = kernel.launches(problem, config, phantoms(kernel, problem))
    return [compile_launch(launch, capability) for launch in launches]


def phantoms(kernel: Kernel, problem: Problem) -> Operands:
    """Operands with sizes and no memory."""
    inputs = laid(kernel, problem, [_phantom(type, problem) for type in problem.inputs])
    weights = {
        weight.name: torch.empty(weight.shape, dtype=problem.dtype, device="meta")
        for weight in problem.chain.weights(*problem.inputs)
    }
    return Operands(inputs, kernel.pack(problem, weights), _phantom(problem.output, problem))


def _phantom(type: Type, problem: Problem) -> Tensor:
    channels, height, width = extents(type)
    if isinstance(type, Vector):
        return torch.empty((problem.batch, channels), dtype=problem.dtype, device="meta")
    shape = (problem.batch, channels, height, width)
    empty = torch.empty(shape, dtype=problem.dtype, device="meta")
    return empty.to(memory_format=torch.channels_last)


def compile_launch(launch: Launch, capability: int) -> Compiled:
    """Raises what Triton raises."""
    options = {"num_warps": launch.config.warps, "num_stages": launch.config.stages}
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(source_of(launch), target=target, options=options)
    ptx = made.asm["ptx"]
    registers, spills = resources(made.asm["cubin"])
    facts = Facts(
        registers,
        spills,
        made.metadata.shared,
        len(re.findall(r"wgmma\.mma_async", ptx)),
        len(re.findall(r"cp\.async\.bulk\.tensor", ptx)),
        len(re.findall(r"(?<![\w.])mma\.sync", ptx)),
    )
    return Compiled(facts, made.asm)


def source_of(launch: Launch) -> ASTSource:
    """The launch as the compiler wants it, specialised as it would be when it is launched."""
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(launch.function.params):
        value = launch.arguments[parameter.name]
        kind = _kind(value, parameter.is_constexpr)
        signature[parameter.name] = kind
        if kind == "constexpr":
            constants[(index,)] = value
        elif _is_aligned(value):
            attributes[(index,)] = [["tt.divisibility", _ALIGNED]]
    return ASTSource(launch.function, signature, constants, attributes)


def _kind(value: Any, constant: bool) -> str:
    """The type of an argument in Triton's words; a 1 is a constant, as in a real launch."""
    if constant or value is None or (isinstance(value, int) and value == 1):
        return "constexpr"
    if isinstance(value, Tensor):
        return f"*{_POINTERS[value.dtype]}"
    if isinstance(value, TensorDescriptor):
        box = ",".join(str(side) for side in value.block_shape)
        return f"tensordesc<{_POINTERS[value.base.dtype]}[{box}]>"
    if isinstance(value, float):
        return "fp32"
    return "i64" if abs(value) >= 2**31 else "i32"


def _is_aligned(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.storage_offset() * value.element_size() % _ALIGNED == 0
    return isinstance(value, int) and value % _ALIGNED == 0


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers per thread, and bytes of its stack: what did not fit into registers."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found is not None, text
    return int(found[1]), int(found[2])
