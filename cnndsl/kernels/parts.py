"""Sums in parts: several programs add up terms of the same results, a second launch the parts.

A product of few tiles leaves most of a device idle; cut along what is summed (split K) it is
busy. Parts are float32 and are added always in the same order, unlike atomic additions, so the
same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from cnndsl.kernels import boxes
from cnndsl.kernels.base import Config, Launch, Operands
from cnndsl.kernels.epilogue import Epilogue
from cnndsl.kernels.layout import is_wide, place
from cnndsl.kernels.operands import epilogue_arguments
from cnndsl.kernels.tiles import finish_tile, put_rows


@triton.jit
def combine(
    parts, y, rows, residual, gate,
    count, filters, area, size, row_apart, part_apart, y_pitch, residual_pitch, gate_pitch,
    EPILOGUE: tl.constexpr, GATE_MAP: tl.constexpr, WIDE: tl.constexpr,
    BM: tl.constexpr, BF: tl.constexpr,
):  # fmt: skip
    """Adds up the ``count`` parts of each of ``size`` rows, and finishes the sum."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    if WIDE:
        m = m.to(tl.int64)
    f = tl.program_id(1) * BF + tl.arange(0, BF)
    ok = (m < size)[:, None] & (f < filters)[None, :]
    at = m[:, None] * row_apart + f[None, :]
    value = tl.zeros((BM, BF), dtype=tl.float32)
    for part in range(count):
        value += tl.load(parts + at + part * part_apart, mask=ok, other=0.0)
    value = finish_tile(
        value, m, m < size, f, filters, area,
        rows, residual, residual_pitch, gate, gate_pitch, EPILOGUE, GATE_MAP,
    )  # fmt: skip
    put_rows(y, y_pitch, value, m, m < size, f, filters)


@dataclass(frozen=True)
class Parts:
    """``sums``: float32 rows of filters. Part ``p`` of result ``r`` is row
    ``r * row_apart + p * part_apart`` of ``count`` parts and ``size`` results."""

    sums: Tensor
    size: int
    count: int
    row_apart: int
    part_apart: int

    @staticmethod
    def cut(size: int, filters: int, count: int, device: torch.device) -> Parts | None:
        """Of ``size`` results, all first parts first; None if there is one part of each."""
        if count == 1:
            return None
        sums = torch.empty((count * size, filters), dtype=torch.float32, device=device)
        return Parts(sums, size, count, row_apart=1, part_apart=size)

    def launch(self, epilogue: Epilogue, area: int, operands: Operands) -> Launch:
        """What writes the result: images of ``area`` pixels."""
        filters, (y, y_pitch) = self.sums.shape[1], place(operands.out)
        ends = epilogue_arguments(epilogue, operands)
        arguments = {
            "parts": self.sums, "y": y, "y_pitch": y_pitch, **ends, "area": area,
            "count": self.count, "size": self.size, "filters": filters,
            "row_apart": self.row_apart * filters, "part_apart": self.part_apart * filters,
            "WIDE": is_wide(y, self.sums, ends["residual"], ends["gate"]), **dict(TILE.tiles),
        }  # fmt: skip
        grid = triton.cdiv(self.size, TILE["BM"]), triton.cdiv(filters, TILE["BF"])
        return Launch(combine, grid, arguments, TILE)


def stored(results: int, count: int, least: int = 2) -> int:
    """Bytes of so many results in ``count`` parts each; fewer parts than ``least`` are none."""
    return results * count * torch.float32.itemsize if count >= least else 0


TILE = Config.of(4, 1, BM=16, BF=64)
LEAST = 2
"""Steps that are worth a program of their own."""
MOST = 16
"""Parts of one result: each is written and read in float32, soon more than the weights are."""


def best_first(found: Sequence[tuple[Config, int, int]]) -> list[Config]:
    """Configurations with their tiles and the steps of each, cut into parts where that helps.

    Those that keep more of the device busy come first, else in the order given; 4 warps before
    8, which no device has shown to give the same numbers. Steps of less than half the deepest's
    depth are left out: they would keep tensor cores waiting for copies.
    """
    ranked = []
    deepest = max(config["BK"] for config, *_ in found)
    for config, tiles, steps in found:
        if 2 * config["BK"] < deepest:
            continue
        for parts in sorted({1, _parts(tiles, steps)}):
            busy = min(tiles * parts, boxes.PROCESSORS)
            cut = tuple((dict(config.tiles) | {"SPLIT": parts}).items())
            ranked.append((config.warps, -busy, replace(config, tiles=cut)))
    return [config for *_, config in sorted(ranked, key=lambda entry: entry[:2])]


def _parts(tiles: int, steps: int) -> int:
    """Into how many parts to cut: a power of two that leaves ``LEAST`` steps to each, and no
    more programs than run at once."""
    most = min(steps // LEAST, boxes.PROCESSORS // max(1, tiles), MOST)
    return 1 << max(0, most.bit_length() - 1)
