"""Files of weights that somebody made to do harm, or that an accident made."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

GOOD = {"a.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


def safetensors(header: object, data: bytes = bytes(16), length: int | None = None) -> bytes:
    """A file with any header: bytes as they are, anything else as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _tensor(**changed: Any) -> bytes:
    return safetensors({"a.weight": GOOD["a.weight"] | changed})


def _named(name: str) -> bytes:
    return safetensors({name: GOOD["a.weight"]})


def _two(first: list[int], second: list[int], data: int = 32) -> bytes:
    one, other = ({"dtype": "U8", "shape": [16], "data_offsets": o} for o in (first, second))
    return safetensors({"a": one, "b": other}, bytes(data))


def damaged_safetensors() -> Iterator[tuple[str, bytes]]:
    """Files that are cut, headers that are none, and headers that lie."""
    yield from _cut()
    yield from _malformed()
    yield from _lying()
    yield from _misplaced()


def _cut() -> Iterator[tuple[str, bytes]]:
    good = safetensors(GOOD)
    yield "empty", b""
    yield "three bytes", b"\x00\x00\x00"
    yield "a length alone", struct.pack("<Q", 5)
    yield "a length of 2^63", struct.pack("<Q", 2**63) + b"{}"
    yield "a length beyond the end", safetensors(GOOD, length=10_000)
    yield "a header of 17 MiB", safetensors(b"{" + b" " * (17 << 20) + b"}", b"")
    yield "cut in the header", good[:40]
    yield "cut in the numbers", good[:-1]
    yield "something behind", good + b"x"


def _malformed() -> Iterator[tuple[str, bytes]]:
    yield "no JSON", safetensors(b"{'a': 1}")
    yield "no UTF-8", safetensors(b'{"\xff": 1}')
    yield "nested a thousand times", safetensors(b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}")
    yield "an open bracket a million times", safetensors(b'{"a":' + b"[" * 1_000_000)
    yield "a list", safetensors({"a": []})
    yield "NaN", safetensors(b'{"a.weight": NaN}')
    yield "NaN in the metadata", safetensors(b'{"__metadata__": {"x": NaN}}', b"")
    yield "numbers in the metadata", safetensors({"__metadata__": {"x": 1}}, b"")
    yield "metadata that are a list", safetensors({"__metadata__": []}, b"")
    yield "a key twice", safetensors(
        b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b' "a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"
    )  # fmt: skip
    yield (
        "offsets twice",
        safetensors(
            b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}}', b"x"
        ),
    )
    yield "an integer of 5000 digits", safetensors(b'{"a": ' + b"9" * 5_000 + b"}")


def _lying() -> Iterator[tuple[str, bytes]]:
    yield "a rank of 10,000", _tensor(shape=[1] * 10_000)
    yield "a rank of 9", _tensor(shape=[1] * 7 + [2, 2])
    yield "a size of 2^62", _tensor(shape=[2**62, 2])
    yield "sizes that overflow to 16", _tensor(shape=[2**32, 2**32, 4])
    yield "a negative size", _tensor(shape=[-2, -2])
    yield "a size that is a float", _tensor(shape=[2.0, 2])
    yield "a size that is true", _tensor(shape=[True, 4])
    yield "a size that is a text", _tensor(shape=["2", 2])
    yield "no shape", safetensors({"a": {"dtype": "F32", "data_offsets": [0, 16]}})
    yield "one word more", _tensor(more=1)
    yield "a kind of numbers that is none", _tensor(dtype="F33")
    yield "a kind that is a list", _tensor(dtype=["F32"])
    kind = {"dtype": "float32", "shape": [2], "data_offsets": [0, 2]}
    yield "a kind as PyTorch calls it", safetensors({"a.weight": kind}, b"xx")
    yield "a kind we do not know", _tensor(dtype="F8_E4M3", data_offsets=[0, 4])


def _misplaced() -> Iterator[tuple[str, bytes]]:
    yield "negative offsets", _tensor(data_offsets=[-16, 0])
    yield "offsets the wrong way", _tensor(data_offsets=[16, 0])
    yield "offsets beyond the end", _tensor(data_offsets=[16, 32])
    yield "three offsets", _tensor(data_offsets=[0, 8, 16])
    yield "offsets that are floats", _tensor(data_offsets=[0.0, 16.0])
    yield "more bytes than its shape", _tensor(shape=[2], data_offsets=[0, 16])
    yield "overlapping", _two([0, 16], [8, 24], 24)
    yield "the same bytes twice", _two([0, 16], [0, 16], 16)
    yield "a gap", _two([0, 16], [20, 36], 36)
    yield "a gap before the first", _two([4, 20], [20, 36], 36)
    yield "an escape code in a name", _named("\x1b[2Ja.weight")
    yield "a line break in a name", _named("a\nerror: forged")
    yield "a bidi mark in a name", _named("\u202egnp.weight")
    yield "a surrogate in a name", _named("\udce9")
    yield "an empty name", _named("")
    yield "a long name", _named("a" * 513)


