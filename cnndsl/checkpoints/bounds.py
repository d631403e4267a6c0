"""What a file of weights may say of itself. A file never raises these."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cnndsl.diagnostics.display import escape

HEADER_BYTES = 1 << 24
TENSORS = 100_000
NAME = 512
"""Characters of a tensor's name, all of them visible."""
RANK = 8
DIMENSION = 2**31 - 1
ELEMENTS = 2**40

METADATA = "__metadata__"
"""No tensor's name: in .safetensors files what is told of the whole stands there."""
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""Kinds of numbers that are read, as .safetensors files and as PyTorch call them."""
FLOATING = ("float64", "float32", "float16", "bfloat16")
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2}


class WeightsError(ValueError):
    """A file of weights that cannot be used as it is; the message is for people."""


class Spec(NamedTuple):
    """A tensor without its numbers: ``float32``, (64, 3, 7, 7)."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        total = 1
        for size in self.shape:
            total *= size
        return total


def size_of(dtype: str) -> int:
    """Bytes of one number, by its name in .safetensors files."""
    return _BYTES.get(dtype, 1)


def checked(name: str, dtype: str, shape: Iterable[object]) -> Spec:
    """The tensor that a file speaks of; WeightsError when it is out of bounds."""
    check_name(name)
    sizes = tuple(shape)
    if dtype not in DTYPES.values():
        raise WeightsError(f"`{escape(name)}` holds {escape(dtype, 40)} numbers: not supported")
    if len(sizes) > RANK:
        raise WeightsError(f"`{escape(name)}` has {len(sizes)} dimensions: at most {RANK}")
    if not all(type(size) is int and 0 <= size <= DIMENSION for size in sizes):
        raise WeightsError(f"`{escape(name)}` has a size that is no size")
    spec = Spec(dtype, sizes)  # type: ignore[arg-type]
    if spec.numbers > ELEMENTS:
        raise WeightsError(f"`{escape(name)}` has more than {ELEMENTS:,} numbers")
    return spec


def check_name(name: str) -> None:
    """Names reach reports, and become attributes of modules."""
    if not 0 < len(name) <= NAME:
        raise WeightsError(f"a tensor's name has {len(name):,} characters: 1 to {NAME}")
    if name == METADATA or not name.isprintable():
        raise WeightsError(f"a tensor's name cannot be printed: `{escape(name, 80)}`")


def check_count(tensors: int) -> None:
    if tensors > TENSORS:
        raise WeightsError(f"there are {tensors:,} tensors: at most {TENSORS:,}")
