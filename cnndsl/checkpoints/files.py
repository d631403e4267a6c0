"""Files of weights, in and out.

``.safetensors`` is read and written here; of PyTorch's pickled files only the tensors are taken
(``pickled``). Whatever a file says of itself is checked before it is believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from cnndsl import files
from cnndsl.checkpoints import header
from cnndsl.checkpoints.bounds import Spec, WeightsError, check_count, checked
from cnndsl.checkpoints.origin import Origin, Parameter

if TYPE_CHECKING:
    from torch import Tensor

ENDING = ".safetensors"


@dataclass(frozen=True)
class Contents:
    """What a file holds, without its numbers: tensors in the file's order."""

    specs: Mapping[str, Spec]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> Origin | None:
        """The network that was written beside the weights. WeightsError when it is damaged."""
        return Origin.from_metadata(self.metadata)


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, in the file's order, on the CPU; metadata are empty for pickles."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def contents(self) -> Contents:
        return Contents({name: spec_of(t) for name, t in self.tensors.items()}, self.metadata)


def inspect(path: str | os.PathLike[str]) -> Contents:
    """What a file holds. Needs torch for pickles only. Raises WeightsError, OSError."""
    if not _is_pickle(path):
        with _open(path) as (file, size):
            found = _header(file, size)
        return Contents(found.specs, found.metadata)
    from cnndsl.checkpoints import pickled

    return Contents({name: spec_of(t, name) for name, t in pickled.load(path).items()})


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """The tensors of a file. Raises WeightsError for what is no set of weights, and OSError."""
    if _is_pickle(path):
        from cnndsl.checkpoints import pickled

        return Checkpoint(pickled.owned(pickled.load(path)))
    with _open(path) as (file, size):
        found = _header(file, size)
        tensors = {
            name: _numbers(file, spec, found.places[name]) for name, spec in found.specs.items()
        }
    return Checkpoint(tensors, found.metadata)


def to_bytes(state: Mapping[str, Any], origin: Origin | None = None) -> bytes:
    """A .safetensors file of tensors or arrays by name; the same for the same values.

    With ``origin`` it stands alone: ``cnndsl.restore`` builds the network from it.
    """
    import torch

    check_count(len(state))
    tensors = {
        name: value.detach().cpu() if isinstance(value, torch.Tensor) else torch.tensor(value)
        for name, value in state.items()
    }
    specs = {name: spec_of(value, name) for name, value in tensors.items()}
    metadata = {"format": "pt", **(origin.to_metadata() if origin else {})}
    head, order = header.encode(specs, metadata)
    return b"".join([head, *(_raw(tensors[name]) for name in order)])


def write(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    *,
    text: str | None = None,
    net: str | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> None:
    """Writes a .safetensors file, whole or not at all, with the text of its network.

    ``text`` imports nothing; ``net`` may be left out where it has one net. Raises OSError.
    """
    origin = None if text is None else Origin(text, net, parameters or {})
    files.replace(path, to_bytes(state, origin))


def spec_of(tensor: Tensor, name: str = "a tensor") -> Spec:
    """WeightsError for kinds of numbers, names and sizes that no file holds."""
    return checked(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


# --- one .safetensors file ------------------------------------------------------------------


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file and its size. A pipe that nobody writes to would be waited for."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise WeightsError("it is not a regular file")
    with open(path, "rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def _is_pickle(path: str | os.PathLike[str]) -> bool:
    """By the first bytes, not by the name: a header of JSON begins behind its length."""
    with _open(path) as (file, _):
        start = file.read(header.PREFIX + 1)
    return start[header.PREFIX :] != b"{" and (start[:1] == b"\x80" or start[:2] == b"PK")


def _header(file: BinaryIO, size: int) -> header.Header:
    told = header.length(file.read(header.PREFIX), size)
    return header.parse(file.read(told), size)


def _numbers(file: BinaryIO, spec: Spec, place: header.Place) -> Tensor:
    import torch

    dtype = getattr(torch, spec.dtype)
    if not spec.numbers:
        return torch.empty(spec.shape, dtype=dtype)
    data = bytearray(place.stop - place.start)
    file.seek(place.start)
    if file.readinto(data) != len(data):  # type: ignore[attr-defined]
        raise WeightsError("its end is missing")
    return torch.frombuffer(data, dtype=dtype).reshape(spec.shape)


def _raw(tensor: Tensor) -> bytes:
    import torch

    flat = tensor.contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
