"""Documents as a careless or hostile program might write them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

_JUNK: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 65537, 2**31, 2**53, 2**53 + 1, 2**64, 10**400, 0.5, -0.0,
    1e308, float("nan"), float("inf"), "", "a", "H", "in", "out", "relu", "conv", "self", "id",
    "forward", "__class__", "a.b", "a..b", ".", "0", "1x", "a-1", "é", "a\n", "\x1b[31m", "\u202e",
    "\ud800", "x" * 65, "x" * 5000, "'; import os; '", "$(id)", "../../etc/passwd", [], {}, [[]],
    [0], [1, 2], [3, 3], [1, 1, 1, 1], [None], {"a": 1}, [0] * 5000, [[[[[[1]]]]]],
]  # fmt: skip


def damaged(document: Any, seed: int, count: int) -> Iterator[bytes]:
    """The document in bytes with one to three things wrong with it, most often."""
    rng = random.Random(seed)
    for _ in range(count):
        found = copy.deepcopy(document)
        for _ in range(rng.randint(1, 3)):
            _damage(rng, found)
        data = json.dumps(found).encode()
        yield _cut(rng, data) if rng.random() < 0.05 else data


def _damage(rng: random.Random, document: Any) -> None:
    """Changes one value somewhere in the document, most often in a node."""
    owner = document
    if rng.random() < 0.95:
        part = document.get(rng.choice(["symbols", "outputs", *["nodes"] * 4]))
        owner = part if part and isinstance(part, dict | list) else document
    while True:
        keys: list[Any] = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(owner[key], dict | list) or rng.random() < 0.08:
            break
        owner = owner[key]
    _change(rng, owner, key)


def _change(rng: random.Random, owner: Any, key: Any) -> None:
    kind = rng.random()
    if kind < 0.5:
        owner[key] = copy.deepcopy(rng.choice(_JUNK))
    elif kind < 0.65 and isinstance(owner[key], int):
        owner[key] += rng.choice([-1, 1, 7])
    elif kind < 0.8:
        del owner[key]
    elif isinstance(owner, list):
        owner.insert(rng.randrange(len(owner)), copy.deepcopy(rng.choice(owner)))
    else:
        other = rng.choice(list(owner))
        owner[key], owner[other] = owner[other], owner[key]


def _cut(rng: random.Random, data: bytes) -> bytes:
    """The bytes with some of them gone, doubled or changed."""
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randint(1, 40)]
    middle = rng.choice([b"", piece * 2, rng.randbytes(3), b"[" * 100_000, b"9" * 5000])
    return data[:start] + middle + data[start + len(piece) :]
