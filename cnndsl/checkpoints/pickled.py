"""PyTorch's own files, which are pickles: only numbers are taken out of them.

A pickle is a program. ``torch.load(weights_only=True)`` runs none of it but what builds tensors,
and is the only way in: where it refuses, nothing weaker is tried.
"""

from __future__ import annotations

import os
import re
import struct
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from cnndsl.checkpoints.bounds import WeightsError, check_count, checked
from cnndsl.diagnostics.display import escape

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".pt", ".pth", ".bin", ".ckpt")
_PARTS = 200_000  # of an archive: a tensor has one, and there are a few more
_REFUSED = re.compile(r"(?:GLOBAL|global|class) ([\w.]+)")
_LONGEST = 60


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors by name, in the file's order, as they are. Raises WeightsError, OSError."""
    parts = _archived(path)
    state = _state(_unpickle(path, parts is not None))
    check_count(len(state))
    tensors = {name: _tensor(name, value) for name, value in state.items()}
    if parts is not None:
        _check_sizes(tensors, parts)
    return tensors


def owned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors in memory of their own, which no later change of the file reaches.

    Tensors that share their memory share it still: a thousand names for one piece of the file
    must not take a thousand times its size.
    """
    import torch

    copies: dict[tuple[int, int], torch.UntypedStorage] = {}
    found: dict[str, Tensor] = {}
    for name, t in tensors.items():
        piece = t.untyped_storage()
        place = piece.data_ptr(), piece.nbytes()
        if place not in copies:
            copies[place] = piece.clone()
        empty = torch.empty(0, dtype=t.dtype)
        found[name] = empty.set_(copies[place], t.storage_offset(), t.shape, t.stride())
    return found


def _archived(path: str | os.PathLike[str]) -> list[zipfile.ZipInfo] | None:
    """The parts of a zip file, None for an older file; WeightsError for what is no PyTorch's.

    PyTorch stores parts as they are. A part that is compressed, or parts that together are
    longer than the file, would fill the memory.
    """
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return None
    # NotImplementedError: it says that it is of a later version than zipfile knows.
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error):
        raise WeightsError("it is a damaged zip file") from None
    if any(part.filename.endswith("/constants.pkl") for part in parts):
        raise WeightsError(
            "it is a TorchScript program, not weights: save the module's state_dict()"
        )
    if len(parts) > _PARTS:
        raise WeightsError(f"it has {len(parts):,} parts: at most {_PARTS:,}")
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise WeightsError("its parts are compressed, which PyTorch never does")
    if sum(part.file_size for part in parts) > os.path.getsize(path):
        raise WeightsError("its parts are longer than the file")
    if len({part.filename for part in parts}) < len(parts):
        raise WeightsError("two of its parts have one name")
    return parts


def _check_sizes(tensors: Mapping[str, Tensor], parts: Iterable[zipfile.ZipInfo]) -> None:
    """Every piece of memory is one part: none reaches into what stands behind it in the file."""
    pieces = {
        (t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()) for t in tensors.values()
    }
    sizes = Counter(part.file_size for part in parts)
    if Counter(size for _, size in pieces if size) - sizes:
        raise WeightsError("its tensors are longer than their parts of the file")


def _unpickle(path: str | os.PathLike[str], archive: bool) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch's to itself, on how old a file is
            # What is mapped is bounded by the file, whatever a part says of its length.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except OSError:
        raise
    except MemoryError:
        raise WeightsError("it asks for more memory than there is") from None
    except Exception as problem:  # a stranger's bytes make the unpickler raise anything
        raise WeightsError(_reason(problem)) from None


def _reason(problem: Exception) -> str:
    """PyTorch's own words advise to load such a file without care."""
    said = str(problem)
    name = _REFUSED.search(said)
    if name and "unsupported" in said.lower():
        return f"it holds `{escape(name[1], _LONGEST)}`, which is no weight: it was not loaded"
    return "it is no file of weights that PyTorch wrote, or it is damaged"


def _state(document: object) -> Mapping[str, Any]:
    """The file's only state dict: itself, or one of its values."""
    if _is_state(document):
        return document
    if not isinstance(document, Mapping):
        raise WeightsError(f"it holds a {type(document).__name__}, not tensors by name")
    inside = {str(name): value for name, value in document.items() if _is_state(value)}
    if len(inside) > 1:
        names = ", ".join(escape(name, _LONGEST) for name in list(inside)[:8])
        raise WeightsError(f"it holds several sets of weights: {names}; save the one you want")
    if not inside:
        raise WeightsError("it holds no tensors by name")
    return next(iter(inside.values()))


def _is_state(value: object) -> TypeGuard[Mapping[str, Any]]:
    from torch import Tensor

    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _tensor(name: str, value: Tensor) -> Tensor:
    import torch

    spec = checked(name, str(value.dtype).removeprefix("torch."), tuple(value.shape))
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_neg():
        raise WeightsError(f"`{escape(name)}` is not a tensor of plain numbers")
    held = value.untyped_storage().nbytes() // value.element_size()
    if spec.numbers > held:  # one number seen a trillion times is no weight
        raise WeightsError(f"`{escape(name)}` has more numbers than the file holds of it")
    return value.detach()
