"""The first bytes of a .safetensors file, read and checked without torch.

A file is eight bytes that hold the header's length, the header in JSON, and the numbers. The
format's own library accepts ranks, sizes and names of any kind; here everything that a file
says of itself is checked before anything is done with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cnndsl.checkpoints.bounds import (
    DTYPES,
    HEADER_BYTES,
    METADATA,
    Spec,
    WeightsError,
    check_count,
    checked,
    size_of,
)
from cnndsl.diagnostics.display import escape

PREFIX = 8
"""Bytes of the header's length, little end first."""
_CODES = {name: code for code, name in DTYPES.items()}


class Place(NamedTuple):
    """Where in the file a tensor's numbers lie, from its first byte on."""

    start: int
    stop: int


class Header(NamedTuple):
    """What a file says of itself, its tensors in the order of the text."""

    specs: Mapping[str, Spec]
    places: Mapping[str, Place]
    metadata: Mapping[str, str]


def length(prefix: bytes, size: int) -> int:
    """Bytes of the header of a file of ``size`` bytes that starts with ``prefix``."""
    if len(prefix) < PREFIX:
        raise WeightsError("it is too short for a file of weights")
    told = int.from_bytes(prefix[:PREFIX], "little")
    if told > size - PREFIX:
        raise WeightsError("it is no file of weights, or its end is missing")
    if told > HEADER_BYTES:
        raise WeightsError(f"its header has {told:,} bytes: at most {HEADER_BYTES:,}")
    return told


def parse(text: bytes, size: int) -> Header:
    """The header ``text`` of a file of ``size`` bytes, all of it checked."""
    document = _document(text)
    metadata = _metadata(document.pop(METADATA, {}))
    check_count(len(document))
    specs: dict[str, Spec] = {}
    places: dict[str, Place] = {}
    first = PREFIX + len(text)
    for name, entry in document.items():
        specs[name], place = _entry(name, entry)
        places[name] = Place(first + place.start, first + place.stop)
    _check_places(places, first, size)
    return Header(specs, places, metadata)


def _document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=_pairs)
    except WeightsError:
        raise
    except (ValueError, RecursionError):
        raise WeightsError("its header is no JSON") from None
    if not isinstance(document, dict):
        raise WeightsError("its header is no list of tensors")
    return document


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise WeightsError(f"`{escape(name, 80)}` stands twice in its header")
        found[name] = value
    return found


def _metadata(found: object) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise WeightsError("its metadata are not all texts")
    return found


def _entry(name: str, entry: object) -> tuple[Spec, Place]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"`{escape(name, 80)}` is not described as a tensor is")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise WeightsError(f"`{escape(name, 80)}` is not described as a tensor is")
    if code not in DTYPES:  # PyTorch's names of them are none of this format's
        raise WeightsError(f"`{escape(name, 80)}` holds {escape(code, 40)} numbers: not supported")
    spec = checked(name, DTYPES[code], shape)
    if len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise WeightsError(f"`{escape(name)}` lies nowhere")
    place = Place(*offsets)
    if place.start < 0 or place.stop - place.start != spec.numbers * size_of(code):
        raise WeightsError(f"`{escape(name)}` has another size than its place in the file")
    return spec, place


def _check_places(places: Mapping[str, Place], first: int, size: int) -> None:
    """Every byte belongs to one tensor: nothing is hidden, shared or missing."""
    free = first
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        if place.start != free:
            what = "lies upon another tensor" if place.start < free else "leaves a gap before it"
            raise WeightsError(f"`{escape(name)}` {what}")
        free = place.stop
    if free != size:
        what = "its end is missing" if free > size else "something follows its tensors"
        raise WeightsError(what)


def encode(specs: Mapping[str, Spec], metadata: Mapping[str, str]) -> tuple[bytes, Iterable[str]]:
    """The first bytes of a file, always the same for these tensors, and the order of the numbers.

    Large kinds of numbers come first, so that every number lies where the machine reads it best.
    """
    order = sorted(specs, key=lambda name: -size_of(_CODES[specs[name].dtype]))
    places, free = {}, 0
    for name in order:
        end = free + specs[name].numbers * size_of(_CODES[specs[name].dtype])
        places[name], free = [free, end], end
    document: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))}
    for name, spec in specs.items():
        document[name] = {
            "dtype": _CODES[spec.dtype], "shape": list(spec.shape), "data_offsets": places[name],
        }  # fmt: skip
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % PREFIX)
    if len(text) > HEADER_BYTES:
        raise WeightsError(f"the header would have {len(text):,} bytes: at most {HEADER_BYTES:,}")
    return len(text).to_bytes(PREFIX, "little") + text, order
