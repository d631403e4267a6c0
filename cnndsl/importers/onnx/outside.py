"""Weights that an ONNX model keeps in other files, as PyTorch's exporter lays them down.

They are opened here, and only in the model's own folder: a file that names `../secret` or a link
that leads out of it gets nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnndsl.importers.base import ImportProblem

_KEYS = frozenset({"location", "offset", "length", "checksum"})


def is_outside(tensor: Any) -> bool:
    """Whether the numbers of one of ONNX's tensors are said to be in another file."""
    from onnx import TensorProto

    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def read_outside(tensor: Any, size: int, folder: str | os.PathLike[str]) -> None:
    """Puts the ``size`` bytes of a tensor into it, from a file in ``folder``; ImportProblem."""
    from onnx import TensorProto

    told = {entry.key: entry.value for entry in tensor.external_data}
    where = f"the tensor {tensor.name!r} is kept in another file"
    if len(told) < len(tensor.external_data) or not told.keys() <= _KEYS:
        raise ImportProblem(f"{where}, which is told in a way that is not read")
    offset, length = _number(told, "offset", 0, where), _number(told, "length", size, where)
    if length != size:
        raise ImportProblem(f"{where} with {length:,} bytes, and its shape takes {size:,}")
    data = _read(_inside(told.get("location", ""), folder, where), offset, size, where)
    tensor.ClearField("external_data")
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = data


def _number(told: Mapping[str, str], key: str, default: int, where: str) -> int:
    text = told.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ImportProblem(f"{where}, and its {key} {text[:20]!r} is no number")
    return int(text)


def _inside(location: str, folder: str | os.PathLike[str], where: str) -> Path:
    """The file, if it lies in the folder when all links are followed."""
    home = Path(os.path.realpath(folder))
    if not location or not location.isprintable():
        raise ImportProblem(f"{where} without a name that can be read")
    path = Path(os.path.realpath(home / location))
    if home not in path.parents:
        raise ImportProblem(f"{where}, {location!r}, which is outside the model's folder")
    if not path.is_file():
        raise ImportProblem(f"{where}, {location!r}, which is not there")
    return path


def _read(path: Path, offset: int, size: int, where: str) -> bytes:
    try:
        with open(path, "rb") as file:
            if offset + size > os.fstat(file.fileno()).st_size:
                raise ImportProblem(f"{where}, {path.name!r}, which is too short")
            file.seek(offset)
            return file.read(size)
    except OSError as problem:
        raise ImportProblem(f"{where}, {path.name!r}: {problem.strerror}") from None
