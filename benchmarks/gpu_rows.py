"""Tables of results that grow by whole rows and know what they have already.

A row is there whole or not at all, so a run may be cut off at any moment; the next one skips
what is finished. Rows of another machine or other versions do not count as finished.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MACHINE = ("gpu", "driver", "torch", "triton", "cuda", "python", "cnndsl")
STATUS = "status"
OK = "ok"


class Kind(NamedTuple):
    """A table: ``item`` says what is measured together, ``row`` tells its rows apart."""

    name: str
    item: tuple[str, ...]
    row: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.item, *self.row, STATUS, *self.values, *MACHINE)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("roofs", ("roof",), (), ("value", "unit")),
        Kind("correct", ("problem", "way"), (), ("units_off", "warps")),
        Kind(
            "layers", ("net", "problem"), ("way",),
            ("ours", "us", "least_us", "share_of_roofline", "count"),
        ),
        Kind(
            "nets", ("net", "batch", "dtype"), ("runner",),
            ("ms", "images_per_s", "ratio_to_best_peer", "share_of_roofline", "kernels",
             "peak_mb", "error", "top1_agreement", "build_s", "note"),
        ),
        Kind(
            "training", ("net", "batch", "dtype"), ("runner",),
            ("ms", "images_per_s", "peak_mb", "build_s", "note"),
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """One csv file."""

    kind: Kind
    folder: Path
    machine: Mapping[str, str]

    @property
    def path(self) -> Path:
        return self.folder / f"gpu_{self.kind.name}.csv"

    def done(self) -> set[tuple[str, ...]]:
        """Items that have a row from this machine with these versions."""
        return {
            tuple(row[name] for name in self.kind.item)
            for row in self.rows()
            if all(row[name] == self.machine[name] for name in MACHINE)
        }

    def rows(self) -> list[dict[str, str]]:
        """Everything in the file; ValueError if it has other columns."""
        if not self.path.exists():
            return []
        with open(self.path, newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            found = [row for row in reader if None not in row.values()]
        if tuple(reader.fieldnames or ()) != self.kind.columns:
            raise ValueError(f"{self.path} has other columns: move it away")
        return found

    def add(self, row: Mapping[str, object]) -> None:
        """Appends one row; what a cut-off run left of a row is removed first."""
        unknown = row.keys() - set(self.kind.columns)
        if unknown:
            raise ValueError(f"{self.kind.name} has no columns {sorted(unknown)}")
        self.folder.mkdir(parents=True, exist_ok=True)
        _mend(self.path)
        new = not self.path.exists() or not self.path.stat().st_size
        with open(self.path, "a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.kind.columns, restval="", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({**row, **self.machine})
            stream.flush()
            os.fsync(stream.fileno())


def _mend(path: Path) -> None:
    """Cuts off a last line that has no end. No value holds a line break."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with open(path, "r+b") as stream:
            stream.truncate(len(whole))