class Runs:
    """Pickled, it calls ``function(*args)`` when it is read."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def pickles(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Programs that make the file ``canary`` when somebody runs them, and other pickles."""
    touch = f"open({str(canary)!r}, 'w').close()"
    calls = {
        "os.system": Runs(os.system, f"touch {canary}"),
        "eval": Runs(eval, touch),
        "exec": Runs(exec, touch),
        "open": Runs(open, str(canary), "w"),
        "mkdir": Runs(os.mkdir, str(canary)),
        "getattr": Runs(getattr, 1, "real"),
        "torch.load": Runs(torch.load, str(canary)),
        "a file that is made by its own name": Runs(Path.touch, canary),
    }
    for name, call in calls.items():
        yield name, legacy(call)
        yield f"{name}, in an archive", archive({"a.weight": call})
        yield f"{name}, as a plain pickle", pickle.dumps({"a.weight": call}, protocol=2)
    yield from _odd_archives()
    yield from _odd_values()


def _odd_archives() -> Iterator[tuple[str, bytes]]:
    good = archive({"a.weight": torch.ones(2)})
    yield "an archive that is cut", good[: len(good) // 2]
    yield "an archive in an archive", _changed({"data.pkl": archive({"a": torch.ones(1)})})
    yield "a part that is compressed", _changed({}, zipfile.ZIP_DEFLATED)
    yield "a part of a gigabyte", _bomb()
    yield "a part twice", _changed({}, twice=True)
    yield "no pickle in it", _without("data.pkl")
    yield "no numbers in it", _without("data/0")
    yield "too few numbers", _changed({"data/0": b"\x00"})
    yield "numbers from outside", _changed({"data/../../x": b"1"}, without="data/0")


def _odd_values() -> Iterator[tuple[str, bytes]]:
    yield "no tensors", archive({"a": 1})
    yield "a list", archive([torch.ones(1)])
    yield (
        "two sets of weights",
        archive({"model": {"a": torch.ones(1)}, "ema": {"a": torch.ones(1)}}),
    )
    yield "numbers for names", archive({1: torch.ones(1)})
    yield "an escape code in a name", archive({"\x1b[2J": torch.ones(1)})
    yield "one number a trillion times", archive({"a": torch.zeros(1).expand(2**20, 2**19)})
    yield "a rank of 9", archive({"a": torch.ones([1] * 9)})
    yield "complex numbers", archive({"a": torch.ones(1, dtype=torch.complex64)})
    yield "a sparse tensor", archive({"a": torch.ones(2).to_sparse()})
    yield "a tensor without numbers", archive({"a": torch.ones(2, device="meta")})
    yield "nested a thousand times", legacy_bytes(b"\x80\x02" + b"]" * 20_000 + b".")
    yield "a text of 2^60 letters", legacy_bytes(b"\x80\x04\x8d" + struct.pack("<Q", 2**60))
    yield "a place of 2^31 in the memo", legacy_bytes(b"\x80\x02Nr\xff\xff\xff\x7f.")
    yield "a stack that is empty", legacy_bytes(b"\x80\x02R.")


def legacy(value: object) -> bytes:
    """PyTorch's files before there were archives: pickles one behind the other."""
    file = io.BytesIO()
    torch.save({"a.weight": value}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def legacy_bytes(pickled: bytes) -> bytes:
    """Such a file with any pickle in the place of the weights."""
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    return head + pickled


def archive(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def _parts() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive({"a.weight": torch.ones(2)}))) as found:
        return {name: found.read(name) for name in found.namelist()}


def _changed(
    new: dict[str, bytes], kind: int = zipfile.ZIP_STORED, twice: bool = False, without: str = ""
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as made:
        for name, data in _parts().items():
            own = name.partition("/")[2]
            if own != without:
                made.writestr(name, new.pop(own, data))
        for own, data in new.items():
            made.writestr(f"archive/{own}", data)
        if twice:
            made.writestr("archive/again0", b"")
    data = file.getvalue()
    return data.replace(b"archive/again0", b"archive/data/0") if twice else data


def _without(part: str) -> bytes:
    return _changed({}, without=part)


def _bomb() -> bytes:
    """Says of one stored part that it is a gigabyte long."""
    data = bytearray(_changed({}))
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<L", 1 << 30)
    return bytes(data)
