"""Weights that an ONNX model keeps in other files, as PyTorch's exporter lays them down.

onnx opens them, and only in the model's own folder: a file that names `../secret`, or a link,
gets nothing.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

from cnndsl.importers.base import ImportProblem

_KEYS = frozenset({"location", "offset", "length", "checksum"})


def is_outside(tensor: Any) -> bool:
    """Whether the numbers of one of ONNX's tensors are said to be in another file."""
    from onnx import TensorProto

    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def read_outside(
    tensor: Any, size: int, folder: str | os.PathLike[str], digests: dict[str, str]
) -> None:
    """Puts the ``size`` bytes of a tensor into it, from a file in ``folder``; ImportProblem.

    ``digests``: of the files that were summed up before, which many tensors may name.
    """
    from onnx import TensorProto, checker
    from onnx.external_data_helper import load_external_data_for_tensor

    told = {entry.key: entry.value for entry in tensor.external_data}
    where = f"the tensor {tensor.name!r} is kept in another file"
    known = told.keys() <= _KEYS and all(map(_is_text, told.values()))
    if len(told) < len(tensor.external_data) or not known:
        raise ImportProblem(f"{where}, which is told in a way that is not read")
    length = told.get("length", str(size))
    if length != str(size):
        raise ImportProblem(f"{where} with {length[:20]!r} bytes, and its shape takes {size:,}")
    if "length" not in told:  # else the whole file would be read
        tensor.external_data.add(key="length", value=length)
    try:
        load_external_data_for_tensor(tensor, os.fspath(folder))
        if "checksum" in told:  # after onnx has seen that the file may be opened
            _check_sum(told["checksum"], folder, told["location"], digests)
    # Of the last kind is what C++ says of a name that is too long.
    except (checker.ValidationError, ValueError, OSError, RuntimeError) as problem:
        location = told.get("location", "")
        there = os.path.exists(os.path.join(folder, location))
        why = problem if there else f"{location!r} is not there"
        raise ImportProblem(f"{where}, which is not read: {why}") from None
    # onnx before 1.23 leaves them, and the runtime would look for the file again.
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT


def _check_sum(
    told: str, folder: str | os.PathLike[str], location: str, digests: dict[str, str]
) -> None:
    """ValueError unless the SHA-1 of the whole file, as onnx.proto defines it, is what is told."""
    path = os.path.realpath(os.path.join(folder, location))
    if path not in digests:
        with open(path, "rb") as file:
            digests[path] = hashlib.file_digest(file, _sha1).hexdigest()
    if told.lower() != digests[path]:
        raise ValueError(f"the SHA-1 of {location!r} is not its checksum in the model")


def _sha1() -> Any:
    """It finds damage, as the format has it, and proves nothing of who wrote the file."""
    return hashlib.sha1(usedforsecurity=False)


def _is_text(value: Any) -> bool:
    """Protocol buffers give what is no UTF-8 as bytes; onnx's messages have names as they are."""
    return isinstance(value, str) and value.isprintable()
